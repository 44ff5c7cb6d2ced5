"""Drives a running platform and prints one table. bench.py GATEWAY_URL PID SIZE [COUNT]

submit: wrk, one thread, keep-alive. completed: COUNT requests over 16 connections, from the first submit to the last result.
unloaded: 200 times submit and long poll, one after the other. CPU and memory are the platform's own process."""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from urllib.parse import urlparse

url, pid, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
count = int(sys.argv[4]) if len(sys.argv) > 4 else 10_000
address = urlparse(url)
body = json.dumps({"data": "x" * max(0, size - 12)}).encode()
TICK = os.sysconf("SC_CLK_TCK")


def cpu():
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def pss():
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024


def call(connection, method, path, data=None):
    connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    answer = connection.getresponse()
    return json.loads(answer.read())


def connect():
    return http.client.HTTPConnection(address.hostname, address.port, timeout=60)


def row(name, value):
    print(f"{name:<44} {value}", flush=True)


row("memory idle, PSS MiB", f"{pss():.1f}")

connection, times = connect(), []
for _ in range(200):
    began = time.perf_counter()
    identifier = call(connection, "POST", "/constant", body)["id"]
    document = call(connection, "GET", f"/constant/{identifier}?wait=30")
    assert document["status"] == "completed", document
    times.append((time.perf_counter() - began) * 1000)
times.sort()
row("unloaded submit to result, ms p50 / p99", f"{statistics.median(times):.2f} / {times[197]:.2f}")

identifiers, lock = [], threading.Lock()


def submit(number):
    own, connection = [], connect()
    for _ in range(number):
        own.append(call(connection, "POST", "/constant", body)["id"])
    with lock:
        identifiers.extend(own)


before, began = cpu(), time.perf_counter()
threads = [threading.Thread(target=submit, args=(count // 16,)) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
submitted = time.perf_counter()
connection = connect()
for identifier in sorted(identifiers):
    document = call(connection, "GET", f"/constant/{identifier}?wait=30")
    assert document["status"] == "completed", document
ended = time.perf_counter()
row("completed/s, driver included", f"{len(identifiers) / (ended - began):.0f}")
row("CPU ms per request (submit, run, store, poll)", f"{(cpu() - before) * 1000 / len(identifiers):.3f}")

script = f'wrk.method = "POST"; wrk.body = string.rep("x", {size}); wrk.headers["Content-Type"] = "text/plain"'
path = f"/tmp/cortex-bench-{os.getpid()}.lua"
open(path, "w").write(script)
for connections in (1, 16, 64):
    before, began = cpu(), time.perf_counter()
    output = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", "-d5s", "--latency", "-s", path, f"{url}/constant"],
        capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    p99 = re.search(r"^\s+99%\s+(\S+)", output, re.M)[1]
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    row(f"submits/s at {connections} connections (p99)", f"{rate:.0f} ({p99})" + (f", {errors[1]} refused" if errors else ""))
os.remove(path)
began = time.perf_counter()
last = call(connection, "POST", "/constant", body)["id"]
while call(connection, "GET", f"/constant/{last}?wait=60")["status"] != "completed":
    pass
row("seconds until the backlog was worked off", f"{time.perf_counter() - began:.1f}")
row("memory afterwards, PSS MiB", f"{pss():.1f}")
