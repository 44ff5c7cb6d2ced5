#!/usr/bin/env bash
# Runs tests with each sanitizer: scripts/sanitize.sh [address | thread]. Each builds everything again (about ten
# minutes on two cores).
set -euo pipefail
cd "$(dirname "$0")/.."

run() {
  local sanitizer=$1 targets=$2
  echo "--- $sanitizer: $targets"
  CORTEX_TESTS=$targets CORTEX_SANITIZER=$sanitizer swift build --build-tests --sanitize="$sanitizer" --scratch-path ".build-$sanitizer"
  local target
  for target in ${targets//,/ }; do
    # The skipped tests measure memory and time, which a sanitizer increases; ThreadSanitizer also delays the signal
    # by which PodInit learns of a child's end.
    CORTEX_TESTS=$targets CORTEX_SANITIZER=$sanitizer ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1 \
      swift test --skip-build --sanitize="$sanitizer" --scratch-path ".build-$sanitizer" --filter "^$target\\." \
      --skip 'PodModeTests/size' --skip 'HostilePodInitTests/flood' --skip 'PodModeTests/reaps'
  done
}

# AddressSanitizer: the C targets and the stores. ThreadSanitizer: the concurrent parts.
case "${1:-all}" in
  address) run address PodInitTests,StoreTests ;;
  thread) run thread SupportTests,PodInitTests,GatewayTests,DequeuerTests ;;
  all)
    run address PodInitTests,StoreTests
    run thread SupportTests,PodInitTests,GatewayTests,DequeuerTests
    ;;
  *)
    echo "error: unknown argument ${1}; use address or thread" >&2
    exit 2
    ;;
esac
