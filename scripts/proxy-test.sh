#!/usr/bin/env bash
# Tests the proxy of RealtimeAPIs from outside, with the debug build:
#   scripts/proxy-test.sh [pytest arguments]   the tests; PROXY_FULL=1 with all bytes, rounds and connections (an hour;
#                                              PROXY_POSTS=150000: fewer than 1,000,000 POSTs)
#   scripts/proxy-test.sh --compare            prints where nginx, haproxy and the platform forward different requests
set -euo pipefail
cd "$(dirname "$0")/.."

# 10,000 upgraded connections: two descriptors of the platform for each, which uses half of those it may have.
if [ -n "${PROXY_FULL:-}" ]; then ulimit -n 65536 2>/dev/null || echo "open files stay limited to $(ulimit -n)" >&2; fi
python=$(scripts/python-env.sh proxy Tests/Proxy/requirements.txt)/bin/python
export CORTEX_PROGRAM=${CORTEX_PROGRAM:-$PWD/.build/debug/cortex} PYTHONDONTWRITEBYTECODE=1
cd Tests/Proxy
if [ "${1:-}" = --compare ]; then exec "$python" compare.py; fi
exec "$python" -m pytest -q -p no:cacheprovider "$@"
