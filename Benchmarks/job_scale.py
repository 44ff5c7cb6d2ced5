"""A job of very many items: job_scale.py CORTEX [ITEMS] [BATCH_SIZE]

A job of a BatchAPI with ITEMS items (10,000,000) of 100 bytes in batches of BATCH_SIZE (1) is submitted as JSON Lines, run
by two workers, read, and erased after its retention. Prints rate, processor time and memory for each tenth of the job, and
the time of the erasure (contract C6, J11), with the latency of submits to another API before and meanwhile. Needs about 500
bytes of disk for each batch, and `scripts/bench.sh` must have built the container. CORTEX_BENCH_DIR names the folder of the data."""

import contextlib
import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time

from bench_platform import LOAD, ROOT, Platform

ITEMS = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000
BATCH_SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 1
RETENTION = 90 + ITEMS // 100_000  # seconds; long enough to read the results
LINE = (json.dumps("x" * 98) + "\n").encode()
API = """
- name: many
  kind: BatchAPI
  retention: {retention}s
  pod:
    max_concurrency: 64
    containers:
      - name: main
        command: ["/bench/constant"]
        volumes: ["{root}/.build/bench:/bench:ro"]
"""


def body():
    block, left = 10_000, ITEMS
    while left > 0:
        yield LINE * min(block, left)
        left -= block


def submit(platform):
    connection = http.client.HTTPConnection(platform.address, timeout=600)
    connection.request(
        "POST", f"/many?workers=2&batch_size={BATCH_SIZE}", body(), {"Content-Type": "application/jsonl"}, encode_chunked=True)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"the submission answered {answer.status}: {text[:300]}")
    return json.loads(text)["job_id"]


def get(platform, path):
    connection = http.client.HTTPConnection(platform.address, timeout=70)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def run(platform, job):
    """Follows the job to its end; prints the rate, the processor time and the largest memory of each tenth.

    Returns the largest memory."""
    tenth, began, cpu, done, peak, largest = 1, time.perf_counter(), platform.cpu(), 0, 0, 0
    while True:
        time.sleep(0.5)
        status = json.loads(get(platform, f"/many/{job}")[1])["job_status"]
        succeeded = status["item_counts"]["succeeded"]
        peak, largest = max(peak, platform.pss()), max(largest, peak)
        if succeeded * 10 >= tenth * ITEMS:
            batches, took = (succeeded - done) / BATCH_SIZE, time.perf_counter() - began
            each = 1000 * (platform.cpu() - cpu) / batches
            print(f"  {tenth * 10:>3} %: {batches / took:.0f} batches/s, CPU {each:.3f} ms each, memory {peak:.1f} MiB", flush=True)
            tenth, began, cpu, done, peak = succeeded * 10 // ITEMS + 1, time.perf_counter(), platform.cpu(), succeeded, 0
        if status["status"] not in ("pending", "enqueuing", "running"):
            break
    if status["status"] != "succeeded" or status["item_counts"]["succeeded"] != ITEMS:
        sys.exit(f"the job was not completed: {status}")
    return largest


def read(platform, job):
    connection = http.client.HTTPConnection(platform.address, timeout=70)
    connection.request("GET", f"/many/{job}/results")
    answer = connection.getresponse()
    began, count = time.perf_counter(), 0
    while block := answer.read(1 << 20):
        count += block.count(b"\n")
    if count != -(-ITEMS // BATCH_SIZE):
        sys.exit(f"{count} lines of results")
    print(f"results: {count / (time.perf_counter() - began):.0f} lines/s", flush=True)


class Submits:
    """Submits to another API over one connection, in periods of two seconds."""

    def __init__(self, platform):
        self.platform, self.rates, self.tails = platform, [], []

    def measure(self):
        got = json.loads(subprocess.run(
            [LOAD, "submit", self.platform.address, "/constant", "100", "1", "2"], stdout=subprocess.PIPE, text=True, check=True).stdout)
        self.rates.append(got["per_second"])
        self.tails.append(got["p99_ms"])

    def __str__(self):
        return (f"{statistics.median(self.rates):.0f} submits/s over one connection, p99 {statistics.median(self.tails):.1f} ms "
                f"(worst period {max(self.tails):.1f} ms)")


def is_erased(platform):
    # One short read, which delays nothing.
    with contextlib.closing(sqlite3.connect(f"file:{platform.work}/data/cortex.sqlite?mode=ro", uri=True)) as database:
        return database.execute("SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM api WHERE name IS NULL)").fetchone()[0] == 0


def main():
    with Platform(sys.argv[1]) as platform:
        platform.deploy()
        platform.deploy_text(API.format(retention=RETENTION, root=ROOT), "--yes")
        time.sleep(3)
        idle, began = platform.pss(), time.perf_counter()
        job, peak = platform.peak_during(lambda: submit(platform))
        print(f"{ITEMS:,} items accepted in {time.perf_counter() - began:.1f} s, memory {peak:.1f} MiB", flush=True)
        print(f"growth of memory: {max(peak, run(platform, job)) - idle:.1f} MiB")
        read(platform, job)
        print(f"disk: {platform.files_mib():.0f} MiB", flush=True)
        before = Submits(platform)
        while get(platform, f"/many/{job}")[0] == 200:
            before.measure()
        over, meanwhile = time.time(), Submits(platform)
        while not is_erased(platform):
            meanwhile.measure()
        took = time.time() - over
        print(f"before the erasure: {before}\nmeanwhile: {meanwhile}\nerased {took:.0f} s after the retention: {'met' if took <= 60 else 'not met'}, at most 60")


if __name__ == "__main__":
    main()
