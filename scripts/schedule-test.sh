#!/usr/bin/env bash
# Compares planned times of schedules with other implementations of cron, with the debug build of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(scripts/python-env.sh schedules Tests/Schedules/requirements.txt)/bin/python
answers=$(mktemp)
trap 'rm -f "$answers"' EXIT
CORTEX_SCHEDULE_ANSWERS=$answers swift test --skip-build --filter '^JobsTests\.ScheduleAnswersTests/'
# Only the pinned time zone data, not those of the machine.
PYTHONTZPATH='' PYTHONDONTWRITEBYTECODE=1 "$python" Tests/Schedules/compare.py "$answers"
