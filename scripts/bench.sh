#!/usr/bin/env bash
# Measures the release build with the sandbox engine on this machine and prints the table: scripts/bench.sh [PART ...]
# [--quick] [--json FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

# Linked statically, because a sandbox pod does not see the folder of Swift's libraries.
swift build -c release --static-swift-stdlib --package-path Benchmarks --scratch-path .build/benchmarks
mkdir -p .build/bench
install -m 0755 .build/benchmarks/release/{load,constant} .build/bench
exec python3 Benchmarks/bench.py "$@"
