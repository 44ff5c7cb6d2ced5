#!/usr/bin/env bash
# The Python tests, against the built program: test-python.sh [PythonClient | PublishedPythonPackage] [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tests=clients/python/tests

venv=$(scripts/python-env.sh python "$tests/requirements.txt")
# The published package, unpacked only: its installer would download a program.
published=$root/.build/test-tools/published
wanted=$(sha256sum "$tests/published/requirements.txt")
if [ "$(cat "$published/made" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$published"
  mkdir -p "$published/download"
  "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    --dest "$published/download" -r "$tests/published/requirements.txt"
  tar -xzf "$published"/download/cortex-*.tar.gz -C "$published" --strip-components 1
  echo "$wanted" >"$published/made"
fi

folders=()
case "${1:-}" in
  PythonClient) folders=(tests/unit tests/live) ;;
  PublishedPythonPackage) folders=(tests/published) ;;
  "") folders=(tests) ;;
  *)
    echo "error: unknown argument ${1}; use PythonClient or PublishedPythonPackage" >&2
    exit 2
    ;;
esac
[ $# -eq 0 ] || shift
export CORTEX_PROGRAM=${CORTEX_PROGRAM:-$root/.build/debug/cortex}
export PYTHONDONTWRITEBYTECODE=1
cd clients/python
exec "$venv/bin/python" -m pytest -q -p no:cacheprovider "${folders[@]}" "$@"
