"""The long haul, sandbox engine: soak.py CORTEX [MINUTES]

Three APIs under load while every minute something is deployed, refreshed or rolled back, containers and whole pods are killed at random, and (in the
first three fifths of the time) the platform itself with kill -9. The rest of the time runs without that, so that a leak of the platform's
process shows. Ends with 1 if a request was lost or answered wrongly, or if something is left."""

import os
import random
import signal
import sys
import threading
import time

from own_platform import Platform, api

minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 20
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
dice = random.Random(seed)
platform = Platform(sys.argv[1])
stop = threading.Event()
lock = threading.Lock()
submitted = {}  # id -> (api, number)
counts = {"deploys": 0, "refused deploys": 0, "refreshes": 0, "rollbacks": 0, "containers killed": 0, "pods killed": 0, "platform killed": 0}
up = threading.Event()
samples = []

QUICK = ["window: 10s", "upscale_stabilization_period: 0s", "downscale_stabilization_period: 20s"]
RETRIES = "retries: {max_attempts: 20, on: [unreachable, status_5xx, timeout, invalid_response], backoff: 1s}"


def yaml(name, version):
    least, most = {"steady": (2, 5), "bursts": (1, 4), "sleepy": (0, 2)}[name]
    scaling = ", ".join([f"min_replicas: {least}", f"max_replicas: {most}", "target_in_flight: 3"] + QUICK)
    return api(
        name, "worker.py", [f"autoscaling: {{{scaling}}}", RETRIES], ["max_concurrency: 4"],
        [f"env: {{APP_VERSION: \"{version}\", {platform.mark()}}}", "liveness_probe: {tcp_socket: {port: 8080}, period_seconds: 2}"])


def load(name, seed):
    """Submits as its kind does; an id that was given is to be answered, whatever happens."""
    own = random.Random(seed)
    number = 0
    while not stop.is_set():
        number += 1
        body = {"number": number, "sleep": own.choice([0, 0, 0.05, 0.3, 1.5])}
        if own.random() < 0.01:
            body["exit"] = own.choice([1, 3, 137])
        try:
            identifier = platform.submit(name, body)
            with lock:
                submitted[identifier] = (name, number)
        except (OSError, ValueError):
            up.wait(30)
            time.sleep(0.1)
        pause = {"steady": 0.15, "bursts": 0.02 if time.time() % 60 < 15 else 1.0, "sleepy": own.choice([1, 50])}[name]
        stop.wait(pause)


def change():
    """One deploy, refresh or rollback; refusals because of an update under way are an answer too."""
    name = dice.choice(["steady", "bursts", "sleepy"])
    kind = dice.choice(["deploys", "deploys", "refreshes", "rollbacks"])
    flags = ["--force"] if dice.random() < 0.5 else []
    if kind == "deploys":
        done = platform.deploy(yaml(name, dice.randrange(1000)), *flags, check=False)
    elif kind == "refreshes":
        done = platform.cli("refresh", name, *flags, check=False)
    else:
        done = platform.cli("rollback", name, *flags, check=False)
    if done.returncode == 0:
        counts[kind] += 1
    elif "updating" in done.stderr:
        counts["refused deploys"] += 1
    elif kind != "rollbacks":
        raise RuntimeError(f"{kind} of {name} failed: {done.stdout}{done.stderr}")


def kill_something():
    """A container's process, or the supervisor of a pod."""
    pid = dice.choice(platform.processes() or [0])
    if pid:
        try:
            line = open(f"/proc/{pid}/cmdline", "rb").read()
            os.kill(pid, signal.SIGKILL)
            counts["pods killed" if b"pod-init" in line.split(b"\0")[0] else "containers killed"] += 1
        except OSError:
            pass


def sample(phase):
    samples.append((phase, platform.descriptors(), platform.memory(), len(platform.pods()), len(platform.processes())))


def main():
    began = time.time()
    platform.start()
    up.set()
    print(f"seed {seed}, {minutes:g} minutes", flush=True)
    for name in ("steady", "bursts", "sleepy"):
        platform.deploy(yaml(name, 0), "--wait")
    threads = [threading.Thread(target=load, args=(name, seed + index)) for index, name in enumerate(("steady", "bursts", "sleepy"))]
    for thread in threads:
        thread.start()
    length = minutes * 60
    next_change, next_kill, next_crash = 20, 10, 45
    calm = False
    while (now := time.time() - began) < length:
        if now > next_change:
            next_change = now + 60
            change()
        if now > next_kill:
            next_kill = now + dice.uniform(5, 25)
            kill_something()
        if not calm and now > next_crash:
            next_crash = now + dice.uniform(60, 150)
            up.clear()
            platform.kill()
            counts["platform killed"] += 1
            platform.start()
            up.set()
        if not calm and now > length * 0.6:
            calm = True
            sample("begin")
        time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    sample("end of load")
    return verdict(began)


def verdict(began):
    wrong, attempts = [], 0
    for identifier, (name, number) in submitted.items():
        document = platform.result(name, identifier)
        deadline = time.time() + 300
        while document["status"] in ("in_queue", "in_progress") and time.time() < deadline:
            document = platform.result(name, identifier)
        attempts += document.get("attempts", 0)
        if document["status"] != "completed" or document["result"]["number"] != number:
            wrong.append((name, identifier, str(document)[:300]))
    sample("all answered")
    for name in ("steady", "bursts", "sleepy"):
        platform.cli("delete", name, "-f")
    deadline = time.time() + 120
    while (platform.pods() or platform.processes()) and time.time() < deadline:
        time.sleep(0.5)
    time.sleep(5)
    sample("all deleted")
    left = {"pods": platform.pods(), "processes": platform.processes()}
    status = platform.stop()

    print(f"\nran for {(time.time() - began) / 60:.1f} minutes; seed {seed}")
    for name, count in counts.items():
        print(f"  {name:<20} {count}")
    print(f"  {'requests':<20} {len(submitted)}, deliveries that counted {attempts}, lost or wrong {len(wrong)}")
    print(f"  {'phase':<16} {'descriptors':>11} {'MiB':>7} {'pods':>5} {'processes':>9}")
    for phase, descriptors, memory, pods, processes in samples:
        print(f"  {phase:<16} {descriptors:>11} {memory:>7.1f} {pods:>5} {processes:>9}")
    print(f"  left at the end: {len(left['pods'])} pods, {len(left['processes'])} processes, exit status {status}")
    for item in wrong[:10]:
        print("  WRONG", *item)
    first, last = samples[0], samples[-1]
    problems = []
    if wrong:
        problems.append("requests were lost or answered wrongly")
    if left["pods"] or left["processes"] or status != 0:
        problems.append("something is left, or the platform did not end well")
    if last[1] > first[1] + 20:
        problems.append("descriptors leak")
    if last[2] > first[2] * 1.5 + 30:
        problems.append("memory leaks")
    print("  " + ("; ".join(problems) if problems else "nothing lost, nothing leaked"))
    return 1 if problems else 0


try:
    code = 1
    code = main()
finally:
    stop.set()
    up.set()
    if platform.process.poll() is None:
        platform.stop()
    if code == 0 or not os.environ.get("KEEP"):
        platform.remove()
sys.exit(code)
