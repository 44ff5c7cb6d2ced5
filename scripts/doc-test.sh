#!/usr/bin/env bash
# Tests that the documents for users are true, on the debug build: scripts/doc-test.sh [FILE...]; doc_test.py says how.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/python-env.sh python clients/python/tests/requirements.txt)/bin/python
export CORTEX_PROGRAM=${CORTEX_PROGRAM:-$PWD/.build/debug/cortex} PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || "$python" scripts/doc_selftest.py
exec "$python" scripts/doc_test.py "$@"
