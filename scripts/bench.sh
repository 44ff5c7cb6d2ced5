#!/usr/bin/env bash
# Measures the release build with the sandbox engine on this machine: scripts/bench.sh [SIZE [COUNT]]
set -euo pipefail
cd "$(dirname "$0")/.."

cortex=.build/dist/cortex
work=$(mktemp -d)
export CORTEX_CLI_CONFIG_DIR="$work/cli"
"$cortex" up --data-dir "$work/data" --port 0 --operator-port 0 --engine sandbox >"$work/out" 2>"$work/log" &
platform=$!
finish() {
  if kill -TERM "$platform" 2>/dev/null; then wait "$platform" || true; fi
  rm -rf "$work"
}
trap finish EXIT
for _ in $(seq 100); do
  grep -q '^ready' "$work/out" && break
  kill -0 "$platform" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
"$cortex" deploy Benchmarks/cortex.yaml --wait
gateway=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gateway"])' "$work/data/addresses.json")
uptime
for size in ${1:-100 100000}; do
  echo "--- $size bytes"
  python3 Benchmarks/bench.py "$gateway" "$platform" "$size" "${2:-$([ "$size" -gt 10000 ] && echo 1000 || echo 10000)}"
done
