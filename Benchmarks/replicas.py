"""Times of replicas on this machine, sandbox engine. replicas.py CORTEX [wake] [update] [adopt]

wake: POST to result at zero replicas, and what it consists of.
update: a rolling update of 10 replicas under load, from `deploy` until only the new version runs.
adopt: 50 replicas, kill -9 of the platform, and the time until all serve again."""

import sys
import threading
import time

from own_platform import Platform, api

REPLICAS = ["autoscaling: {min_replicas: %d, max_replicas: %d}"]


def row(name, value):
    print(f"{name:<56} {value}", flush=True)


def wake(platform, rounds=8):
    phases = []
    for _ in range(rounds):
        platform.deploy(api("sleeper", "worker.py", ["autoscaling: {min_replicas: 0, init_replicas: 0}"]), "--wait")
        began = time.time()
        document = platform.result("sleeper", platform.submit("sleeper", {"number": 1}))
        ended = time.time()
        assert document["status"] == "completed", document
        first, listening = document["result"]["began"], document["result"]["listening"]
        phases.append((ended - began, first - began, listening - first, ended - listening))
        platform.cli("delete", "sleeper", "-f")

    def median(index):
        return f"{sorted(phase[index] for phase in phases)[rounds // 2] * 1000:.0f}"

    row("wake from zero: POST to result, ms, median", median(0))
    row("  POST to the program's first line (sandbox, interpreter)", median(1))
    row("  the program's own start, first line to listening", median(2))
    row("  listening to result (probe, delivery, storing)", median(3))
    row("  all rounds, ms", " ".join(f"{phase[0] * 1000:.0f}" for phase in sorted(phases)))


def update(platform, count=10):
    def yaml(version):
        return api(
            "rolling", "worker.py", [REPLICAS[0] % (count, count)], container_lines=[f"env: {{APP_VERSION: \"{version}\"}}"])

    began = time.perf_counter()
    platform.deploy(yaml(1), "--wait")
    row(f"first deploy of {count} replicas until all are ready, s", f"{time.perf_counter() - began:.2f}")
    identifiers, stop = [], threading.Event()

    def load():
        number = 0
        while not stop.is_set():
            number += 1
            identifiers.append(platform.submit("rolling", {"number": number, "sleep": 0.02}))
            time.sleep(0.02)

    thread = threading.Thread(target=load)
    thread.start()
    began = time.perf_counter()
    platform.deploy(yaml(2))
    platform.until(
        "rolling", lambda status: status["up_to_date"] == count and len(status["replicas"]) == count, 600)
    took = time.perf_counter() - began
    stop.set()
    thread.join()
    ended = [platform.result("rolling", identifier) for identifier in identifiers]
    good = sum(document["status"] == "completed" for document in ended)
    row(f"rolling update of {count} replicas under load, s", f"{took:.2f}")
    row("  requests during it: completed / submitted", f"{good} / {len(identifiers)}")
    platform.cli("delete", "rolling", "-f")
    assert good == len(identifiers)


def adopt(platform, count=50):
    platform.deploy(api("many", "worker.py", [REPLICAS[0] % (count, count)]))
    platform.until("many", lambda status: status["ready"] == count, 600)
    before = {replica["id"] for replica in platform.describe("many")["replicas"]}
    platform.kill()
    began = time.perf_counter()
    up = platform.start()
    platform.until("many", lambda status: status["ready"] == count, 600)
    took = time.perf_counter() - began
    status = platform.describe("many")
    row(f"restart with {count} replicas: start of the process to /readyz, s", f"{up:.2f}")
    row("  start of the process until all serve again, s", f"{took:.2f}")
    same = {replica["id"] for replica in status["replicas"]} == before
    restarts = sum(replica["restarts"] for replica in status["replicas"])
    row("  the same replicas, restarts", f"{'yes' if same else 'NO'}, {restarts}")
    assert same and restarts == 0
    platform.cli("delete", "many", "-f")


def main():
    wanted = sys.argv[2:] or ["wake", "update", "adopt"]
    platform = Platform(sys.argv[1])
    try:
        row("start of an empty platform, s", f"{platform.start():.2f}")
        for name in wanted:
            {"wake": wake, "update": update, "adopt": adopt}[name](platform)
    finally:
        platform.stop()
        platform.remove()


main()
