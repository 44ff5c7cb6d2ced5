#!/usr/bin/env bash
# Runs every command of the documentation against the debug build on the sandbox engine, each document on a platform of its own: scripts/doc-test.sh [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/platform.sh
source scripts/platform.sh

if [ $# -eq 0 ]; then
  # Documents that promise it.
  mapfile -t documents < <(grep -lF 'scripts/doc-test.sh runs' docs/*.md)
else
  documents=("$@")
fi
for document in "${documents[@]}"; do
  (
    start_platform
    python3 scripts/doc_test.py "$document"
  )
done
