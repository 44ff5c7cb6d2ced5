"""The soak test: soak.py CORTEX [MINUTES] [sandbox|podman]

Six AsyncAPIs are under load (fast, slow, sometimes failing, large bodies, bursts, scaled to zero), and two RealtimeAPIs behind
a TrafficSplitter. Every minute an AsyncAPI is deployed, refreshed or rolled back, sometimes to a version that cannot start.
Twice a minute the same happens to a RealtimeAPI, or the weights of the splitter change; no call may fail because of it. Containers, supervisors, bubblewraps, Podman's
service and, in the first three fifths of the time, the platform are killed at random. In the rest of the time the platform
is not killed, so that a leak of its process becomes visible. Exits with 1 if a request was lost or answered wrongly, or if
anything is left. SEED=… repeats a run; KEEP=1 keeps the folder of a failed run."""

import os
import random
import signal
import sys
import time

import own_leaks
import own_podman
from own_platform import Platform
from soak_load import KINDS, REALTIME, SPLITTER, Load, realtime_yaml, splitter_yaml, yaml

minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 20
seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
dice = random.Random(seed)
engine = own_podman.Podman() if "podman" in sys.argv[3:] else None
platform = Platform(sys.argv[1], engine)
load = Load(platform, seed)
counts = {}
samples = []
broken = {}  # API -> when it is repaired


def done(what):
    counts[what] = counts.get(what, 0) + 1


def change():
    """One deploy, refresh or rollback; a refusal because of a running update is allowed."""
    name = dice.choice(list(KINDS))
    kind = dice.choice(["deployed", "deployed", "deployed broken", "refreshed", "rolled back"])
    flags = ["--force"] if dice.random() < 0.5 else []
    if kind.startswith("deployed"):
        program = "missing.py" if "broken" in kind else "worker.py"
        ended = platform.deploy(yaml(platform, name, dice.randrange(1000), program), *flags, check=False)
    elif kind == "refreshed":
        ended = platform.cli("refresh", name, *flags, check=False)
    else:
        ended = platform.cli("rollback", name, *flags, check=False)
    if ended.returncode == 0:
        done(kind)
        # A rollback may lead to a broken version too.
        if kind in ("deployed broken", "rolled back"):
            broken[name] = time.time() + 25
        elif kind == "deployed":
            broken.pop(name, None)
    elif "updating" in ended.stderr:
        done("refused: an update was under way")
    elif kind != "rolled back":
        raise RuntimeError(f"{kind}: {name}: {ended.stdout}{ended.stderr}")


def change_realtime():
    """One deploy, refresh or rollback of a RealtimeAPI, or new weights. The ready version serves until the next one is ready."""
    name = dice.choice(list(REALTIME))
    kind = dice.choice(["deployed", "deployed broken", "refreshed", "rolled back", "weights changed"])
    if kind == "weights changed":
        share = dice.randrange(101)
        ended = platform.cli("split", SPLITTER, *(f"{api}={weight}" for api, weight in zip(REALTIME, (share, 100 - share))), check=False)
    elif kind == "refreshed":
        ended = platform.cli("refresh", name, "--force", check=False)
    elif kind == "rolled back":
        ended = platform.cli("rollback", name, "--force", check=False)
    else:
        program = "missing.py" if "broken" in kind else "worker.py"
        ended = platform.deploy(realtime_yaml(platform, name, dice.randrange(1000), program), "--force", check=False)
    if ended.returncode == 0:
        done(f"realtime: {kind}")
        if kind in ("deployed broken", "rolled back"):
            broken[name] = time.time() + 10
    elif kind != "rolled back":
        raise RuntimeError(f"{kind}: {name}: {ended.stdout}{ended.stderr}")


def mend(all=False):
    for name in [name for name, moment in broken.items() if all or time.time() > moment]:
        text = realtime_yaml if name in REALTIME else yaml
        platform.deploy(text(platform, name, dice.randrange(1000)), "--force")
        del broken[name]


def kill_in_sandbox():
    """Kills the process of a container, its bubblewrap, or the supervisor of a pod."""
    process = dice.choice(platform.processes() or [0])
    try:
        text = open(f"/proc/{process}/cmdline", "rb").read()
        words = text.decode(errors="replace").split("\0")
        if b"soakreal" in text + open(f"/proc/{process}/environ", "rb").read():
            load.calls.disturbed()
        os.kill(process, signal.SIGKILL)
    except OSError:
        return
    program = os.path.basename(words[0])
    if program == "cortex-pod-init" and "sandbox" in words:
        done("supervisors of pods killed")
    else:
        done("bubblewraps killed" if program == "bwrap" else "processes of containers killed")


def kill_in_podman():
    """Kills the first process of a container of any role, or the engine's service, which is then restarted."""
    load.calls.disturbed()
    if dice.random() < 0.3:
        stop = dice.choice([engine.kill, engine.terminate])
        stop()
        done("engine killed" if stop == engine.kill else "engine stopped")
        time.sleep(dice.uniform(0, 8))
        engine.start()
        return
    status, containers = engine.call("GET", "/containers/json")
    if status != 200 or not containers:
        return
    chosen = dice.choice(containers)
    status, details = engine.call("GET", f"/containers/{chosen['Id']}/json")
    if status != 200 or not details["State"]["Pid"]:
        return
    try:
        os.kill(details["State"]["Pid"], signal.SIGKILL)
        role = chosen["Labels"].get("cortex.role", "?")
        done({"member": "processes of containers killed", "init": "supervisors of pods killed"}.get(role, "forwarders killed"))
    except OSError:
        pass


def crash():
    load.up.clear()
    load.calls.disturbed()
    platform.kill()
    done("platform killed")
    took = platform.start()
    counts["slowest start, s"] = max(counts.get("slowest start, s", 0), round(took, 2))
    load.calls.disturbed()
    load.up.set()


def sample(phase):
    samples.append((phase, platform.descriptors(), platform.memory(), own_leaks.count(platform, [*KINDS, *REALTIME])))


def main():
    began = time.time()
    platform.start()
    load.up.set()
    sample("empty")
    print(f"{'podman' if engine else 'sandbox'}, seed {seed}, {minutes:g} minutes", flush=True)
    for name in KINDS:
        platform.deploy(yaml(platform, name, 0), "--wait")
    platform.deploy("".join(realtime_yaml(platform, name, 0) for name in REALTIME) + splitter_yaml(), "--wait")
    for thread in load.threads:
        thread.start()
    length = minutes * 60
    next_change, next_realtime, next_kill, next_crash = 20, 15, 10, 45
    calm = False
    while (now := time.time() - began) < length:
        if now > next_change:
            next_change = now + 60
            change()
        if now > next_realtime:
            next_realtime = now + 30
            change_realtime()
        mend()
        if now > next_kill:
            next_kill = now + dice.uniform(5, 25)
            kill_in_podman() if engine else kill_in_sandbox()
        if not calm and now > next_crash:
            next_crash = now + dice.uniform(60, 150)
            crash()
        if not calm and now > length * 0.6:
            calm = True
            sample("begin of calm")
        time.sleep(0.5)
    load.stop.set()
    for thread in load.threads:
        thread.join()
    mend(all=True)
    sample("end of load")
    return verdict(began)


def settle(first):
    """Deletes everything, and waits for at most two minutes until no more is held than at the beginning."""
    deadline = time.time() + 120
    while time.time() < deadline:
        now = own_leaks.count(platform, [*KINDS, *REALTIME])
        if all(now[name] <= first[name] for name in first):
            break
        time.sleep(1)


def verdict(began):
    wrong, attempts, ended = load.verdict()
    failed, explained = load.calls.verdict()
    wrong += failed
    sample("all answered")
    for name in [*KINDS, SPLITTER, *REALTIME]:
        platform.cli("delete", name, "-f")
    settle(samples[0][3])
    sample("all deleted")
    status = platform.stop()

    print(f"\nran for {(time.time() - began) / 60:.1f} minutes on {'podman' if engine else 'sandbox'}; seed {seed}")
    for name, count in sorted(counts.items()):
        print(f"  {name:<34} {count}")
    print(f"  {'requests':<34} {len(load.submitted)} ({', '.join(f'{name[4:]} {count}' for name, count in ended.items())})")
    print(f"  {'deliveries that counted':<34} {attempts}")
    print(f"  {'submits refused while it was down':<34} {load.refused}")
    print(f"  {'longest submit, s':<34} answered {load.longest['answered']:.2f}, cut off {load.longest['cut off']:.2f}")
    print(f"  {'realtime calls answered':<34} {load.calls.answered}")
    print(f"  {'realtime calls that a kill ended':<34} {explained}")
    print(f"  {'lost or answered wrongly':<34} {len(wrong)}")
    phases = [phase for phase, *_ in samples]
    print(f"  {'held':<34} " + " ".join(f"{phase:>13}" for phase in phases))
    print(f"  {'descriptors of the platform':<34} " + " ".join(f"{item[1]:>13}" for item in samples))
    print(f"  {'memory of the platform, MiB':<34} " + " ".join(f"{item[2]:>13.1f}" for item in samples))
    for name in samples[0][3]:
        print(f"  {name:<34} " + " ".join(f"{item[3][name]:>13}" for item in samples))
    for item in wrong[:10]:
        print("  WRONG", *item)
    problems = [f"{name} left" for name, count in samples[-1][3].items() if count > samples[0][3][name]]
    if wrong:
        problems.append("requests were lost or answered wrongly")
    if status != 0:
        problems.append(f"the platform ended with {status}")
    calm, last = samples[1], samples[-1]
    if last[1] > calm[1] + 20:
        problems.append("descriptors leak")
    if last[2] > calm[2] * 1.5 + 30:
        problems.append("memory leaks")
    print("  " + ("; ".join(problems) if problems else "nothing lost, nothing leaked"))
    return 1 if problems else 0


try:
    code = 1
    code = main()
finally:
    load.stop.set()
    load.up.set()
    if platform.process.poll() is None:
        platform.stop()
    if code == 0 or not os.environ.get("KEEP"):
        platform.remove()
    if engine:
        engine.remove()
sys.exit(code)
