"""Calls of a RealtimeAPI through the built platform (R24)."""

from __future__ import annotations

import asyncio
from typing import Iterator

import pytest

import cortex
import platform_under_test

CONTAINER = """
import http.server, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(self.path.encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/stream":
            return self.answer(body)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(int(body)):
            line = b"data: %d\\n" % number
            self.wfile.write(b"%x\\r\\n%b\\r\\n" % (len(line), line))
        # The rest comes only when the test has gone.
        time.sleep(600)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", int(os.environ["CORTEX_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def direct(client: cortex.Client) -> Iterator[str]:
    api = platform_under_test.api("direct", command=["python3", "-c", CONTAINER], kind="RealtimeAPI")
    client.deploy(api, wait=True)
    yield "direct"
    client.delete("direct")


def test_a_call_reaches_the_container_and_streams(client: cortex.Client, direct: str) -> None:
    assert client.call(direct, payload={"a": 1}).json() == {"a": 1}
    assert client.call(direct, "/a//b/../c?x[0]=1", "GET").text() == "/a//b/../c?x[0]=1"
    with client.call(direct, "/stream", payload=b"3") as response:
        assert response.headers["X-Cortex-Origin"] == "api"
        lines = response.lines()
        assert [next(lines) for _ in range(3)] == ["data: 0", "data: 1", "data: 2"]
    with pytest.raises(cortex.NotSupported, match=r"client\.call"):
        client.submit(direct, {})


def test_the_asynchronous_twin_streams(platform: platform_under_test.Platform, direct: str) -> None:
    async def body() -> None:
        async with cortex.async_client() as client, await client.call(direct, "/stream", payload=b"2") as response:
            found = []
            async for line in response.lines():
                found.append(line)
                if len(found) == 2:
                    break
            assert found == ["data: 0", "data: 1"]

    asyncio.run(body())


def test_the_program_prints_the_response(platform: platform_under_test.Platform, direct: str) -> None:
    assert platform.cli("call", direct, "-d", '{"a": 1}').stdout == '{"a": 1}'
    shown = platform.cli("call", direct, "/x?y", "-i").stdout
    assert shown.startswith("HTTP/1.1 200 OK\n")
    assert shown.endswith("\n\n/x?y")
    missing = platform.cli("call", "none", check=False)
    assert missing.returncode == 1
    wrong = platform.cli("requests", direct, check=False)
    assert wrong.returncode == 1
    assert "cortex call direct" in wrong.stderr
    detail = platform.cli("describe", direct).stdout
    assert "realtime api" in detail
    assert "last minute:" in detail
