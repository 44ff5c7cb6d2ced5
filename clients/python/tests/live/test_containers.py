"""Inside a container the package works without configuration (C9, C10), and across a crash of the platform (A1)."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import cortex
import platform_under_test
from cortex._handshake import check
from platform_under_test import PACKAGE, SITE, Platform

CALLER = """
import json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cortex

client = cortex.client()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        results = list(client.map("echo", json.loads(body), headers={"X-Do": "verbatim"}))
        bare = cortex.Endpoint("http://ingressgateway-apis.istio-system.svc.cluster.local/echo")
        answer = {
            "results": results,
            "again": bare.submit(results, headers={"X-Do": "verbatim"}).result(wait=60),
            "environment": client.env,
            "endpoint": client.endpoint("echo").url,
            "apis": [api["metadata"]["name"] for api in client.list_apis() if api["metadata"]["name"] in ("caller", "echo")],
            "same_version": os.environ["CORTEX_VERSION"] == cortex.__version__,
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer(("", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
"""

OLD = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

import cortex


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            cortex.Endpoint("http://ingressgateway-apis.istio-system.svc.cluster.local/echo").submit(1)
            answer = None
        except cortex.VersionMismatch as error:
            answer = {"kind": error.kind, "message": str(error)}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


HTTPServer(("", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
"""


def test_a_container_calls_another_api(client: cortex.Client, echo: cortex.Endpoint, tmp_path: Path) -> None:
    # A platform of root runs containers as another user, which cannot read pytest's private folder.
    tmp_path.chmod(0o755)
    (tmp_path / "caller.py").write_text(CALLER)
    caller = platform_under_test.api(
        "caller",
        command=["python3", "/caller/caller.py"],
        volumes=[f"{tmp_path}:/caller:ro", f"{PACKAGE}:/package:ro", f"{SITE}:/site:ro"],
        env={"PYTHONPATH": "/package:/site", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    client.deploy(caller, wait=True)
    try:
        found = client.submit("caller", [1, {"two": 2}, None]).result(wait=120)
    except cortex.RequestFailed as error:
        pytest.fail(f"{error}: {[str(line) for line in client.logs('caller', tail=30)]}")
    assert found == {
        "results": [1, {"two": 2}, None],
        "again": [1, {"two": 2}, None],
        "environment": {"name": "default", "operator_endpoint": "http://operator.default.svc.cluster.local:8888"},
        "endpoint": "http://ingressgateway-apis.istio-system.svc.cluster.local/echo",
        "apis": ["caller", "echo"],
        "same_version": True,
    }
    client.delete("caller")


def test_a_map_survives_a_crash_of_the_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform(tmp_path)
    monkeypatch.setenv("CORTEX_CLI_CONFIG_DIR", str(tmp_path / "cli"))
    ports = [urlsplit(url).port or 0 for url in (platform.gateway, platform.operator)]
    restarted = threading.Event()

    def crash() -> None:
        nonlocal platform
        platform.kill()
        platform = Platform(tmp_path, *ports)
        restarted.set()

    with cortex.client() as client:
        client.deploy(platform_under_test.api("echo"), wait=True)
        results = []
        for result in client.map("echo", range(60), concurrency=8, headers={"X-Do": "verbatim"}):
            if len(results) == 5:
                threading.Thread(target=crash).start()
            results.append(result)
        assert results == list(range(60))
        assert restarted.wait(120)
        submitted = [request["id"] for request in client.requests("echo")]
        assert len(submitted) == 60, "a submit whose answer was lost is not submitted twice"
        client.delete("echo")
    platform.stop()


@pytest.mark.parametrize("version", ["0.42.1", "9.8.7", "1.7", "none", "a b"])
def test_both_sides_refuse_another_version_in_the_same_words(platform: Platform, version: str) -> None:
    answer = httpx.get(
        f"{platform.operator}/get",
        headers={"CortexAPIVersion": version, "Authorization": f"Bearer {platform.token}"},
        trust_env=False,
    )
    with pytest.raises(cortex.VersionMismatch) as caught:
        check(version, cortex.__version__)
    assert answer.json() == {"error": {"kind": caught.value.kind, "message": str(caught.value)}}


def test_an_old_client_in_a_container_hears_of_it_without_the_operator(
    client: cortex.Client, echo: cortex.Endpoint, tmp_path: Path
) -> None:
    """C9, O6: the error in a program whose image has the package of another version."""
    tmp_path.chmod(0o755)
    package = shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (package / "cortex/_version.py").write_text('__version__ = "0.9.1"\n')
    (tmp_path / "old.py").write_text(OLD)
    old = platform_under_test.api(
        "old",
        command=["python3", "/old/old.py"],
        volumes=[f"{tmp_path}:/old:ro", f"{package}:/package:ro", f"{SITE}:/site:ro"],
        env={"PYTHONPATH": "/package:/site", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    client.deploy(old, wait=True)
    found = client.submit("old").result(wait=120)
    assert found == {
        "kind": "version_mismatch",
        "message": f"the client has version 0.9.1 and the server has version {cortex.__version__}, which do not understand"
        " each other: use a client of version 1.0, or bring the server to version 0.9",
    }
    client.delete("old")
