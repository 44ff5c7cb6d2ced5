"""The realtime part of `bench.py`: what a RealtimeAPI and a TrafficSplitter cost (contract R28 and X12).

Cortex is measured beside other proxies (`bench_proxies.py`) and beside the container itself ("direct"), in alternating
rounds; a figure is the median of the rounds. All have the same two containers behind them, nginx and the program
`constant`: Cortex those of two RealtimeAPIs, the others the same programs outside a pod."""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import time

from bench_platform import LOAD, ROOT, Platform
from bench_proxies import FOLDER, PROXIES, Proxy, Subject, cpu, free_port, pss

GIB = 1 << 30
# start FILES TEMPORARY PROXIES: nginx on the port $CORTEX_PORT.
START = """#!/bin/sh
PATH=$3/usr/sbin:$PATH:/usr/sbin
sed "s|PORT|$CORTEX_PORT|; s|FILES|$1|; s|TEMPORARY|$2|g" "$1/nginx.conf" >"$2/nginx.conf"
user=nobody
[ "$(id -u)" != 0 ] || user=root
exec nginx -e stderr -c "$2/nginx.conf" -g "user $user;"
"""
NGINX = """
daemon off; worker_processes 1; pid TEMPORARY/pid; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on;
  client_body_temp_path TEMPORARY/b; proxy_temp_path TEMPORARY/p; fastcgi_temp_path TEMPORARY/f;
  uwsgi_temp_path TEMPORARY/u; scgi_temp_path TEMPORARY/s;
  server {
    listen 127.0.0.1:PORT backlog=4096; default_type application/json;
    location = / { return 200 '""" + '{"data":"' + "0123456789" * 8 + "012345678\"}" + """'; }
    location = /large { alias FILES/large; }
  }
}
"""
API = """
- name: {name}
  kind: RealtimeAPI
  pod:
    max_concurrency: {concurrency}
    containers:
      - name: main
        command: {command}
        volumes: ["{files}:/files:ro", "{programs}:/bench:ro", "{proxies}:/proxies:ro"]
  autoscaling:
    min_replicas: 1
    max_replicas: 1
"""
IN_POD = '["/bin/sh", "/files/start", "/files", "/tmp", "/proxies"]'
# One target gets all requests: with two containers the loops wake up more often, which is not the splitter's cost.
SPLITTER = """
- name: {name}
  kind: TrafficSplitter
  apis:
    - name: nginx
      weight: 100
    - name: other
      weight: 0
{shadow}"""
SHADOW = """    - name: shadow
      weight: 100
      shadow: true
"""


def declaration(platform, name, command=IN_POD, concurrency=1024):
    return API.format(
        name=name, command=command, concurrency=concurrency, files=f"{platform.work}/files", programs=f"{ROOT}/.build/bench",
        proxies=FOLDER)


def write_files(folder):
    os.mkdir(folder)
    for name, text in (("start", START), ("nginx.conf", NGINX)):
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)
    # Without blocks, so it takes no space on the disk.
    with open(f"{folder}/large", "w") as file:
        file.truncate(GIB)


class Containers:
    """Both containers outside the platform, for the other proxies: a pod has a network of its own."""

    def __init__(self, work):
        self.processes = []
        self.folder = f"{work}/containers"
        os.mkdir(self.folder)
        self.nginx = self.start(["/bin/sh", f"{work}/files/start", f"{work}/files", self.folder, FOLDER])
        self.constant = self.start([f"{ROOT}/.build/bench/constant"])

    def start(self, command):
        port = free_port()
        with open(f"{self.folder}/log", "a") as log:
            self.processes.append(subprocess.Popen(command, env={**os.environ, "CORTEX_PORT": str(port)}, stdout=log, stderr=log))
        return f"127.0.0.1:{port}"

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait()


class Rounds:
    """The figures of all subjects, by measure; `median` is over the rounds."""

    def __init__(self):
        self.values = {}

    def add(self, subject, **figures):
        for measure, value in figures.items():
            self.values.setdefault((subject.name, measure), []).append(value)

    def median(self, name, measure):
        return statistics.median(self.values[name, measure])

    def others(self, measure, form):
        """The figures of the other proxies as text."""
        names = [name for name, other in self.values if other == measure and name != "Cortex"]
        return ", ".join(f"{name} {form.format(self.median(name, measure))}" for name in names)


def saturated(subject, path, seconds):
    """Requests per second over 16 connections, and the processor time of each in µs."""
    subject.load("requests", path, 16, 0.3)
    before = cpu(subject.pids)
    got = subject.load("requests", path, 16, seconds)
    used = {"cpu": 1e6 * (cpu(subject.pids) - before) / got["count"]} if subject.pids else {}
    return {"rate": got["per_second"], **used}


def transferred(subject, way, path):
    """MiB per second of one GiB, and the growth of memory in MiB."""
    before, largest = pss(subject.pids), 0
    driver = subprocess.Popen(
        [LOAD, "transfer", subject.address, path, way, str(GIB)], stdout=subprocess.PIPE, text=True)
    while driver.poll() is None:
        largest = max(largest, pss(subject.pids))
        time.sleep(0.02)
    if driver.returncode != 0:
        raise SystemExit(f"{subject.name}: 1 GiB {way} failed")
    growth = {f"{way}_growth": (largest - before) / 1024} if subject.pids else {}
    return {way: GIB / 2**20 / json.load(driver.stdout)["seconds"], **growth}


def held(subject, path, count, state):
    """KiB of memory for each of some held connections, and the processor time meanwhile in percent of a core."""
    before = pss(subject.pids)
    driver = subprocess.Popen(
        [LOAD, "hold", subject.address, path, str(count), state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if driver.stdout.readline() != "holding\n":
        raise SystemExit(f"{subject.name}: {count} connections could not be {state}")
    time.sleep(1)
    growth, used = (pss(subject.pids) - before) / count, cpu(subject.pids)
    time.sleep(2)
    used = (cpu(subject.pids) - used) / 2
    answer, _ = driver.communicate("\n")
    if answer != "ended\n":
        raise SystemExit(f"{subject.name}: a connection that was {state} did not work any more")
    return {f"{state}_kib": growth, f"{state}_cpu": 100 * used}


@contextlib.contextmanager
def started():
    """A platform with both containers, and what to measure: Cortex, and the addresses for the other proxies."""
    with Platform() as platform, contextlib.ExitStack() as stack:
        write_files(f"{platform.work}/files")
        platform.deploy_text(
            declaration(platform, "nginx") + declaration(platform, "constant", '["/bench/constant"]', 30_000))
        containers = Containers(platform.work)
        stack.callback(containers.stop)
        yield platform, Subject("Cortex", platform.address, [platform.pid], "/nginx"), (containers.nginx, containers.constant)


def memory(rounds, quick):
    """Memory of connections, each kind in processes that have just been started; the number of WebSockets."""
    # Each of these has one descriptor on both sides of a proxy, which has a reserve.
    sockets = 500 if quick else min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 7 // 16)

    def measure(subject):
        # What the first requests allocate for good does not count.
        subject.load("requests", subject.nginx + "/", 16, 0.5)
        rounds.add(subject, **held(subject, *{
            "idle": (subject.nginx + "/", 500 if quick else 2_000, "idle"),
            "stalled": (subject.nginx + "/large", 20 if quick else 100, "stalled"),
            "upgraded": (subject.constant + "/socket", sockets, "upgraded"),
        }[state]))

    for state in ("idle", "stalled", "upgraded"):
        with started() as (platform, cortex, addresses):
            measure(cortex)
            for name in PROXIES:
                proxy = Proxy(name, platform.work, *addresses)
                try:
                    measure(proxy)
                finally:
                    proxy.stop()
    return sockets


def compare(rounds, platform, cortex, addresses, count, seconds):
    """Rates, latencies and processor time in alternating rounds."""
    direct = [Subject("direct", address, [], constant="") for address in addresses]
    with contextlib.ExitStack() as stack:
        proxies = []
        for name in PROXIES:
            proxies.append(Proxy(name, platform.work, *addresses))
            stack.callback(proxies[-1].stop)
        # The first reader of the file fills the page cache.
        direct[0].load("transfer", "/large", "down", GIB)
        for _ in range(count):
            base = direct[0].load("requests", "/", 1, seconds / 2)
            rounds.add(direct[0], p50=base["p50_us"], p99=base["p99_us"])
            for subject in (cortex, *proxies):
                got = subject.load("requests", subject.nginx + "/", 1, seconds / 2)
                rounds.add(subject, p50=got["p50_us"], p99=got["p99_us"], added=got["p50_us"] - base["p50_us"])
            for subject in (direct[0], cortex, *proxies):
                rounds.add(subject, **saturated(subject, subject.nginx + "/", seconds))
            for subject in (direct[0], cortex, *proxies):
                rounds.add(subject, **transferred(subject, "down", subject.nginx + "/large"))
            for subject in (direct[1], cortex, *proxies):
                rounds.add(subject, **transferred(subject, "up", subject.constant + "/"))


def realtime(report, quick):
    # All programs that are started from here inherit the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rounds, count, seconds = Rounds(), 1 if quick else 3, 1 if quick else 4
    with started() as (platform, cortex, addresses):
        compare(rounds, platform, cortex, addresses, count, seconds)
        splits = splitter(platform, cortex, count, seconds)
    sockets = memory(rounds, quick)
    figures(report, rounds, sockets)
    split_figures(report, splits)


def splitter(platform, cortex, count, seconds):
    """Requests to a RealtimeAPI, through a splitter, and through a splitter with a shadow, in alternating rounds."""
    platform.deploy_text("".join((
        *(declaration(platform, name) for name in ("nginx", "other", "shadow")),
        SPLITTER.format(name="split", shadow=""), SPLITTER.format(name="shadowed", shadow=SHADOW))))
    rounds = Rounds()
    for _ in range(count):
        for name in ("nginx", "split", "shadowed"):
            subject = Subject(name, cortex.address, cortex.pids)
            rounds.add(subject, **saturated(subject, f"/{name}/", seconds))
            rounds.add(subject, p99=subject.load("requests", f"/{name}/", 1, seconds / 2)["p99_us"])
    return rounds


def figures(report, rounds, sockets):
    """One row a measure; a limit is met or not met."""
    def row(key, text, measure, form, target, is_met):
        value = rounds.median("Cortex", measure)
        report.row(f"realtime_{key}", text, f"{form.format(value)}; {rounds.others(measure, form)}", target, is_met and is_met(value))

    def peer(name, measure):
        return rounds.median(name, measure)

    row("cpu_us", "RealtimeAPI, 16 connections: CPU of the platform for each request, µs", "cpu", "{:.1f}", "≤ 40, wanted 30",
        lambda value: value <= 40)
    row("rate", "requests/s, 16 connections", "rate", "{:.0f}", "≥ envoy, ≥ caddy, ≥ 0.5 × nginx",
        lambda value: value >= max(peer("envoy", "rate"), peer("caddy", "rate"), 0.5 * peer("nginx", "rate")))
    row("added_p50_us", "1 connection: added latency p50, µs", "added", "{:.0f}", "≤ 60", lambda value: value <= 60)
    row("p50_us", "1 connection: latency p50, µs", "p50", "{:.0f}", "", None)
    row("p99_us", "1 connection: latency p99, µs", "p99", "{:.0f}", "≤ 2 × nginx", lambda value: value <= 2 * peer("nginx", "p99"))
    for way, text in (("down", "1 GiB response"), ("up", "1 GiB request")):
        row(way, f"{text}, MiB/s", way, "{:.0f}", "≥ 0.6 × nginx", lambda value: value >= 0.6 * peer("nginx", way))
        row(f"{way}_growth_mib", f"{text}: memory growth, MiB", f"{way}_growth", "{:.1f}", "< 16", lambda value: value < 16)
    row("idle_kib", "memory for each idle kept caller connection, KiB", "idle_kib", "{:.1f}", "≤ 10", lambda value: value <= 10)
    # 256 KiB of the response (R5), and the two connections themselves.
    row("stalled_kib", "memory for each response whose caller does not read, KiB", "stalled_kib", "{:.0f}", "≤ 256 + 2 × 10",
        lambda value: value <= 276)
    row("websocket_kib", f"memory for each of {sockets:,} idle WebSockets, KiB", "upgraded_kib", "{:.1f}", "≤ 20",
        lambda value: value <= 20)
    row("websocket_cpu", f"CPU of {sockets:,} idle WebSockets, % of a core", "upgraded_cpu", "{:.2f}", "", None)


def split_figures(report, rounds):
    plain, split, shadowed = (rounds.median(name, "cpu") for name in ("nginx", "split", "shadowed"))
    report.row(
        "splitter_cpu_us", "TrafficSplitter, 16 connections: additional CPU for each request, µs",
        f"{split - plain:.1f} ({split:.1f} against {plain:.1f})", "≤ 2", split - plain <= 2)
    report.row(
        "shadow_cpu_us", "shadow of 100 %: CPU for each request, µs", f"{shadowed:.1f}", "≤ that of two requests",
        shadowed <= split + plain)
    without, with_shadow = (rounds.median(name, "p99") for name in ("split", "shadowed"))
    report.row(
        "shadow_p99_us", "shadow of 100 %, 1 connection: latency p99 against that without, µs", f"{with_shadow:.0f} against {without:.0f}",
        "≤ 1.2 ×", with_shadow <= 1.2 * without)
