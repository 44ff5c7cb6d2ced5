"""Counts the resources of a platform on this machine; the counts at the beginning and at the end must be equal."""

import os


def folders(path, part):
    """Folders below `path` with `part` in their name."""
    return sum(part in name for _, names, _ in os.walk(path) for name in names)


def namespaces(processes):
    """Network namespaces of these processes besides the machine's own."""
    found = set()
    for process in processes:
        try:
            found.add(os.readlink(f"/proc/{process}/ns/net"))
        except OSError:
            pass
    return len(found - {os.readlink("/proc/self/ns/net")})


def count(platform, apis):
    """The counts by name. `apis`: names of APIs that no other platform of the machine uses."""
    processes = platform.processes()
    links = os.listdir("/sys/class/net")
    held = {
        "pods": len(platform.pods()),
        "processes": len(processes),
        "network namespaces": namespaces(processes),
        "files of bodies": sum(len(names) for _, _, names in os.walk(os.path.join(platform.data, "blobs"))),
        "mounts": sum(platform.folder in line for line in open("/proc/self/mountinfo")),
    }
    engine = platform.podman
    if not engine:
        held["control groups"] = sum(folders("/sys/fs/cgroup", f"cortex-{name}-") for name in apis)
    else:
        held |= {
            "containers": len(engine.containers()),
            "networks": len(engine.networks()),
            "mounts": held["mounts"] + len(engine.mounts()),
            "conmon": len(engine.processes("conmon")),
            "named network namespaces": len(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else 0,
            "bridges": sum(name.startswith("cx-") for name in links),
            "veth links": sum(name.startswith("veth") for name in links),
        }
    return held

