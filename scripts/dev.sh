#!/usr/bin/env bash
# For daily work: builds, runs the platform in the foreground with a data directory below .build, and deploys
# examples/hello.
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --product cortex
swift build --product cortex-pod-init
bin=$(swift build --show-bin-path)
folder=$PWD/.build/dev
mkdir -p "$folder"
export CORTEX_CLI_CONFIG_DIR="$folder/cli"

rm -f "$folder/data/addresses.json"

deploy() {
  for _ in $(seq 300); do
    [ -s "$folder/data/addresses.json" ] && break
    sleep 0.1
  done
  config=examples/hello/cortex.sandbox.yaml
  [ "${CORTEX_ENGINE:-sandbox}" = sandbox ] || config=examples/hello/cortex.yaml
  "$bin/cortex" deploy "$config" --wait
  cat <<TEXT

hello is deployed. In another terminal:
  export CORTEX_CLI_CONFIG_DIR=$folder/cli PATH=$bin:\$PATH
  cortex submit hello -d '{"name": "Ada"}' --wait
Ctrl-C stops the platform; deployed APIs are kept for the next start.
TEXT
}
deploy &

# Replaces this script, so that Ctrl-C reaches the platform only once: a second signal would end it without draining.
exec "$bin/cortex" up --data-dir "$folder/data" --port "${PORT:-8889}" --operator-port "${OPERATOR_PORT:-8888}" \
  --engine "${CORTEX_ENGINE:-sandbox}"
