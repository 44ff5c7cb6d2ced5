#!/usr/bin/env bash
# Builds once (debug) and runs every test, each test target in a separate process: engines, containers and descriptors
# of one target cannot disturb another. With arguments it runs `swift test` once with them, for example:
# scripts/test.sh --filter GatewayTests
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests
# Without this the order of sets and dictionaries, and so a simulated world, would differ from run to run.
case "$*" in *SimulationTests*) export SWIFT_DETERMINISTIC_HASHING=1 ;; esac
if [ $# -gt 0 ]; then
  exec swift test --skip-build "$@"
fi

# Far above the time of any target, so that a hanging target fails with a report instead of blocking the run.
limit=${CORTEX_TEST_LIMIT:-1500}

# Prints the tests of a log that began and did not end. Single cases of a test have no line at their end.
unfinished() {
  awk '/^◇ Test .* started\.$/ && !/^◇ Test (case|run)/ { sub(/^◇ /, ""); sub(/ started\.$/, ""); open[$0] = 1 }
    /^(✔|✘) Test .* (passed|failed) after / {
      sub(/^(✔|✘) /, ""); sub(/ with [0-9]+ test cases? (passed|failed) after .*/, ""); sub(/ (passed|failed) after .*/, "")
      delete open[$0]
    }
    END { for (name in open) print "  not ended: " name }' "$1"
}

run_target() {
  local target=$1 log=$2 options=() variables=()
  # Tests with real containers run one after the other: an engine that starts dozens of pods at once on two cores does
  # not answer in time.
  case "$target" in
    EngineDockerTests | EndToEndTests) options=(--no-parallel) ;;
    SimulationTests) variables=(SWIFT_DETERMINISTIC_HASHING=1) ;;
  esac
  # A separate session, so that remaining processes can be killed by their process group after the limit.
  setsid timeout --kill-after=10 "$limit" env "${variables[@]}" \
    swift test --skip-build "${options[@]}" --filter "^$target\\." >"$log" 2>&1 </dev/null &
  group=$!
  wait "$group" && grep -qE 'Test run with [1-9][0-9]* tests? .*passed' "$log"
}

passed=0
failed=()
group=
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for folder in Tests/*Tests; do
  target=$(basename "$folder")
  echo "--- $target"
  status=0
  run_target "$target" "$log" || status=$?
  if [ "$status" -eq 0 ]; then
    grep -E 'Test run with' "$log"
    passed=$((passed + 1))
    continue
  fi
  # Everything about the failures, without the lines of passed tests.
  grep -vE '^(◇|✔)|^\[|^$' "$log" | tail -200 || true
  if [ "$status" -ge 124 ]; then
    echo "$target was killed after $limit s:"
    unfinished "$log"
    # The remaining processes show what the tests waited for.
    ps -eo pid,ppid,stat,etimes,wchan:24,args --forest | cut -c1-160 | tail -60
    kill -KILL -- "-$group" 2>/dev/null || true
  fi
  failed+=("$target")
done

# Tests from outside the programs: the Python packages, the documents, the operator's interface, the proxy, and planned
# times compared with other implementations.
run_script() {
  local target=$1
  shift
  echo "--- $target"
  if timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null; then
    grep -vE '^[[:space:]]*$' "$log" | tail -1
    passed=$((passed + 1))
  else
    tail -200 "$log"
    failed+=("$target")
  fi
}
for target in PythonClient PublishedPythonPackage; do run_script "$target" scripts/test-python.sh "$target"; done
run_script OperatorInterface scripts/api-test.sh
run_script Proxy scripts/proxy-test.sh
run_script Schedules scripts/schedule-test.sh
run_script Documents scripts/doc-test.sh

[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[*]}"
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
