"""The crash test of jobs: job_soak.py CORTEX [ITEMS] [FIRINGS]

1. A job of a BatchAPI with ITEMS items (100,000). Every 2 seconds the platform, a worker or the supervisor of a pod is
   killed. Each download of the results must be the beginning of every later one. At the end each item must have one line
   with its result, and the counts must be exact (contract J6, A10, B8, B9).
2. Two schedules of a TaskAPI. The platform is killed at FIRINGS planned times (200), when the jobs are made, and started
   again. Each planned time must have one job or one recorded skip (contract J14).

Sandbox engine. Exits with 1 if something is lost, doubled or left over. SEED=… repeats a run; KEEP=1 keeps the folder of
a failed run. `0` for a number leaves that part out."""

import datetime
import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from urllib.parse import urlparse

import own_leaks
from own_platform import Platform, api

ITEMS = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
FIRINGS = int(sys.argv[3]) if len(sys.argv) > 3 else 200
BATCH_SIZE = 10
PERIOD = 3  # seconds between planned times
APIS = ["soakitems", "soakclock"]
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
dice = random.Random(seed)
platform = Platform(sys.argv[1])
counts = {}
wrong = []


def done(what):
    counts[what] = counts.get(what, 0) + 1


def get(path, timeout=70):
    """A JSON document of the gateway."""
    status, answer = platform.request("GET", platform.addresses["gateway"] + path, timeout=timeout)
    if status != 200:
        raise OSError(f"GET {path} answered {status}: {answer[:300]}")
    return json.loads(answer)


def restart():
    platform.kill()
    done("platform killed")
    took = platform.start()
    counts["slowest start, s"] = max(counts.get("slowest start, s", 0), round(took, 2))


class Downloads:
    """Downloads the results of a job again and again, also while the platform is killed, and compares them."""

    def __init__(self, path):
        self.path, self.longest, self.count, self.cut = path, b"", 0, 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over.wait(0.3):
            try:
                self.compare(self.download())
            except OSError:
                pass

    def download(self):
        address = urlparse(platform.addresses["gateway"])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=70)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.request("GET", self.path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"the results answered {answer.status}: {answer.read(300)}")
            return self.read(answer)
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def read(self, answer):
        """Reads slowly, so that kills cut downloads off; what arrived before counts."""
        blocks = []
        try:
            while block := answer.read1(1 << 16):
                blocks.append(block)
                time.sleep(0.01)
        except (OSError, http.client.HTTPException):
            self.cut += 1
        return b"".join(blocks)

    def compare(self, text):
        self.count += 1
        short, long = sorted((text, self.longest), key=len)
        if not long.startswith(short):
            wrong.append(f"a download of {len(text)} bytes is not the beginning of another one of {len(self.longest)}")
        self.longest = long

    def stop(self):
        self.is_over.set()
        self.thread.join()
        last = self.download()
        self.compare(last)
        if len(last) != len(self.longest):
            wrong.append("an earlier download of the results is longer than the last one")
        return last


def victims():
    """The processes of workers, and the supervisors of their pods."""
    workers, supervisors = [], []
    for process in platform.processes():
        try:
            words = open(f"/proc/{process}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == b"cortex-pod-init":
            supervisors.append(process)
        elif any(word.endswith(b"job_worker.py") for word in words) and os.path.basename(words[0]) != b"bwrap":
            workers.append(process)
    return {"workers": workers, "supervisors of pods": supervisors}


def kill_one():
    what = dice.choice(["platform", "workers", "supervisors of pods"])
    if what == "platform":
        return restart()
    try:
        os.kill(dice.choice(victims()[what]), signal.SIGKILL)
        done(f"{what} killed")
    except (IndexError, OSError):
        done(f"no {what} to kill")


def batch():
    platform.deploy(api(
        "soakitems", "job_worker.py", kind="BatchAPI",
        api_lines=["retries: {max_attempts: 100, backoff: 0s}"], pod_lines=["max_concurrency: 4"],
        container_lines=["env:", f"  {platform.mark()}", '  PAUSE: "0.1"']))
    items = "".join(f"{number}\n" for number in range(ITEMS)).encode()
    status, answer = platform.request(
        "POST", f"{platform.addresses['gateway']}/soakitems?workers=2&batch_size={BATCH_SIZE}", items,
        {"Content-Type": "application/jsonl"})
    if status != 200:
        raise SystemExit(f"the submission answered {status}: {answer[:300]}")
    job = json.loads(answer)["job_id"]
    began = time.time()
    downloads = Downloads(f"/soakitems/{job}/results")
    try:
        while (document := get(f"/soakitems/{job}"))["job_status"]["status"] in ("pending", "enqueuing", "running"):
            check_counts(document["job_status"])
            time.sleep(2)
            kill_one()
    finally:
        last = downloads.stop()
    counts["seconds of the job"] = round(time.time() - began)
    counts["downloads of results"], counts["downloads cut off"] = downloads.count, downloads.cut
    verdict_of_batch(document, last)


def check_counts(status):
    items = status["item_counts"]
    if items["total"] != sum(count for name, count in items.items() if name != "total"):
        wrong.append(f"counts that do not add up: {items}")


def verdict_of_batch(document, last):
    status = document["job_status"]
    items = status["item_counts"]
    if status["status"] != "succeeded":
        wrong.append(f"the job is {status['status']}: {status.get('reason')}")
    if items != {"total": ITEMS, "succeeded": ITEMS, "failed": 0, "cancelled": 0, "in_queue": 0, "in_progress": 0}:
        wrong.append(f"counts: {items}")
    if status["total_batch_count"] != -(-ITEMS // BATCH_SIZE) or status["batches_in_queue"] != 0:
        wrong.append(f"batches: {status['total_batch_count']}, in the queue {status['batches_in_queue']}")
    if document["metrics"]["succeeded"] != status["total_batch_count"]:
        wrong.append(f"metrics: {document['metrics']}")
    lines = [json.loads(line) for line in last.splitlines()]
    found = sorted(line.get("index", -1) for line in lines)
    if found != list(range(ITEMS)):
        wrong.append(f"{len(found)} lines, {len(set(found))} different indexes, wanted {ITEMS}")
    odd = [line for line in lines if line.get("status") != "succeeded" or line.get("result") != line.get("index", -1) ** 2]
    wrong.extend(f"line: {line}" for line in odd[:5])
    counts["deliveries of batches"] = document["metrics"]["succeeded"] + document["metrics"]["failed"]


CLOCK = f"""
- name: soakclock
  kind: TaskAPI
  schedules:
    - {{name: each, every: {PERIOD}s, overlap: allow, catch_up: all}}
    - {{name: skipping, every: {PERIOD}s, overlap: skip, catch_up: latest, job: {{env: {{PAUSE: "{PERIOD}.5"}}}}}}
  pod:
    containers:
      - name: main
        command: [/bin/sh, -c, "sleep ${{PAUSE:-0}}"]
"""


def seconds(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def note_skips(skips):
    """Adds the recorded skips: planned time of the newest, and the number of planned times in one entry."""
    for schedule in get("/soakclock/schedules")["schedules"]:
        for skip in schedule["skipped"]:
            key = (schedule["name"], skip["planned_at"])
            skips[key] = max(skips.get(key, 0), skip["count"])


def schedules():
    platform.deploy(CLOCK)
    skips = {}
    for _ in range(FIRINGS):
        now = time.time()
        planned = (int(now + 0.5) // PERIOD + 1) * PERIOD
        # From just before the planned time until both jobs exist.
        time.sleep(planned - now + dice.uniform(-0.02, 0.2))
        restart()
        note_skips(skips)
    time.sleep(2 * PERIOD)
    for name in ("each", "skipping"):
        platform.cli("schedule", "suspend", "soakclock", name)
    # What was planned just before is in the list now.
    time.sleep(2)
    note_skips(skips)
    verdict_of_schedules(jobs_of("soakclock"), skips)


def jobs_of(name):
    jobs, before = [], ""
    while True:
        page = get(f"/{name}?limit=1000{before}")
        jobs += page["jobs"]
        if "next" not in page:
            return jobs
        before = f"&before={page['next']}"


def verdict_of_schedules(jobs, skips):
    for name in ("each", "skipping"):
        planned = [seconds(job["schedule"]["planned_at"]) for job in jobs if job["schedule"]["name"] == name]
        skipped = sum(count for (schedule, _), count in skips.items() if schedule == name)
        counts[f"jobs of the schedule {name}"], counts[f"skips of the schedule {name}"] = len(planned), skipped
        if len(set(planned)) != len(planned):
            wrong.append(f"{name}: {len(planned) - len(set(planned))} planned times have more than one job")
        ends = planned + [seconds(time) for schedule, time in skips if schedule == name]
        expected = (max(ends) - min(ends)) // PERIOD + 1
        if len(planned) + skipped != expected:
            wrong.append(f"{name}: {expected} planned times, {len(planned)} jobs and {skipped} skips")
        if name == "each" and skipped:
            wrong.append(f"{name}: skips although overlap and catch-up allow every job")
    # Unless an end is lost, every job comes to its end.
    deadline = time.time() + 60
    while open_jobs := [job for job in jobs_of("soakclock") if job["status"] in ("pending", "running")]:
        if time.time() > deadline:
            wrong.append(f"{len(open_jobs)} jobs did not end: {open_jobs[0]}")
            break
        time.sleep(1)
    ends = {}
    for job in jobs_of("soakclock"):
        ends[job["status"]] = ends.get(job["status"], 0) + 1
    counts["ends of jobs of schedules"] = " ".join(f"{status} {count}" for status, count in sorted(ends.items()))
    if set(ends) != {"succeeded"}:
        wrong.append(f"jobs of schedules ended as {ends}")


def main():
    began = time.time()
    platform.start()
    before = own_leaks.count(platform, APIS)
    print(f"seed {seed}, {ITEMS} items, {FIRINGS} firings", flush=True)
    for part, is_wanted, name in ((batch, ITEMS, "soakitems"), (schedules, FIRINGS, "soakclock")):
        if is_wanted:
            part()
            platform.cli("delete", name, "-f")
    deadline = time.time() + 60
    while (left := own_leaks.count(platform, APIS)) != before and time.time() < deadline:
        time.sleep(1)
    wrong.extend(f"left over: {left[name]} {name}, before {before[name]}" for name in before if left[name] > before[name])
    status = platform.stop()
    if status != 0:
        wrong.append(f"the platform ended with {status}")
    print(f"\nran for {(time.time() - began) / 60:.1f} minutes; seed {seed}")
    for name, count in sorted(counts.items()):
        print(f"  {name:<34} {count}")
    for problem in wrong:
        print(f"wrong: {problem}")
    if wrong and os.environ.get("KEEP"):
        print(f"kept: {platform.folder}")
    else:
        platform.remove()
    return bool(wrong)


if __name__ == "__main__":
    try:
        ended = main()
    finally:
        if platform.process and platform.process.poll() is None:
            platform.process.kill()
            for process in platform.processes():
                os.kill(process, signal.SIGKILL)
    sys.exit(ended)
