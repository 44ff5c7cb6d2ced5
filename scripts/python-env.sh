#!/usr/bin/env bash
# Creates a Python environment for the tests and prints its folder: scripts/python-env.sh NAME REQUIREMENTS
# It is kept under .build and created again only when the requirements or the Python change.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
requirements=$2
folder=$PWD/.build/test-tools/$name
stamp=$(cat "$requirements"; /usr/bin/python3 --version)
if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$stamp" ]; then
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  /usr/bin/python3 -m venv "$folder" >&2
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
  printf '%s\n' "$stamp" >"$folder/stamp"
fi
echo "$folder"
