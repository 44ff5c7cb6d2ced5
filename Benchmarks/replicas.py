"""Times of replicas on this machine. replicas.py CORTEX [wake] [podman] [update] [adopt]

wake: POST to result at zero replicas on the sandbox engine, its phases, and the same program started without the platform.
podman: the same on a private Podman (needs root).
update: a rolling update of 10 replicas under load, from `deploy` until only the new version runs.
adopt: 50 replicas, kill -9 of the platform, and the time until all serve again."""

import os
import sys
import threading
import time

import own_podman
import own_start
from own_platform import Platform, api

REPLICAS = ["autoscaling: {min_replicas: %d, max_replicas: %d}"]


def row(name, value):
    print(f"{name:<72} {value}", flush=True)


def median(values):
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def wake(platform, direct, image=None, rounds=int(os.environ.get("ROUNDS", "9"))):
    """Measures wake-ups. `direct`: ways to start the same program without the platform; the last one is the reference.

    Rounds alternate, so that a busy machine slows all of them."""
    phases, own = [], {name: [] for name in direct}
    sleepy = ["autoscaling: {min_replicas: 0, init_replicas: 0}"]
    # With the default share of 0.2 the program would be slower than one without limits on a busy machine.
    share = ["compute: {cpu: 1}"]
    for _ in range(rounds):
        for name, start in direct.items():
            own[name].append(start())
        platform.deploy(api("sleeper", "worker.py", sleepy, (), share, image=image), "--wait")
        began = time.time()
        document = platform.result("sleeper", platform.submit("sleeper", {"number": 1}))
        ended = time.time()
        assert document["status"] == "completed", document
        first, listening = document["result"]["began"], document["result"]["listening"]
        phases.append((ended - began, first - began, listening - first, ended - listening))
        platform.cli("delete", "sleeper", "-f")
        platform.until_gone("sleeper")

    def shown(index):
        return f"{median([phase[index] for phase in phases]) * 1000:.0f}"

    engine = "podman" if image else "sandbox"
    row(f"wake from zero, {engine}: POST to result, ms, median of {rounds}", shown(0))
    row("  POST to the program's first line (decision, pod, interpreter)", shown(1))
    row("  the program's own start, first line to listening", shown(2))
    row("  listening to result (probe, delivery, storing)", shown(3))
    row("  all rounds, ms", " ".join(f"{phase[0] * 1000:.0f}" for phase in sorted(phases)))
    for name, values in own.items():
        row(f"  {name}, until its port accepts, ms, median", f"{median(values) * 1000:.0f}")
        row("  all rounds, ms", " ".join(f"{value * 1000:.0f}" for value in sorted(values)))
    last = list(own.values())[-1]
    extra = median([phase[0] for phase in phases]) - median(last)
    row("  what the platform adds to that (150 wanted)", f"{extra * 1000:.0f}")


def wake_sandbox(platform):
    wake(platform, {"the same program in a bubblewrap by hand": own_start.bubblewrap})


def wake_podman(cortex):
    engine = own_podman.Podman()
    platform = Platform(cortex, engine)
    try:
        platform.start()
        wake(platform, {
            "the same container by hand, on a bridge": lambda: own_start.podman(engine, as_pod=False),
            "the same pod by hand, owner of the network and container": lambda: own_start.podman(engine, as_pod=True),
        }, own_podman.IMAGE)
    finally:
        platform.stop()
        platform.remove()
        engine.remove()


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
    wanted = sys.argv[2:] or ["wake", "podman", "update", "adopt"]
    if "podman" in wanted:
        wake_podman(sys.argv[1])
    wanted = [name for name in wanted if name != "podman"]
    if not wanted:
        return
    platform = Platform(sys.argv[1])
    try:
        row("start of an empty platform, sandbox, s", f"{platform.start():.2f}")
        for name in wanted:
            {"wake": wake_sandbox, "update": update, "adopt": adopt}[name](platform)
    finally:
        platform.stop()
        platform.remove()


main()
