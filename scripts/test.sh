#!/usr/bin/env bash
# Builds once (debug) and runs every test, each test target in a process of its own: what one target starts or opens
# (engines, containers, descriptors) cannot disturb another. Arguments go to one run of `swift test` instead,
# for example: scripts/test.sh --filter GatewayTests
set -euo pipefail
cd "$(dirname "$0")/.."

swift build --build-tests
# The order of sets and dictionaries would differ from run to run, and a simulated world with it.
case "$*" in *SimulationTests*) export SWIFT_DETERMINISTIC_HASHING=1 ;; esac
if [ $# -gt 0 ]; then
  exec swift test --skip-build "$@"
fi

# Far above what a target takes, so that one that hangs is told and fails instead of holding up everything.
limit=${CORTEX_TEST_LIMIT:-1500}

# Tests of a log that began and did not end; single cases of a test have no line at their end.
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
  # Real containers one test after the other: an engine that starts dozens of pods at once on two cores answers nobody
  # in time.
  case "$target" in
    EngineDockerTests | EndToEndTests) options=(--no-parallel) ;;
    SimulationTests) variables=(SWIFT_DETERMINISTIC_HASHING=1) ;;
  esac
  # A session of its own: what is left of it after the limit is ended by its process group.
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
  # Everything about the failures, without the lines of what went well.
  grep -vE '^(◇|✔)|^\[|^$' "$log" | tail -200 || true
  if [ "$status" -ge 124 ]; then
    echo "$target was ended after $limit s:"
    unfinished "$log"
    # The processes that are still there say what was waited for.
    ps -eo pid,ppid,stat,etimes,wchan:24,args --forest | cut -c1-160 | tail -60
    kill -KILL -- "-$group" 2>/dev/null || true
  fi
  failed+=("$target")
done

# What is tested from outside the programs: the Python packages, the documents, the operator's interface.
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
run_script Documents scripts/doc-test.sh

[ ${#failed[@]} -eq 0 ] || printf 'failed: %s\n' "${failed[*]}"
echo "$passed passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
