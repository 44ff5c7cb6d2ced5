"""The start of a pod without the platform, as the reference for a wake-up.

Each function starts the program of the platform's pod, waits until its port accepts, removes everything, and returns the
seconds."""

import os
import socket
import subprocess
import time

import own_podman

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = ["python3", "/app/worker.py"]


def accepted(host, port, seconds=60):
    """Waits until a port accepts connections."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        try:
            socket.create_connection((host, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.001)
    raise SystemExit(f"nothing listens on {host}:{port}")


def control_group():
    """A control group with the pod's weight of one core, for an equal share; `None` if it cannot be created."""
    for parent, weight in (("/sys/fs/cgroup/cpu", "cpu.shares"), ("/sys/fs/cgroup", "cpu.weight")):
        group = f"{parent}/cortex-direct-{os.getpid()}"
        try:
            os.makedirs(group, exist_ok=True)
            with open(f"{group}/{weight}", "w") as file:
                file.write("1024" if weight == "cpu.shares" else "39")
            return group
        except OSError:
            pass
    return None


def remove(group):
    """Removes a control group; its last process may need a moment to end."""
    for _ in range(100 if group else 0):
        try:
            return os.rmdir(group)
        except OSError:
            time.sleep(0.01)


def join(group):
    if group:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))


def bubblewrap():
    """The same program in a bubblewrap like the sandbox engine's, on a free port of the host."""
    group = control_group()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    system = [word for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64") if os.path.exists(path)
              for word in ("--ro-bind", path, path)]
    began = time.perf_counter()
    process = subprocess.Popen(
        ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", *system,
         "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/mnt", "--ro-bind", HERE, "/app", "--clearenv",
         "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "CORTEX_PORT", str(port), *COMMAND],
        stderr=subprocess.DEVNULL, preexec_fn=lambda: join(group))
    accepted("127.0.0.1", port)
    took = time.perf_counter() - began
    process.kill()
    process.wait()
    remove(group)
    return took


def podman(engine, as_pod):
    """The same program and image with the engine's API: as one container on a bridge, or as a pod.

    In a pod it runs in the network namespace of another container."""
    limits = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}
    network = {"NetworkMode": "podman"} | limits

    def create(name, body, image=own_podman.IMAGE):
        status, answer = engine.call("POST", f"/containers/create?name={name}", {"Image": image} | body)
        assert status == 201, answer
        return answer["Id"]

    def start(container):
        status, answer = engine.call("POST", f"/containers/{container}/start")
        assert status == 204, answer

    tags = [tag for found in engine.call("GET", "/images/json")[1] for tag in found["RepoTags"] or []]
    image = next((tag for tag in tags if "cortex-pod-init" in tag), None)
    began = time.perf_counter()
    owner = None
    if as_pod:
        # The engine has the platform's image for that container, because every pod uses it.
        owner = create("direct-owner", {"Cmd": ["pod", "--socket", "/run/cortex/init.sock"], "HostConfig": network}, image)
        start(owner)
        network = {"NetworkMode": f"container:{owner}"} | limits
    main = create("direct-main", {
        "Entrypoint": COMMAND, "Env": ["CORTEX_PORT=8080"],
        "HostConfig": network | {
            "Mounts": [{"Type": "bind", "Source": HERE, "Target": "/app", "ReadOnly": True}]}})
    start(main)
    address = engine.call("GET", f"/containers/{owner or main}/json")[1]["NetworkSettings"]["IPAddress"]
    accepted(address, 8080)
    took = time.perf_counter() - began
    for container in filter(None, (main, owner)):
        engine.call("DELETE", f"/containers/{container}?force=1")
    return took
