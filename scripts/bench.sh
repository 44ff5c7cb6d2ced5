#!/usr/bin/env bash
# Measures the release build with the sandbox engine on this machine and prints the table: scripts/bench.sh [PART ...] [--quick] [--json FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .build/bench
flags=(-O2 -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror)
cc "${flags[@]}" -o .build/bench/load Benchmarks/load/*.c
cc "${flags[@]}" -o .build/bench/constant Benchmarks/constant.c
exec python3 Benchmarks/bench.py "$@"
