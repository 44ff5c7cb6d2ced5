"""A private platform for measurements: starts, kills and restarts `cortex up` on free ports and a temporary folder."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from urllib.parse import urlparse

from own_podman import IMAGE


class Platform:
    def __init__(self, cortex, podman=None, arguments=()):
        """With the sandbox engine, or on a Podman of `own_podman`. `arguments` are added to those of `cortex up`."""
        self.cortex, self.podman, self.arguments = os.path.abspath(cortex), podman, arguments
        self.image = IMAGE if podman else None
        self.folder = tempfile.mkdtemp(prefix="cx")
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "log")
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CORTEX_")
        } | {"CORTEX_CLI_CONFIG_DIR": os.path.join(self.folder, "cli"), "NO_COLOR": "1"}
        self.process = self.addresses = self.token = None

    def start(self):
        """Returns the seconds from the start of the process until /readyz succeeds."""
        file = os.path.join(self.data, "addresses.json")
        if os.path.exists(file):
            os.remove(file)
        began = time.perf_counter()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.cortex, "up", "--data-dir", self.data, "--port", "0", "--operator-port", "0",
                 *(["--engine", "docker", "--engine-socket", self.podman.socket] if self.podman else ["--engine", "sandbox"]),
                 *self.arguments],
                stdout=log, stderr=log, env=self.environment)
        while time.perf_counter() - began < 120:
            if self.process.poll() is not None:
                break
            try:
                self.addresses = json.load(open(file))
                if self.request("GET", self.addresses["operator"] + "/readyz")[0] == 200:
                    self.token = self.read_token()
                    return time.perf_counter() - began
            except (OSError, ValueError, http.client.HTTPException):
                pass
            time.sleep(0.01)
        raise SystemExit("cortex up did not become ready:\n" + open(self.log).read()[-3000:])

    def read_token(self):
        for line in open(os.path.join(self.folder, "cli", "cli.yaml")):
            if "token:" in line:
                return line.split(":", 1)[1].strip().strip("\"'")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def cli(self, *arguments, check=True):
        done = subprocess.run(
            [self.cortex, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise SystemExit(f"cortex {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done

    def deploy(self, yaml, *flags, check=True):
        path = os.path.join(self.folder, "cortex.yaml")
        with open(path, "w") as file:
            file.write(yaml)
        return self.cli("deploy", path, *flags, check=check)

    def request(self, method, url, body=None, headers=None, timeout=70):
        address = urlparse(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
        try:
            path = address.path + ("?" + address.query if address.query else "")
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def submit(self, api, document):
        text = document if isinstance(document, str) else json.dumps(document)
        status, answer = self.request(
            "POST", f"{self.addresses['gateway']}/{api}", text, {"Content-Type": "application/json"})
        if status != 200:
            raise OSError(f"submit answered {status}: {answer[:300]}")
        return json.loads(answer)["id"]

    def result(self, api, identifier, wait=30):
        status, answer = self.request("GET", f"{self.addresses['gateway']}/{api}/{identifier}?wait={wait}")
        return json.loads(answer) if status == 200 else {"status": f"HTTP {status}"}

    def describe(self, api):
        status, answer = self.request(
            "GET", f"{self.addresses['operator']}/describe/{api}",
            headers={"Authorization": f"Bearer {self.token}"})
        return json.loads(answer)[0]["status"] if status == 200 else None

    def until(self, api, condition, seconds=120):
        """Waits until the status of an API satisfies a condition; returns the seconds."""
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            status = self.describe(api)
            if status and condition(status):
                return time.perf_counter() - began
            time.sleep(0.02)
        raise SystemExit(f"{api}: not within {seconds} s: {json.dumps(self.describe(api))[:2000]}")

    def until_gone(self, name, seconds=60):
        """Waits until the pods of an API are removed completely."""
        deadline = time.time() + seconds
        while any(pod.startswith(name + "-") for pod in self.pods()):
            if time.time() > deadline:
                raise SystemExit(f"{name}: its pods were not removed within {seconds} s")
            time.sleep(0.05)

    # Resources of the platform's process.

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """PSS in MiB."""
        for line in open(f"/proc/{self.process.pid}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024

    def pods(self):
        folder = os.path.join(self.data, "pods")
        return [name for name in os.listdir(folder) if not name.startswith(".")] if os.path.isdir(folder) else []

    def processes(self):
        """Supervisors and marked containers: processes with this platform's folder in command line or environment."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in (os.getpid(), self.process.pid if self.process else 0):
                continue
            try:
                if os.readlink(f"/proc/{name}/exe") == os.path.realpath(self.cortex):
                    continue
                text = open(f"/proc/{name}/cmdline", "rb").read() + open(f"/proc/{name}/environ", "rb").read()
            except OSError:
                continue
            if self.folder.encode() in text:
                found.append(int(name))
        return found

    def mark(self):
        """A variable that marks the processes of a container."""
        return f"MARK: \"{self.folder}\""

    def marks(self):
        """A writable folder that containers share."""
        folder = os.path.join(self.folder, "marks")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o777)
        return folder


def api(
    name, program, api_lines=(), pod_lines=(), container_lines=(), image=None, volumes=(), kind="AsyncAPI"):
    """`cortex.yaml` of an API whose container is a program of this folder; `image` is for engines that have images."""
    here = os.path.dirname(os.path.abspath(__file__))
    lines = [f"- name: {name}", f"  kind: {kind}"]
    lines += [f"  {line}" for line in api_lines]
    lines += ["  pod:"]
    lines += [f"    {line}" for line in pod_lines]
    lines += [
        "    containers:", "      - name: main", f"        command: [python3, /app/{program}]",
        "        volumes: [" + ", ".join(f'"{volume}"' for volume in (f"{here}:/app:ro", *volumes)) + "]",
    ]
    lines += [f"        image: {image}"] if image else []
    lines += [f"        {line}" for line in container_lines]
    return "\n".join(lines) + "\n"
