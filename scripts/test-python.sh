#!/usr/bin/env bash
# The Python tests, against the built program: test-python.sh [PythonClient | PublishedPythonPackage | Documents] [pytest arguments]
# Their interpreter and packages are made once in .build/python, and anew when what they need has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
home=$root/.build/python
tests=clients/python/tests

# The system's own interpreter: a sandbox container has the same one, so that it can import what is installed here.
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3)
wanted=$(cat "$tests/requirements.txt" "$tests/published/requirements.txt" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$home/made" 2>/dev/null)" != "$wanted" ]; then
  echo "Making .build/python" >&2
  rm -rf "$home"
  mkdir -p "$home/download"
  "$python" -m venv "$home/venv"
  quiet=(--quiet --disable-pip-version-check)
  "$home/venv/bin/python" -m pip install "${quiet[@]}" -r "$tests/requirements.txt"
  # Only unpacked: its installer would fetch a program.
  "$home/venv/bin/python" -m pip download "${quiet[@]}" --no-deps --no-binary :all: --require-hashes \
    --dest "$home/download" -r "$tests/published/requirements.txt"
  mkdir "$home/published"
  tar -xzf "$home"/download/cortex-*.tar.gz -C "$home/published" --strip-components 1
  echo "$wanted" >"$home/made"
fi

folders=()
case "${1:-}" in
  PythonClient) folders=(tests/unit tests/live) ;;
  PublishedPythonPackage) folders=(tests/published) ;;
  Documents) folders=(tests/docs) ;;
  "") folders=(tests) ;;
  *)
    echo "error: test-python.sh knows PythonClient, PublishedPythonPackage and Documents; not ${1}" >&2
    exit 2
    ;;
esac
[ $# -eq 0 ] || shift
export CORTEX_PROGRAM=${CORTEX_PROGRAM:-$root/.build/debug/cortex}
export PYTHONDONTWRITEBYTECODE=1
cd clients/python
exec "$home/venv/bin/python" -m pytest -q -p no:cacheprovider "${folders[@]}" "$@"
