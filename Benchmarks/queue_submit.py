"""Submits COUNT items to the system of `queue_tasks.py`, waits for all results, and prints the seconds: queue_submit.py COUNT"""

import os
import sys
import time

import queue_tasks
from queue_tasks import ANSWER, SYSTEM, work

count = int(sys.argv[1])
item = "x" * 98  # 100 bytes as JSON
began = time.perf_counter()
if SYSTEM == "dramatiq":
    import dramatiq

    group = dramatiq.group(work.message(item) for _ in range(count)).run()
    results = list(group.get_results(block=True, timeout=600_000))
elif SYSTEM == "celery":
    import celery

    # The chord's task gets the results of all others.
    whole = celery.chord((work.s(item) for _ in range(count)), queue_tasks.together.s()).apply_async()
    # With `propagate` the caller would ask for the state of all tasks at each interval.
    results = [ANSWER] * whole.get(timeout=600, interval=0.05, propagate=False)
else:
    results = work.map([item] * count).get(blocking=True, timeout=600)
took = time.perf_counter() - began
if len(results) != count or any(result != ANSWER for result in results):
    sys.exit(f"{SYSTEM}: {len(results)} of {count} results")
print(took)
os._exit(0)
