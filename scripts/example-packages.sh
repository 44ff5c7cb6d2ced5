#!/usr/bin/env bash
# Installs the Python packages of an example beside it, unless they are there: example-packages.sh ocr|chat|batch-images
# They come as wheels only, for this machine's own Python, which the sandbox engine runs.
set -euo pipefail
cd "$(dirname "$0")/../examples/${1:?names no example}"
# The copy of the list is written last, so that an interrupted or older installation is replaced.
if ! cmp -s requirements.txt packages/requirements.txt; then
  rm -rf packages
  /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: \
    --target packages -r requirements.txt
  cp requirements.txt packages/requirements.txt
fi
du -sh packages | cut -f1
