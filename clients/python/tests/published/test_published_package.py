"""The published package `cortex` 0.42.1 with CORTEX_CLI_PATH naming the built program (O2).

It runs in a separate interpreter, because both packages have the same name. Its folder is `.build/test-tools/published`
(scripts/test-python.sh).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Dict

import pytest

import platform_under_test
from platform_under_test import PROGRAM, ROOT, Platform

PUBLISHED = Path(os.environ.get("CORTEX_PUBLISHED_PACKAGE", ROOT / ".build/test-tools/published"))

#: Runs inside the container; prints `found` at the end.
PRELUDE = """
import json, sys
import cortex
from cortex.binary import run_cli
from cortex.exceptions import CortexBinaryException, NotFound
arguments = json.loads(sys.argv[1])
found = {"version": cortex.__version__}
"""


def run(platform: Platform, script: str, **arguments: Any) -> Dict[str, Any]:
    environment = platform_under_test.environment(
        platform.folder, CORTEX_CLI_PATH=str(PROGRAM), PYTHONPATH=str(PUBLISHED), PYTHONWARNINGS="ignore"
    )
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script + "\nprint('\\n' + json.dumps(found))", json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=platform.folder,
    )
    assert done.returncode == 0, done.stderr
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["version"] == "0.42.1"
    return found


def test_a_whole_life_of_an_api(platform: Platform, tmp_path: Path) -> None:
    found = run(
        platform,
        """
client = cortex.client()
found["env"], found["env_name"] = client.env, client.env_name
found["deployed"] = client.deploy(arguments["spec"])
found["again"] = client.deploy(arguments["spec"])["message"]
found["api"] = client.get_api("published")
found["apis"] = [api["metadata"]["name"] for api in client.list_apis()]
""",
        spec=platform_under_test.api("published"),
    )
    assert found["env"] == {"name": "local", "operator_endpoint": platform.operator}
    assert found["env_name"] == "local"
    deployed = found["deployed"]
    assert (deployed["message"], deployed["error"]) == ("creating published (AsyncAPI)", "")
    assert deployed["api"]["spec"]["name"] == "published"
    assert deployed["api"]["endpoint"] == found["api"]["endpoint"] == f"{platform.gateway}/published"
    assert found["again"] in ("published (AsyncAPI) is up to date", "published (AsyncAPI) is already updating")
    assert set(found["api"]) >= {"spec", "metadata", "status", "endpoint", "api_versions"}
    assert found["api"]["metadata"]["kind"] == "AsyncAPI"
    assert found["apis"] == ["published"]

    # That package has no call for requests, so its users do this.
    endpoint = found["api"]["endpoint"]
    request = urllib.request.Request(endpoint, b'{"n": 1}', {"Content-Type": "application/json", "X-Do": "verbatim"})
    with urllib.request.urlopen(request) as answer:
        identifier = json.load(answer)["id"]
    with urllib.request.urlopen(f"{endpoint}/{identifier}?wait=60") as answer:
        document = json.load(answer)
    assert (document["status"], document["result"]) == ("completed", {"n": 1})

    found = run(
        platform,
        """
client = cortex.client("local")
found["logs"] = run_cli(["logs", "published", "--env", client.env_name], hide_output=True)
client.refresh("published", force=True)
client.delete("published")
found["left"] = client.list_apis()
""",
    )
    assert "POST /" in found["logs"]
    assert found["left"] == []


def test_environments(platform: Platform) -> None:
    found = run(
        platform,
        """
found["before"] = cortex.env_list()
client = cortex.new_client("office", arguments["operator"])
found["apis"] = client.list_apis()
found["with"] = cortex.env_list()
cortex.env_delete("office")
found["after"] = cortex.env_list()
""",
        operator=platform.operator,
    )
    local, office = ({"name": name, "operator_endpoint": platform.operator} for name in ("local", "office"))
    assert found["before"] == found["after"] == {"default_environment": "local", "environments": [local]}
    assert found["with"] == {"default_environment": "local", "environments": [local, office]}
    assert found["apis"] == []


def test_deploy_from_file_and_wait(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "cortex.yaml"
    file.write_text(json.dumps([platform_under_test.api("filed")]))
    found = run(
        platform,
        """
client = cortex.client()
found["first"] = client.deploy_from_file(arguments["file"])["message"]
found["ready"] = client.deploy_from_file(arguments["file"], wait=True)
client.delete("filed", keep_cache=True)
""",
        file=str(file),
    )
    assert found["first"] == "creating filed (AsyncAPI)"
    # The original's `wait` reads a status word that its last operators no longer sent; this operator sends it.
    assert found["ready"]["status"]["status_code"] == "status_live"
    assert found["ready"]["status"]["ready"] == 1


def test_errors_are_the_packages_own(platform: Platform) -> None:
    found = run(
        platform,
        """
def error(body):
    try:
        body()
    except Exception as error:
        return [type(error).__name__, str(error)]

client = cortex.client()
found["unknown"] = error(lambda: client.get_api("nope"))
found["delete"] = error(lambda: client.delete("nope"))
found["invalid"] = error(lambda: client.deploy({"name": "x", "kind": "AsyncAPI"}))
found["environment"] = error(lambda: cortex.client("nowhere"))
# The environment is created also when nothing answers; the first call reports it.
unreached = cortex.new_client("x", "http://127.0.0.1:1")
found["address"] = error(lambda: unreached.list_apis())
found["usage"] = error(lambda: run_cli(["get", "--colour"], hide_output=True))
""",
    )
    assert found["unknown"][0] == found["delete"][0] == found["invalid"][0] == "CortexBinaryException"
    assert 'no API "nope" is deployed' in found["unknown"][1]
    assert "pod.containers" in found["invalid"][1]
    assert found["environment"][0] == "NotFound"
    assert "nothing answers" in found["address"][1]
    assert found["usage"][0] == "CortexBinaryException"


CALLER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# An image would have these as ENV; a configuration cannot set names that begin with CORTEX_.
os.environ.update(CORTEX_CLI_PATH="/program/cortex", CORTEX_TELEMETRY_DISABLE="true")
import cortex

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        client = cortex.client()
        spec = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"env": client.env}
        try:
            answer["deployed"] = client.deploy(spec)["message"]
        except Exception as error:
            answer["deployed"] = str(error)
        answer["apis"] = [api["metadata"]["name"] for api in client.list_apis()]
        if "inner" in answer["apis"]:
            client.delete(spec["name"])
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

ThreadingHTTPServer(("", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
"""


def libraries() -> list[str]:
    """Folders with libraries of the program that a sandbox does not have: those of Swift for a debug build."""
    listed = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
    paths = [Path(word) for word in listed.split() if word.startswith("/")]
    return sorted({str(path.parent) for path in paths if path.parts[1] not in ("lib", "lib64", "usr")})


@pytest.mark.parametrize("access", ["read", "full"])
def test_inside_a_container_without_any_set_up(platform: Platform, tmp_path: Path, access: str) -> None:
    """C9, C10, N1: client() and the program find the cluster in a container, can read, and deploy where permitted."""
    # A platform of root runs containers as another user, which cannot read pytest's private folder.
    tmp_path.chmod(0o755)
    (tmp_path / "caller.py").write_text(CALLER)
    spec = platform_under_test.api(
        "insider",
        pod={} if access == "read" else {"operator_access": access},
        command=["python3", "/caller/caller.py"],
        volumes=[
            f"{tmp_path}:/caller:ro",
            f"{PUBLISHED}:/package:ro",
            f"{platform_under_test.SITE}:/site:ro",
            f"{PROGRAM.resolve()}:/program/cortex:ro",
            *(f"{folder}:{folder}:ro" for folder in libraries()),
        ],
        env={
            "PYTHONPATH": "/package:/site",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
        },
    )
    file = tmp_path / "cortex.yaml"
    file.write_text(json.dumps([spec]))
    platform.cli("deploy", str(file), "--wait")
    inner = json.dumps(platform_under_test.api("inner"))
    done = platform.cli("submit", "insider", "-d", inner, "--wait-timeout", "120", "-o", "json", check=False)
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}{done.stderr}{platform.cli('logs', 'insider').stdout}")
    found = json.loads(done.stdout)["result"]
    assert found["env"] == {"name": "default", "operator_endpoint": "http://operator.default.svc.cluster.local:8888"}
    if access == "full":
        assert found["deployed"] == "creating inner (AsyncAPI)"
        assert found["apis"] == ["inner", "insider"]
    else:
        assert "pod.operator_access" in found["deployed"]
        assert found["apis"] == ["insider"]
    platform.cli("delete", "insider", "--force")
