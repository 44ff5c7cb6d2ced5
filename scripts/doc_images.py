"""A private Podman for the blocks that need Docker, with a base image of this machine's Python. Needs root."""

import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from doc_blocks import Untrue

#: The base image of the Dockerfiles in documents and examples.
BASE = "docker.io/library/python:3.11-slim"
#: Parts of Python's library that no server needs.
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "ensurepip", "__pycache__", "lib2to3", "turtledemo", "pydoc_data"}


class Images:
    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="cxpodman-", dir="/tmp"))
        self.socket = self.folder / "p.sock"
        self._service = None
        try:
            self._configure()
            self._start()
            self._import_base()
        except BaseException:
            self.close()
            raise

    def _configure(self):
        self.folder.chmod(0o711)
        for name in ("tmp", "home", "scratch"):
            (self.folder / name).mkdir()
        (self.folder / "owner").write_text(str(os.getpid()))
        (self.folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\nexit_command_delay = 5\n'
            '[network]\nnetwork_backend = "netavark"\n'
        )
        # As with Docker, a name without a registry belongs to Docker Hub; nothing is pulled from there.
        (self.folder / "registries.conf").write_text(
            'unqualified-search-registries = ["docker.io"]\n[[registry]]\nlocation = "docker.io"\nblocked = true\n'
        )
        (self.folder / "policy.json").write_text('{"default":[{"type":"insecureAcceptAnything"}]}')
        (self.folder / "home/auth.json").write_text("{}")
        self.variables = {
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{self.folder}/registries.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "REGISTRY_AUTH_FILE": f"{self.folder}/home/auth.json",
            "PODMAN_OPTIONS": f"--network-config-dir {self.folder}/net --tmpdir {self.folder}/tmp",
        }

    def _start(self):
        for driver in ("overlay", "vfs"):
            (self.folder / "storage.conf").write_text(
                f'[storage]\ndriver = "{driver}"\ngraphroot = "{self.folder}/root"\nrunroot = "{self.folder}/run"\n'
            )
            if self._podman("info").returncode == 0:
                break
            shutil.rmtree(self.folder / "root", ignore_errors=True)
        else:
            raise Untrue(f"a private Podman cannot be started here (root is needed): {self._podman('info').stderr}")
        self._service = subprocess.Popen(
            [
                "podman",
                *self.variables["PODMAN_OPTIONS"].split(),
                "system",
                "service",
                "--time",
                "0",
                f"unix://{self.socket}",
            ],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(self.folder / "service.log", "w"),
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    return connection.connect(str(self.socket))
            except OSError:
                if time.monotonic() > deadline:
                    raise Untrue(f"podman does not answer: {(self.folder / 'service.log').read_text()}") from None
                time.sleep(0.05)

    def _import_base(self):
        archive = self.folder / "base.tar"
        with tarfile.open(archive, "w", dereference=True) as tar:
            for path in _files():
                tar.add(path, arcname=path.lstrip("/"), recursive=False)
        done = self._podman(
            "import", "--change", "CMD python3", "--change", "ENV PATH=/usr/bin:/bin", str(archive), BASE
        )
        if done.returncode != 0:
            raise Untrue(f"the base image cannot be created: {done.stderr}")

    @property
    def variables_as_shell(self):
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in self.variables.items())

    def _environment(self):
        return {**os.environ, **self.variables, "HOME": f"{self.folder}/home", "TMPDIR": f"{self.folder}/scratch"}

    def _podman(self, *arguments):
        return subprocess.run(
            ["podman", *self.variables["PODMAN_OPTIONS"].split(), *arguments],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def close(self):
        """Removes everything below the folder: containers, processes that name it, mounts, files."""
        for _ in range(3):
            if self._podman("rm", "--force", "--all", "--depend", "--time", "0").returncode == 0:
                break
        if self._service is not None:
            self._service.kill()
            self._service.wait()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{self.folder}/".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), 9)
            except (OSError, ValueError):
                pass
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((each for each in mounts if each.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _files():
    """The files of this machine's Python: its library and linked libraries, by the paths at which they are found."""
    interpreter = os.path.realpath("/usr/bin/python3")
    library = Path("/usr/lib") / Path(interpreter).name
    files = {interpreter, "/usr/bin/python3"}
    for folder, folders, names in os.walk(library):
        folders[:] = [each for each in folders if each not in LEFT_OUT and not each.startswith("config-")]
        files.update(os.path.join(folder, name) for name in names)
    modules = [str(each) for each in (library / "lib-dynload").glob("*.so")]
    linked = subprocess.run(["ldd", interpreter, *modules], capture_output=True, text=True).stdout.split()
    return sorted(files | {word for word in linked if word.startswith("/") and not word.endswith(":")})
