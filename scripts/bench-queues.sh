#!/usr/bin/env bash
# Downloads the task queues that the benchmark compares with, and prints the folder of their broker.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/python-env.sh queues scripts/bench-queues-requirements.txt >/dev/null
scripts/debian-folder.sh bench-queues redis-server
