"""The jobs part of `bench.py`: what BatchAPI and TaskAPI cost (contract B14 and T10).

The same 10,000 items are also run by Dramatiq (group), Celery (chord) and Huey (map), each with two workers, in
alternating rounds; a figure is the median of the rounds."""

import http.client
import json
import os
import statistics
import time

from bench_platform import ROOT, Platform
from bench_queues import WORKERS, Queue

BATCH = """
- name: {name}
  kind: BatchAPI
  pod:
    max_concurrency: 64
    containers:
      - name: main
        command: ["/bench/constant"]
        volumes: ["{programs}:/bench:ro"]
        compute: {{cpu: 20m}}
"""
TASK = """
- name: task
  kind: TaskAPI
  pod:
    containers:
      - name: main
        command: [/bin/true]
        compute: {cpu: 20m}
"""
OPEN = ("pending", "enqueuing", "running")
ITEM = json.dumps("x" * 98)  # 100 bytes


class Caller:
    """One connection to the gateway."""

    def __init__(self, platform):
        self.connection = http.client.HTTPConnection(platform.address, timeout=300)

    def call(self, method, path, body=None, content="application/json"):
        self.connection.request(method, path, body, {"Content-Type": content} if body is not None else {})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {path} answered {answer.status}: {text[:300]}")
        return json.loads(text)

    def submit(self, path, body, content="application/json"):
        return self.call("POST", path, body, content)["job_id"]

    def wait(self, path):
        """The document of a job at its end."""
        while (document := self.call("GET", f"{path}?wait=60"))["job_status"]["status"] in OPEN:
            pass
        return document

    def follow(self, path, items):
        """The document of a job at its end, and the items/s between a tenth and nine tenths of them."""
        seen = []
        while (document := self.call("GET", path))["job_status"]["status"] in OPEN:
            seen.append((time.perf_counter(), document["job_status"]["item_counts"]["succeeded"]))
            time.sleep(0.02)
        inner = [sample for sample in seen if items / 10 <= sample[1] <= items * 9 / 10]
        if len(inner) < 2:
            raise SystemExit(f"a job of {items} items is too short to be measured")
        (began, first), (ended, last) = inner[0], inner[-1]
        return document, (last - first) / (ended - began)

    def lines(self, path):
        """The number of lines of the results, and the seconds for reading them."""
        began, count = time.perf_counter(), 0
        self.connection.request("GET", f"{path}/results")
        answer = self.connection.getresponse()
        while block := answer.read(1 << 20):
            count += block.count(b"\n")
        return count, time.perf_counter() - began


def check(document, items):
    """A job that lost nothing: its items have all succeeded."""
    status = document["job_status"]
    if status["status"] != "succeeded" or status["item_counts"]["succeeded"] != items:
        raise SystemExit(f"a job was not completed: {json.dumps(status)[:1000]}")


def declare(platform, name):
    platform.deploy_text(BATCH.format(name=name, programs=f"{ROOT}/.build/bench"), "--yes")


def jobs(report, quick):
    beside_others(report, quick)
    many_lines(report, quick)
    many_jobs(report, quick)
    tasks(report, quick)


def beside_others(report, quick):
    items, rounds = (2_000, 1) if quick else (10_000, 3)
    body = json.dumps({"workers": 2, "item_list": {"items": [json.loads(ITEM)] * items, "batch_size": 1}})
    figures = {name: [] for name in ("async", "pace", "Cortex", *WORKERS)}
    for _ in range(rounds):
        with Platform() as platform:
            platform.deploy()
            declare(platform, "batch")
            caller = Caller(platform)
            platform.load("complete", "/constant", 100, 64, 5_000, platform.pid)
            figures["async"].append(platform.load("complete", "/constant", 100, 64, items, platform.pid)["per_second"])
            # The first job of an API reads code and files that later ones find in memory.
            check(caller.wait(f"/batch/{caller.submit('/batch', body)}"), items)
            before, began = platform.cpu(), time.perf_counter()
            document, pace = caller.follow(f"/batch/{caller.submit('/batch', body)}", items)
            took, cpu = time.perf_counter() - began, platform.cpu() - before
            check(document, items)
            figures["Cortex"].append((items / took, 1000 * cpu / items))
            figures["pace"].append(pace)
        for name in WORKERS:
            with Queue(name) as queue:
                figures[name].append(queue.run(items))
    rates = {name: statistics.median(value[0] for value in figures[name]) for name in ("Cortex", *WORKERS)}
    cpus = {name: statistics.median(value[1] for value in figures[name]) for name in ("Cortex", *WORKERS)}
    rate, pace = statistics.median(figures["async"]), statistics.median(figures["pace"])
    report.row(
        "jobs_pace", f"a job of {items:,} batches of one item: batches/s between a tenth and nine tenths of them",
        f"{pace:.0f} = {pace / rate:.2f} × AsyncAPI ({rate:.0f})", "≥ 0.7 × AsyncAPI", pace >= 0.7 * rate)
    report.row(
        "jobs_rate", "the same from submission to end, with the start and the end of two workers",
        f"{rates['Cortex']:.0f} = {rates['Cortex'] / rate:.2f} × AsyncAPI ({rate:.0f})", "≥ 0.7 × AsyncAPI",
        rates["Cortex"] >= 0.7 * rate)
    report.row(
        "jobs_cpu", "CPU of the platform for each batch, ms", f"{cpus['Cortex']:.3f}", "≤ 0.11", cpus["Cortex"] <= 0.11)
    for name in WORKERS:
        report.row(
            f"jobs_{name.lower()}", f"the same items in {name}: items/s, ratio; CPU of all its processes for each item, ms",
            f"{rates[name]:.0f}, 1 : {rates['Cortex'] / rates[name]:.1f}; {cpus[name]:.3f}")


def many_lines(report, quick):
    items = 100_000 if quick else 1_000_000
    with Platform() as platform:
        declare(platform, "batch")
        caller = Caller(platform)
        start = platform.pss()
        lines = (ITEM + "\n") * items
        began = time.perf_counter()

        def whole():
            job = caller.submit("/batch?workers=2&batch_size=1", lines.encode(), "application/jsonl")
            accepted = time.perf_counter() - began
            return job, accepted, caller.wait(f"/batch/{job}"), time.perf_counter() - began
        (job, accepted, document, took), peak = platform.peak_during(whole)
        check(document, items)
        count, reading = caller.lines(f"/batch/{job}")
        if count != items:
            raise SystemExit(f"{count} lines of {items}")
        report.row(
            "jobs_accepted_s", f"{items:,} JSON lines of 100 bytes: s until accepted", f"{accepted:.1f}", "≤ 10",
            accepted <= 10 * items / 1_000_000)
        report.row("jobs_lines_rate", "its batches/s, with one item each", f"{items / (took - accepted):.0f}")
        report.row("jobs_growth_mib", "memory growth over the job, MiB", f"{peak - start:.1f}", "≤ 64", peak - start <= 64)
        report.row("jobs_results", "reading its results, lines/s", f"{count / reading:.0f}", "≥ 100,000", count / reading >= 100_000)


def many_jobs(report, quick):
    jobs, workers, items = (3, 3, 5_000) if quick else (10, 10, 100_000)
    with Platform() as platform:
        for number in range(jobs):
            declare(platform, f"batch-{number}")
        caller = Caller(platform)
        body = ((ITEM + "\n") * items).encode()
        began = time.perf_counter()
        found = [
            (f"/batch-{number}", caller.submit(f"/batch-{number}?workers={workers}&batch_size=10", body, "application/jsonl"))
            for number in range(jobs)]
        for path, job in found:
            check(caller.wait(f"{path}/{job}"), items)
            count, _ = caller.lines(f"{path}/{job}")
            if count != items // 10:
                raise SystemExit(f"{path}: {count} lines")
        took = time.perf_counter() - began
        report.row(
            "jobs_together", f"{jobs} jobs with {workers} workers and {items:,} items each, batches of 10, at the same time: s; lost items",
            f"{took:.0f}; 0", "none lost", True)


def leftovers(platform, ids):
    """Processes, mounts, control groups and folders of pods; control groups only of these jobs, since the machine may have
    those of other platforms."""
    processes = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            processes += platform.work.encode() in open(f"/proc/{name}/cmdline", "rb").read() and int(name) != platform.pid
        except OSError:
            pass
    pods, groups = f"{platform.work}/data/pods", {f"cortex-t-{job}" for job in ids}
    return {
        "processes": processes,
        "mounts": sum(platform.work in line for line in open("/proc/self/mountinfo")),
        "control groups": sum(name[:45] in groups for _, names, _ in os.walk("/sys/fs/cgroup") for name in names),
        "folders": sum(not name.startswith(".") for name in os.listdir(pods)) if os.path.isdir(pods) else 0,
    }


def tasks(report, quick):
    count = 50 if quick else 1_000
    with Platform() as platform:
        platform.deploy_text(TASK, "--yes")
        caller = Caller(platform)
        check_task(caller.wait(f"/task/{caller.submit('/task', '{}')}"))
        time.sleep(2)
        clean = leftovers(platform, [])
        before, began = platform.cpu(), time.perf_counter()
        ids = [caller.submit("/task", "{}") for _ in range(count)]
        for job in ids:
            check_task(caller.wait(f"/task/{job}"))
        took, cpu = time.perf_counter() - began, platform.cpu() - before
        deadline = time.time() + 20
        while (left := leftovers(platform, ids)) != clean and time.time() < deadline:
            time.sleep(0.5)
        report.row(
            "tasks_rate", f"{count:,} tasks of `true` on the sandbox engine, one job each: tasks/s (CPU of the platform, ms each)",
            f"{count / took:.1f} ({1000 * cpu / count:.1f})", "≥ 8", count / took >= 8)
        more = {name: left[name] - clean[name] for name in left if left[name] > clean[name]}
        report.row("tasks_left", "processes, mounts, control groups and folders of pods left by them", str(more or "none"), "none", not more)


def check_task(document):
    if document["job_status"]["status"] != "succeeded":
        raise SystemExit(f"a task did not succeed: {json.dumps(document['job_status'])[:1000]}")
