"""The platform under test, with the APIs of all tests, and the same containers without a platform."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "Benchmarks"))

from own_platform import Platform  # noqa: E402

from origin import Origin, Reception  # noqa: E402

FULL = bool(os.environ.get("PROXY_FULL"))
# The environment of this interpreter, as a pod sees it.
VENV = os.path.dirname(os.path.dirname(sys.executable))

# Containers of many kinds, by the name of the API; $PORT is replaced.
CONTAINERS = {
    "uvicorn": ["/venv/bin/python", "-m", "uvicorn", "--host", "0.0.0.0", "--port", "$PORT", "--app-dir", "/app",
                "--no-access-log", "--timeout-keep-alive", "1", "asgi:app"],
    "hypercorn": ["/venv/bin/python", "-m", "hypercorn", "--bind", "0.0.0.0:$PORT", "--keep-alive", "1",
                  "--log-level", "error", "asgi:app"],
    "gunicorn": ["/venv/bin/python", "-m", "gunicorn", "--bind", "0.0.0.0:$PORT", "--threads", "8", "--keep-alive", "1",
                 "--worker-tmp-dir", "/tmp", "--chdir", "/app", "wsgi:app"],
    "node": ["node", "/app/server.js"],
    "idle": ["python3", "/app/idle.py"],
    "websocket": ["/venv/bin/python", "/app/websocket.py"],
    "dying": ["python3", "/app/dying.py"],
}
# Programs that a machine may lack.
NEEDED = {"node": "node"}


def containers() -> dict:
    return {name: command for name, command in CONTAINERS.items()
            if name not in NEEDED or shutil.which(NEEDED[name])}


def api(name, command, volumes, api_lines=(), pod_lines=(), environment=()) -> str:
    lines = [f"- name: {name}", "  kind: RealtimeAPI", *(f"  {line}" for line in api_lines), "  pod:",
             *(f"    {line}" for line in pod_lines), "    containers:", "      - name: main",
             "        command: [" + ", ".join(f'"{word}"' for word in command) + "]",
             "        volumes: [" + ", ".join(f'"{volume}"' for volume in volumes) + "]"]
    if environment:
        lines += ["        env:", *(f'          {key}: "{value}"' for key, value in environment)]
    return "\n".join(lines) + "\n"


class Stand:
    """`cortex up` with its APIs: `raw` and others whose container is the origin, and one for each program."""

    def __init__(self, program: str, arguments=(), with_containers: bool = True):
        self.platform = Platform(program, arguments=arguments)
        os.chmod(self.platform.folder, 0o755)
        self.shared = self.folder("shared", 0o777)
        self.programs = self.folder("programs", 0o755)
        shutil.copy(os.path.join(HERE, "holder.py"), self.programs)
        shutil.copytree(os.path.join(HERE, "containers"), self.programs, dirs_exist_ok=True)
        self.origin, self.reception = Origin(), Reception(self.shared)
        self.platform.start()
        texts = [
            self.scripted("raw", pod_lines=["max_concurrency: 64"]),
            self.scripted("small", ["max_payload: 1000"], ["max_concurrency: 64"]),
            self.scripted("single", pod_lines=["max_concurrency: 1"]),
        ]
        if with_containers:
            texts += [self.program(name) for name in containers() if name != "dying"]
        self.deploy("".join(texts))

    def folder(self, name: str, mode: int) -> str:
        path = os.path.join(self.platform.folder, name)
        os.makedirs(path)
        os.chmod(path, mode)
        return path

    def scripted(self, name, api_lines=(), pod_lines=()) -> str:
        self.reception.expect(name, self.origin.accept_on)
        return api(name, ["python3", "/app/holder.py", "/shared", name],
                   [f"{self.programs}:/app:ro", f"{self.shared}:/shared"], api_lines, pod_lines)

    def program(self, name, api_lines=(), pod_lines=("max_concurrency: 30000",), environment=()) -> str:
        command = [word.replace("$PORT", "8080") for word in CONTAINERS.get(name.split("-")[0], CONTAINERS["idle"])]
        return api(name, command, [f"{self.programs}:/app:ro", f"{VENV}:/venv:ro"], api_lines, pod_lines,
                   [("PYTHONPATH", "/app"), ("MARK", self.platform.folder), *environment])

    def deploy(self, text: str, *flags: str) -> None:
        self.platform.deploy(text, "--wait", *flags)

    @property
    def address(self) -> tuple:
        assert self.platform.process.poll() is None, f"the platform crashed: {self.crash()}"
        host, _, port = self.platform.addresses["gateway"].rpartition("//")[2].rpartition(":")
        return host, int(port)

    def url(self, path: str) -> str:
        return f"http://{self.address[0]}:{self.address[1]}/{path}"

    def memory(self) -> float:
        """MiB of the platform's process."""
        return self.platform.memory()

    def processor_seconds(self) -> float:
        fields = open(f"/proc/{self.platform.process.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def crash(self) -> str:
        """The part of the platform's log about its crash, or its end."""
        with open(self.platform.log, errors="replace") as file:
            log = file.read()
        found = re.search(r"(Fatal error|Program crashed|Assertion failed|Precondition failed|\*\*\* ).*", log, re.DOTALL)
        thread = re.search(r"Thread [^\n]* crashed:.*", log, re.DOTALL)
        return found[0][:500] + (thread[0][:4000] if thread else "") if found else log[-3000:]

    def stop(self) -> None:
        assert self.platform.process.poll() is None, f"the platform crashed: {self.crash()}"
        status, log = self.platform.stop(), self.crash()
        if not os.environ.get("KEEP"):
            self.platform.remove()
        assert status == 0, log


class Direct:
    """One of the containers as a process of this machine, without a platform in front."""

    def __init__(self, name: str, folder: str):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        here = os.path.join(HERE, "containers")
        words = [word.replace("$PORT", str(self.port)).replace("/venv/", VENV + "/") for word in CONTAINERS[name]]
        words = [here + word[4:] if word == "/app" or word.startswith("/app/") else word for word in words]
        environment = dict(os.environ, CORTEX_PORT=str(self.port), PYTHONPATH=here)
        self.log = os.path.join(folder, name + ".log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.address = ("127.0.0.1", self.port)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(self.address, timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not listen: {open(self.log).read()[-2000:]}") from None
                time.sleep(0.05)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
