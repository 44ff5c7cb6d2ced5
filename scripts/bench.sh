#!/usr/bin/env bash
# Measures the release build with the sandbox engine on this machine and prints the table: scripts/bench.sh [PART ...] [--quick] [--json FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

swift build -c release --package-path Benchmarks --scratch-path .build/benchmarks
mkdir -p .build/bench
install -m 0755 .build/benchmarks/release/{load,constant} .build/bench
exec python3 Benchmarks/bench.py "$@"
