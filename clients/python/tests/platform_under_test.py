"""The built `cortex` program, run as a user would run it, on its own ports and folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional, Sequence

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("CORTEX_PROGRAM", ROOT / ".build/debug/cortex"))
#: A container whose answer is selected by the header X-Do.
SERVER = ROOT / "Tests/EndToEndTests/Fixtures"
#: This package and its dependencies, as a container with this machine's Python can import them.
PACKAGE = ROOT / "clients/python/src"
SITE = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))


def environment(folder: Path, **more: str) -> Dict[str, str]:
    """The variables of a program that talks to the platform in `folder`."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CORTEX_")}
    variables.update(CORTEX_CLI_CONFIG_DIR=str(folder / "cli"), CORTEX_TELEMETRY_DISABLE="true", NO_COLOR="1", **more)
    return variables


class Platform:
    """`cortex up` in a folder: on the sandbox engine unless another is named."""

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        operator_port: int = 0,
        engine: str = "sandbox",
        socket: Optional[Path] = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        addresses = folder / "data/addresses.json"
        addresses.unlink(missing_ok=True)
        with open(folder / "cortex.log", "a") as log, open(folder / "cortex.out", "w") as out:
            self.process = subprocess.Popen(
                [
                    PROGRAM,
                    "up",
                    "--engine",
                    engine,
                    *(["--engine-socket", str(socket)] if socket else []),
                    "--data-dir",
                    folder / "data",
                    "--port",
                    str(port),
                    "--operator-port",
                    str(operator_port),
                    "--allow-pod-operator-access",
                    "full",
                    "--allow-volume",
                    str(SERVER),
                    *flags,
                ],  # fmt: skip
                env=environment(folder),
                stdout=out,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while not self._is_ready(addresses):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"cortex up did not get ready: {self.log()[-4000:]}")
            time.sleep(0.05)
        found = json.loads(addresses.read_text())
        self.gateway, self.operator = found["gateway"], found["operator"]

    def _is_ready(self, addresses: Path) -> bool:
        try:
            operator = json.loads(addresses.read_text())["operator"]
            with urllib.request.urlopen(f"{operator}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (OSError, ValueError, urllib.error.URLError):
            return False

    def log(self) -> str:
        return (self.folder / "cortex.log").read_text()

    @property
    def token(self) -> str:
        return json.loads((self.folder / "data/tokens.json").read_text())["user"]

    def cli(self, *arguments: str, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *arguments], env=environment(self.folder, **more), capture_output=True, text=True, timeout=300
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"cortex up did not stop: {self.log()[-4000:]}") from None
        assert status == 0, self.log()[-4000:]


def api(
    name: str, *, command: Optional[List[str]] = None, volumes: Optional[List[str]] = None, **fields: object
) -> Dict[str, object]:
    """The specification of an API whose container is the tests' own server."""
    pod: Dict[str, object] = {
        "max_concurrency": 8,
        "containers": [
            {
                "name": "main",
                "command": command or ["python3", "/app/server.py"],
                "env": fields.pop("env", {}),
                "volumes": [f"{SERVER}:/app:ro", *(volumes or [])],
            }
        ],
    }
    pod.update(fields.pop("pod", {}))  # type: ignore[call-overload]
    return {"name": name, "kind": "AsyncAPI", "pod": pod, **fields}
