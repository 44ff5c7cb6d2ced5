"""A private Podman for measurements, with its own storage, networks and socket.

It needs root and `podman runc conmon netavark`. Its service can be killed and restarted; containers survive that, as on a machine whose engine is restarted."""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from io import BytesIO

IMAGE = "localhost/cortex-bench-python:1"


class Podman:
    def __init__(self):
        # A short path, because paths of sockets are limited.
        self.folder = tempfile.mkdtemp(prefix="cxbench-", dir="/tmp")
        os.chmod(self.folder, 0o711)
        self.socket = os.path.join(self.folder, "p.sock")
        for name in ("tmp", "home", "scratch"):
            os.mkdir(os.path.join(self.folder, name))
        # Equal soft and hard limits, because Podman 4.3 swaps them in the API. Locks in files, because locks in shared
        # memory are shared with every other Podman of the machine.
        self.write("containers.conf", """
            [containers]
            default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            lock_type = "file"
            exit_command_delay = 5
            [network]
            network_backend = "netavark"
            """)
        self.write("registries.conf", "unqualified-search-registries = []\n")
        self.write("policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}')
        self.environment = os.environ | {
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.folder}/registries.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "TMPDIR": f"{self.folder}/scratch", "HOME": f"{self.folder}/home",
        }
        self.service = None
        atexit.register(self.remove)
        for driver in ("overlay", "vfs"):
            self.write("storage.conf", f"""
                [storage]
                driver = "{driver}"
                graphroot = "{self.folder}/root"
                runroot = "{self.folder}/run"
                """)
            if self.command("info", check=False).returncode == 0:
                break
            shutil.rmtree(f"{self.folder}/root", ignore_errors=True)
        self.start()
        self.load()

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write("\n".join(line.strip() for line in text.splitlines()) + "\n")

    def arguments(self):
        return ["podman", "--network-config-dir", f"{self.folder}/net", "--tmpdir", f"{self.folder}/tmp"]

    def command(self, *arguments, check=True, **options):
        done = subprocess.run([*self.arguments(), *arguments], env=self.environment, capture_output=True, **options)
        if check and done.returncode != 0:
            raise SystemExit(f"podman {' '.join(arguments)} failed: {done.stderr.decode(errors='replace')}")
        return done

    def start(self):
        """Starts the service and returns when it answers."""
        with open(f"{self.folder}/service.log", "ab") as log:
            # In its own folder, because an empty file `oom` is written there when the kernel kills in a container.
            self.service = subprocess.Popen(
                [*self.arguments(), "system", "service", "--time", "0", f"unix://{self.socket}"],
                cwd=self.folder, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.time() + 30
        while time.time() < deadline:
            try:
                if self.call("GET", "/_ping")[0] == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise SystemExit("podman does not answer: " + open(f"{self.folder}/service.log").read()[-2000:])

    def kill(self):
        """Sends SIGKILL to the service only; its socket file stays, as after a crash."""
        self.service.kill()
        self.service.wait()

    def terminate(self):
        """Sends SIGTERM to the service only, as a restart by the service manager does."""
        self.service.send_signal(signal.SIGTERM)
        try:
            self.service.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()

    def call(self, method, path, body=None, timeout=60):
        """One call of the engine's API; returns status and JSON."""
        connection = http.client.HTTPConnection("docker", timeout=timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(self.socket)
            connection.request(
                method, "/v1.41" + path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text or b"null")
        except ValueError:
            return answer.status, text

    def load(self):
        """Creates the image with this machine's Python, so that nothing is pulled."""
        interpreter = os.path.realpath("/usr/bin/python3")
        library = f"/usr/lib/{os.path.basename(interpreter)}"
        extensions = [entry.path for entry in os.scandir(f"{library}/lib-dynload") if entry.name.endswith(".so")]
        linked = subprocess.run(["ldd", interpreter, *extensions], capture_output=True, text=True).stdout
        paths = sorted({word for word in linked.split() if word.startswith("/") and not word.endswith(":")})
        layer = BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for name, mode in [(name, 0o755) for name in ("etc", "proc", "sys", "dev", "mnt", "run")] + [("tmp", 0o1777)]:
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, mode
                tar.add("/", name, recursive=False, filter=lambda _, folder=folder: folder)
            for path in paths:
                tar.add(os.path.realpath(path), path[1:])
            tar.add(interpreter, "usr/bin/python3")
            skipped = ("test", "tests", "idlelib", "tkinter", "ensurepip", "__pycache__", "lib2to3", "pydoc_data")
            tar.add(library, library[1:], filter=lambda entry: None if entry.name.split("/")[-1] in skipped else entry)
        self.command(
            "import", "--change", "ENV PATH=/usr/bin:/bin", "--change", 'CMD ["python3"]', "-", IMAGE,
            input=layer.getvalue())

    def containers(self):
        """Names of all containers, in any state."""
        return self.command("ps", "--all", "--format", "{{.Names}}").stdout.decode().split()

    def networks(self):
        names = self.command("network", "ls", "--format", "{{.Name}}").stdout.decode().split()
        return [name for name in names if name != "podman"]

    def processes(self, name):
        """Process ids of a program of this engine, found by its folder in the command line."""
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = open(f"/proc/{process}/cmdline", "rb").read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == name and any(self.folder in word for word in words):
                found.append(int(process))
        return found

    def mounts(self):
        lines = open("/proc/self/mounts").read().splitlines()
        return [line.split()[1] for line in lines if line.split()[1].startswith(self.folder)]

    def remove(self):
        """Removes everything: containers, processes, mounts, files."""
        if not os.path.isdir(self.folder):
            return
        for _ in range(3):
            if self.command("rm", "--force", "--all", "--depend", "--time", "0", check=False).returncode == 0:
                break
        for name in self.networks() if self.service else []:
            self.command("network", "rm", "--force", name, check=False)
        if self.service and self.service.poll() is None:
            self.kill()
        for name in ("podman", "conmon"):
            for process in self.processes(name):
                try:
                    os.kill(process, signal.SIGKILL)
                except OSError:
                    pass
        for mount in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)
