#!/usr/bin/env bash
# Builds once (debug) and runs every test, each test target in a process of its own: what one target starts or opens
# (engines, containers, descriptors) cannot disturb another. Arguments go to one run of `swift test` instead,
# for example: scripts/test.sh --filter GatewayTests
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests
if [ $# -gt 0 ]; then
  exec swift test --skip-build "$@"
fi

passed=0
failed=()
for folder in Tests/*Tests; do
  target=$(basename "$folder")
  echo "--- $target"
  log=$(mktemp)
  # Real containers one test after the other: an engine that starts dozens of pods at once on two cores answers nobody in time.
  options=()
  case "$target" in EngineDockerTests | EndToEndTests) options=(--no-parallel) ;; esac
  if swift test --skip-build "${options[@]}" --filter "^$target\\." >"$log" 2>&1 && grep -qE 'Test run with [1-9][0-9]* tests? .*passed' "$log"; then
    grep -E 'Test run with' "$log"
    passed=$((passed + 1))
  else
    # Everything about the failures, without the lines of what went well.
    grep -vE '^(◇|✔)|^\[|^$' "$log" | tail -200 || true
    failed+=("$target")
  fi
  rm -f "$log"
done

[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[*]}"
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
