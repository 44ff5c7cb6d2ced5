"""The task queues that the part `jobs` of `bench.py` compares with: Dramatiq, Celery and Huey.

Each has two worker processes. Dramatiq and Celery use a Redis with an append-only file that is synced every second, which
is its default; Huey uses SQLite and syncs every commit. `scripts/bench-queues.sh` downloads them."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from bench_platform import ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = f"{ROOT}/.build/bench-queues"
PYTHON = f"{ROOT}/.build/test-tools/queues/bin"
WORKERS = {
    "Dramatiq": [f"{PYTHON}/dramatiq", "queue_tasks", "--processes", "2", "--threads", "8"],
    "Celery": [f"{PYTHON}/celery", "-A", "queue_tasks", "worker", "-c", "2", "-l", "warning", "--without-gossip", "--without-mingle"],
    "Huey": [f"{PYTHON}/huey_consumer", "queue_tasks.huey", "-w", "2", "-k", "process", "-d", "0.01", "-m", "0.1", "-q"],
}


class Queue:
    """A running system, with its broker and its workers."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.work = tempfile.mkdtemp(prefix="cortex-bench-", dir=os.environ.get("CORTEX_BENCH_DIR"))
        self.log = open(f"{self.work}/log", "w")
        self.processes = []
        self.environment = {
            **os.environ, "BENCH_SYSTEM": self.name.lower(), "BENCH_FILE": f"{self.work}/huey.db", "PYTHONPATH": HERE,
            "PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": f"{FOLDER}/usr/lib/{os.uname().machine}-linux-gnu",
            # A mark by which the processes are found that others start.
            "BENCH_MARK": self.work,
        }
        if self.name != "Huey":
            self.start_redis()
        self.start(WORKERS[self.name])
        # One item, so that workers are ready.
        self.run(2)
        return self

    def start(self, command):
        self.processes.append(subprocess.Popen(command, cwd=self.work, env=self.environment, stdout=self.log, stderr=self.log))

    def start_redis(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.environment["BENCH_REDIS"] = f"redis://127.0.0.1:{port}/0"
        self.start(
            [f"{FOLDER}/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", self.work, "--save", "",
             "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction", "--daemonize", "no"])
        deadline = time.time() + 20
        while time.time() < deadline:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
        sys.exit(open(f"{self.work}/log").read())

    def run(self, count):
        """Submits items and waits for all results.

        Returns items per second, and the processor time of all processes for each item, in milliseconds."""
        before = self.cpu()
        client = subprocess.Popen(
            [f"{PYTHON}/python", f"{HERE}/queue_submit.py", str(count)], cwd=self.work, env=self.environment,
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        took = client.stdout.read()
        _, status, usage = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        if client.returncode != 0:
            sys.exit(f"{self.name} failed:\n" + open(f"{self.work}/log").read()[-3000:])
        cpu = self.cpu() - before + usage.ru_utime + usage.ru_stime
        return count / float(took), 1000 * cpu / count

    def pids(self):
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if f"BENCH_MARK={self.work}\0".encode() in open(f"/proc/{name}/environ", "rb").read() + b"\0":
                    found.append(int(name))
            except OSError:
                pass
        return found

    def cpu(self):
        total = 0
        for pid in self.pids():
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)
