"""Measures the built platform on this machine and prints the table of docs/performance.md. Standard library only.

  bench.py [PART ...] [--quick] [--json FILE]

Parts: idle latency submit complete large queue stream waiters apis space realtime jobs; the default is all of them.
Each part starts a platform on an empty data directory, with the sandbox engine and one replica of the constant
container; realtime and jobs have APIs and other systems of their own (`realtime.py`, `jobs.py`).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

from bench_platform import CONTAINER, LOAD, ROOT, Platform, Report
from jobs import jobs
from realtime import realtime

IDLE = """
- name: idle-{number}
  kind: AsyncAPI
  pod:
    containers:
      - name: main
        command: [/bin/true]
  autoscaling:
    min_replicas: 0
"""


def idle(report, quick):
    with Platform() as platform:
        platform.deploy()
        time.sleep(5)
        pss = platform.pss()
        report.row("idle_pss_mib", "memory idle, PSS MiB", f"{pss:.1f}", "≤ 40", pss <= 40)


def latency(report, quick):
    with Platform() as platform:
        platform.deploy()
        for how in ("wait", "poll"):
            got = platform.load("latency", "/constant", 100, 300 if quick else 1000, how)
            report.row(
                f"latency_{how}", f"unloaded submit to result by {'long poll' if how == 'wait' else '1 ms polling'}, ms p50 / p99",
                f"{got['p50_ms']:.2f} / {got['p99_ms']:.2f}", "≤ 2.5 / 8", got["p50_ms"] <= 2.5 and got["p99_ms"] <= 8)


def submit(report, quick):
    for connections in (1, 16, 64):
        with Platform() as platform:
            platform.deploy()
            platform.load("submit", "/constant", 100, connections, 1)
            before = platform.cpu()
            got = platform.load("submit", "/constant", 100, connections, 3 if quick else 8)
            cpu = 1000 * (platform.cpu() - before) / got["count"]
            report.row(
                f"submits_{connections}", f"submits/s at {connections} connections, with deliveries (p99 ms, CPU ms each)",
                f"{got['per_second']:.0f} ({got['p99_ms']:.1f}, {cpu:.3f})", "≥ 20,000" if connections == 64 else "",
                got["per_second"] >= 20_000 if connections == 64 else None)
    with Platform() as platform:
        platform.deploy("held", '["/bench/constant", "/gate/open"]')
        got = platform.load("submit", "/held", 100, 64, 3 if quick else 8)
        report.row("submits_64_alone", "submits/s at 64 connections, without deliveries (p99 ms)", f"{got['per_second']:.0f} ({got['p99_ms']:.1f})")


def complete(report, quick):
    with Platform() as platform:
        platform.deploy()
        platform.load("complete", "/constant", 100, 64, 5_000, platform.pid)
        got = platform.load("complete", "/constant", 100, 64, 20_000 if quick else 100_000, platform.pid)
        report.row(
            "completed_100", "completed/s over 64 connections", f"{got['per_second']:.0f}", "≥ 9,000", got["per_second"] >= 9000)
        report.row(
            "cpu_ms", "platform CPU ms per request (submit, run, store, one poll)", f"{got['cpu_ms']:.3f}", "≤ 0.16", got["cpu_ms"] <= 0.16)
        report.row("cpu_ms_without_poll", "the same without the poll", f"{got['cpu_ms_without_poll']:.3f}")
        report.row("polls", "polls/s afterwards", f"{got['polls_per_second']:.0f}")
        report.row("pss_after_mib", "memory after that, PSS MiB", f"{platform.pss():.1f}")


def large(report, quick):
    with Platform() as platform:
        platform.deploy()
        got = platform.load("complete", "/constant", 100_000, 64, 3_000 if quick else 10_000, platform.pid)
        report.row("completed_100k", "100 KB: completed/s", f"{got['per_second']:.0f}", "≥ 2,500", got["per_second"] >= 2500)
        report.row("cpu_ms_100k", "100 KB: platform CPU ms per request", f"{got['cpu_ms']:.3f}")
    with Platform() as platform:
        platform.deploy()
        got = platform.load("submit", "/constant", 100_000, 64, 3 if quick else 8)
        report.row("submits_100k", "100 KB: submits/s at 64 connections (p99 ms)", f"{got['per_second']:.0f} ({got['p99_ms']:.1f})", "≥ 4,000", got["per_second"] >= 4000)
        report.row("pss_100k_mib", "100 KB: memory after that, PSS MiB", f"{platform.pss():.1f}")


def in_queue(platform, name):
    def find(value):
        if isinstance(value, dict):
            if "in_queue" in value and isinstance(value["in_queue"], int):
                return value["in_queue"]
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            found = find(item)
            if found is not None:
                return found
    return find(platform.queued(name))


def claims(platform, amount):
    """Requests per second that leave the queue, over the next `amount` of them."""
    began, first = time.perf_counter(), in_queue(platform, "held")
    open(f"{platform.gate}/open", "w").close()
    while True:
        time.sleep(0.1)
        left, now = in_queue(platform, "held"), time.perf_counter()
        if left <= max(0, first - amount):
            return (first - left) / (now - began)


def queue(report, quick):
    few, many = (20_000, 200_000) if quick else (100_000, 1_000_000)
    figures = {0: [], many: []}
    # A few seconds on a shared disk say little: in turn, and the middle one counts.
    for before in (0, many) * (1 if quick else 3):
        with Platform() as platform:
            platform.deploy("held", '["/bench/constant", "/gate/open"]')
            platform.load("submit", "/held", 100, 64, 3600, 5_000)
            start = platform.pss()
            if before:
                platform.load("submit", "/held", 100, 64, 3600, before)
            growth = platform.pss() - start
            # What was just written may still be on its way to the disk, which the next second should not be charged
            # with.
            os.sync()
            rate = platform.load("submit", "/held", 100, 64, 3600, few)["per_second"]
            figures[before].append((rate, claims(platform, few - 5_000), growth))
    (submits, claimed, _), (submits_full, claimed_full, growth) = ([statistics.median(column) for column in zip(*figures[before])] for before in (0, many))
    for key, text, empty, full in (("submit", "submits/s", submits, submits_full), ("claim", "completed/s", claimed, claimed_full)):
        report.row(
            f"queued_{key}", f"{text} with {many:,} queued, against an empty queue", f"{full:.0f} against {empty:.0f} = {100 * full / empty:.0f} %",
            "≥ 85 %", full >= 0.85 * empty)
    report.row("queued_growth_mib", f"memory growth by {many:,} queued, MiB", f"{growth:.1f}", "≤ 64", growth <= 64)


def stream(report, quick):
    size = (128 << 20) if quick else (1 << 30)
    with Platform() as platform:
        platform.deploy()
        platform.load("complete", "/constant", 100, 16, 200, platform.pid)
        before = platform.pss()
        got, peak = platform.peak_during(lambda: platform.load("stream", "/constant", size))
        report.row(
            "stream", f"{size >> 20} MiB through to the container, s accepted / completed", f"{got['accepted_s']:.1f} / {got['completed_s']:.1f}", "disk speed")
        report.row("stream_growth_mib", "memory growth, MiB", f"{peak - before:.1f}", "≤ 64", peak - before <= 64)


def waiters(report, quick):
    # The platform takes connections up to half of its limit of open files, less a reserve for the operator (N6).
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = 1_000 if quick else min(10_000, files * 7 // 16)
    wanted = 96 * count / 10_000
    with Platform() as platform:
        platform.deploy("held", '["/bench/constant", "/gate/open"]')
        driver = subprocess.Popen(
            [LOAD, "waiters", platform.address, "/held", str(count), "20", str(platform.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def expect(word):
            if driver.stdout.readline().strip() != word:
                sys.exit(f"the driver did not get as far as: {word}")
        expect("submitted")
        time.sleep(1)
        before = platform.pss()
        driver.stdin.write("\n")
        driver.stdin.flush()
        expect("waiting")
        growth = platform.pss() - before
        expect("open")
        open(f"{platform.gate}/open", "w").close()
        got = json.loads(driver.stdout.readline())
        driver.wait()
        report.row("waiters_mib", f"{count:,} waiting long polls: memory growth, MiB", f"{growth:.1f}", f"≤ {wanted:.0f}", growth <= wanted)
        report.row("waiters_cpu", "CPU of the platform while they wait, % of a core", f"{got['cpu_percent']:.2f}")
        report.row("waiters_answered", "seconds until all were run and answered", f"{got['all_answered_s']:.1f}")


def apis(report, quick):
    with Platform() as platform:
        platform.deploy_text("".join(IDLE.format(number=number) for number in range(200)), "--yes")
        time.sleep(5)
        before, began = platform.cpu(), time.perf_counter()
        time.sleep(10 if quick else 30)
        share = 100 * (platform.cpu() - before) / (time.perf_counter() - began)
        report.row("apis_cpu", "200 APIs deployed, idle: CPU, % of a core", f"{share:.2f}", "< 1", share < 1)
        report.row("apis_mib", "200 APIs: memory, PSS MiB", f"{platform.pss():.1f}")


def space(report, quick):
    """Requests are kept only briefly, so the disk space must not grow with their number (contract C6)."""
    each, rounds = 100_000, 2 if quick else 10
    with Platform() as platform:
        platform.deploy_text(
            CONTAINER.format(name="constant", command='["/bench/constant"]', programs=f"{ROOT}/.build/bench", gate=platform.gate)
            + "  retention: 20s\n")
        sizes = []
        for _ in range(rounds):
            platform.load("complete", "/constant", 100, 64, each, platform.pid)
            sizes.append(platform.files_mib())
        # The first rounds allocate space that is reused later.
        settled, largest = max(sizes[:3]), max(sizes)
        total = f"{each * rounds:,} requests through one data directory"
        report.row("space_mib", f"{total}: its files after each 100,000, MiB", " ".join(f"{size:.0f}" for size in sizes))
        report.row("space_largest", "the largest of these against the first three", f"{largest / settled:.2f}", "≤ 1.5", largest <= 1.5 * settled)
        report.row("space_pss_mib", "memory after that, PSS MiB", f"{platform.pss():.1f}")
        # The retention, and up to 60 seconds for erasing.
        time.sleep(80)
        left = platform.files_mib()
        report.row("space_left_mib", "its files 80 seconds later, MiB", f"{left:.1f}", "≤ 64", left <= 64)


PARTS = [idle, latency, submit, complete, large, queue, stream, waiters, apis, space, realtime, jobs]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[part.__name__ for part in PARTS] + [[]])
    parser.add_argument("--quick", action="store_true", help="smaller counts and shorter times")
    parser.add_argument("--json", help="where all figures go, too")
    arguments = parser.parse_args()
    report = Report()
    cpus, load = os.cpu_count(), os.getloadavg()
    print(f"{cpus} cores, load average {load[0]:.1f} before\n\n| figure | value | target | met |\n|---|---|---|---|", flush=True)
    for part in PARTS:
        if not arguments.parts or part.__name__ in arguments.parts:
            part(report, arguments.quick)
    print(f"\nload average {os.getloadavg()[0]:.1f} after")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(report.figures, file, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    main()
