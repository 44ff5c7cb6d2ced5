#!/usr/bin/env bash
# Tests that the user documents are true, on the debug build: scripts/doc-test.sh [FILE...]; see doc_test.py.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/python-env.sh python clients/python/tests/requirements.txt)/bin/python
export CORTEX_PROGRAM=${CORTEX_PROGRAM:-$PWD/.build/debug/cortex} PYTHONDONTWRITEBYTECODE=1
[ $# -gt 0 ] || "$python" scripts/doc_selftest.py
exec "$python" scripts/doc_test.py "$@"
