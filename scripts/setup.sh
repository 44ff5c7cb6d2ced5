#!/usr/bin/env bash
# Installs missing packages on a Debian machine: setup.sh build|demo|test|bench|all
set -euo pipefail

if ! command -v swift >/dev/null; then
  echo "error: Swift is not installed. Get Swift 6.2 or newer from https://www.swift.org/install/linux/ and run this again." >&2
  exit 1
fi

# The Debian packages for each purpose.
build=(libsqlite3-dev zlib1g-dev)
demo=("${build[@]}" bubblewrap util-linux python3 python3-pip libgomp1)
test=("${demo[@]}" podman runc conmon netavark aardvark-dns uidmap busybox-static docker-registry iptables shellcheck
  python3-venv python3-jsonschema curl jq zsh fish nginx haproxy nodejs default-jdk-headless)
bench=("${demo[@]}" python3-venv)

case "${1:-all}" in
  build) wanted=("${build[@]}") ;;
  demo) wanted=("${demo[@]}") ;;
  test) wanted=("${test[@]}") ;;
  bench) wanted=("${bench[@]}") ;;
  all) wanted=("${test[@]}" "${bench[@]}") ;;
  *)
    echo "error: unknown argument ${1}; use build, demo, test, bench or all" >&2
    exit 2
    ;;
esac

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
# Python packages of the tests, and what the benchmark compares with, kept under .build.
private_packages() {
  case "$1" in
    test | all)
      "$(dirname "$0")/python-env.sh" schemathesis scripts/schemathesis-requirements.txt >/dev/null
      "$(dirname "$0")/python-env.sh" proxy Tests/Proxy/requirements.txt >/dev/null
      "$(dirname "$0")/python-env.sh" schedules Tests/Schedules/requirements.txt >/dev/null
      ;;
  esac
  case "$1" in
    bench | all)
      "$(dirname "$0")/bench-proxies.sh" >/dev/null
      "$(dirname "$0")/bench-queues.sh" >/dev/null
      ;;
  esac
}
if [ ${#missing[@]} -eq 0 ]; then
  private_packages "${1:-all}"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "error: this machine has no apt-get. Install the contents of these Debian packages by hand: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "error: run as root once: apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi
echo "Installing: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
if ! { "${sudo[@]}" apt-get update && "${sudo[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "error: apt-get could not install: ${missing[*]}" >&2
  exit 1
fi
private_packages "${1:-all}"
