"""The platform under measurement and the table of `bench.py`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CORTEX = os.environ.get("CORTEX_BENCH_PROGRAM", f"{ROOT}/.build/dist/cortex")
LOAD = f"{ROOT}/.build/bench/load"

CONTAINER = """
- name: {name}
  kind: AsyncAPI
  pod:
    max_concurrency: 64
    containers:
      - name: main
        command: {command}
        volumes: ["{programs}:/bench:ro", "{gate}:/gate:ro"]
"""


class Platform:
    """A running `cortex up` and the folder of its files."""

    def __init__(self, program=CORTEX, prefix=()):
        """`prefix` is a command that runs the program, for example a profiler."""
        self.program, self.prefix = program, prefix

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="cortex-bench-", dir=os.environ.get("CORTEX_BENCH_DIR"))
        self.gate = f"{self.work}/gate"
        os.mkdir(self.gate)
        self.environment = {**os.environ, "CORTEX_CLI_CONFIG_DIR": f"{self.work}/cli"}
        self.log = open(f"{self.work}/log", "w")
        self.process = subprocess.Popen(
            [*self.prefix, self.program, "up", "--data-dir", f"{self.work}/data", "--port", "0", "--operator-port", "0",
             "--engine", "sandbox"],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=self.environment)
        for line in self.process.stdout:
            if line.startswith("ready"):
                break
        else:
            sys.exit(open(f"{self.work}/log").read())
        self.pid = self.process.pid
        gateway = json.load(open(f"{self.work}/data/addresses.json"))["gateway"]
        self.address = gateway.removeprefix("http://")
        return self

    def __exit__(self, *_):
        # Otherwise the platform would wait for held answers until the grace period ends, and a pod would outlive a
        # killed platform.
        open(f"{self.gate}/open", "w").close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def cortex(self, *arguments):
        done = subprocess.run([self.program, *arguments], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"cortex {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def deploy(self, name="constant", command='["/bench/constant"]'):
        self.deploy_text(CONTAINER.format(name=name, command=command, programs=f"{ROOT}/.build/bench", gate=self.gate))

    def deploy_text(self, text, *flags):
        path = f"{self.work}/cortex.yaml"
        with open(path, "w") as file:
            file.write(text)
        self.cortex("deploy", path, *(flags or ("--wait",)))

    def load(self, measure, *arguments):
        return json.loads(subprocess.run(
            [LOAD, measure, self.address, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True).stdout)

    def pss(self):
        """Proportional set size of the platform's process, in MiB."""
        for line in open(f"/proc/{self.pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024

    def files_mib(self):
        """The disk space of requests, in MiB: the database, its log, and the blocks of bodies."""
        files = [os.path.join(folder, name) for folder, _, names in os.walk(f"{self.work}/data") for name in names]
        return sum(os.stat(file).st_blocks * 512 for file in files if "/pods/" not in file and os.path.exists(file)) / 2**20

    def cpu(self):
        fields = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def queued(self, name):
        return json.loads(self.cortex("get", name, "-o", "json"))

    def peak_during(self, action):
        """The result of `action`, and the largest memory while it ran."""
        peak, ended = [self.pss()], threading.Event()

        def watch():
            while not ended.wait(0.05):
                peak.append(self.pss())
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            return action(), max(peak)
        finally:
            ended.set()
            watcher.join()


class Report:
    """Prints rows at once, and all of them as JSON at the end."""

    def __init__(self):
        self.figures = {}

    def row(self, key, text, value, target="", is_met=None):
        self.figures[key] = value
        mark = "" if is_met is None else ("met" if is_met else "not met")
        print(f"| {text} | {value} | {target} | {mark} |", flush=True)
