"""`client.call` and its asynchronous twin: streamed both ways, closed early, typed errors (R24, R16, R5)."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Iterator, List

import httpx
import pytest

import cortex
from stub_platform import TIMEOUT, Exchange, StubPlatform


@pytest.fixture
def stub() -> Iterator[StubPlatform]:
    stub = StubPlatform()
    stub.deploy("chat", "RealtimeAPI")
    stub.deploy("canary", "TrafficSplitter")
    stub.deploy("hello", "AsyncAPI")
    yield stub
    stub.stop()


@pytest.fixture
def client(stub: StubPlatform) -> Iterator[cortex.Client]:
    with stub.client() as client:
        yield client


class Stream:
    """A route that writes each part when the test says so; after the last one it waits for the caller to leave."""

    def __init__(self) -> None:
        self.parts: List[bytes] = []
        self.released = threading.Semaphore(0)
        self.is_last = False
        self.ends = False
        self.left = threading.Event()

    def send(self, part: bytes, *, last: bool = False) -> None:
        self.is_last = last
        self.parts.append(part)
        self.released.release()

    def end(self) -> None:
        self.ends = True
        self.released.release()

    def __call__(self, exchange: Exchange) -> None:
        exchange.begin(Content_Type="text/event-stream")
        while self.released.acquire(timeout=TIMEOUT):
            if self.ends:
                return exchange.end()
            exchange.write(self.parts.pop(0))
            if self.is_last:
                if exchange.is_left():
                    self.left.set()
                return None
        return None


def test_a_response_is_read_while_it_arrives(stub: StubPlatform, client: cortex.Client) -> None:
    stream = Stream()
    stub.routes["POST", "/chat/"] = stream
    with client.call("chat", payload={"prompt": "Hi"}, timeout=TIMEOUT) as response:
        assert (response.status, response.ok, response.headers["content-type"]) == (200, True, "text/event-stream")
        parts = iter(response)
        for text in (b"data: one\n\n", b"data: two\n\n"):
            # Nothing of this part, nor of the next, has been written before.
            stream.send(text)
            assert next(parts) == text
        stream.end()
        assert list(parts) == []
    asked = stub.asked[-1]
    assert asked.headers["Content-Type"] == "application/json"
    assert "Authorization" not in asked.headers
    assert "Accept-Encoding" not in asked.headers


def test_closing_early_closes_the_connection(stub: StubPlatform, client: cortex.Client) -> None:
    stream = Stream()
    stub.routes["POST", "/chat/"] = stream
    with client.call("chat") as response:
        stream.send(b"data: one\n", last=True)
        for line in response.lines():
            assert line == "data: one"
            break
    assert stream.left.wait(TIMEOUT)


def test_lines_are_cut_at_line_feeds_only(stub: StubPlatform, client: cortex.Client) -> None:
    text = "a\r\n\n\u2028b\x0bc\x85\xe4 \ud7ff\nlast".encode()
    for size in (1, 2, 3, len(text)):

        def route(exchange: Exchange, size: int = size) -> None:
            exchange.read()
            exchange.begin()
            for start in range(0, len(text), size):
                exchange.write(text[start : start + size])
            exchange.end()

        stub.routes["GET", "/chat/"] = route
        with client.call("chat", method="GET") as response:
            assert list(response.lines()) == ["a", "", "\u2028b\x0bc\x85\xe4 \ud7ff", "last"]


def test_a_payload_is_streamed_while_the_response_arrives(stub: StubPlatform, client: cortex.Client) -> None:
    reading, writing = os.pipe()
    seen: List[bytes] = []
    arrived = threading.Event()

    def route(exchange: Exchange) -> None:
        seen.append(exchange.read_chunk())
        arrived.set()
        seen.append(exchange.read())
        exchange.answer(200, b"done")

    stub.routes["PUT", "/chat/up"] = route

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as file:
            file.write(b"first")
            assert arrived.wait(TIMEOUT), "the first part arrives before the second is written"
            file.write(b"second")

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb", buffering=0) as file:
        assert client.call("chat", "/up", "PUT", file).read() == b"done"
    thread.join()
    assert seen == [b"first", b"second"]


@pytest.mark.parametrize(
    ("path", "params", "target"),
    [
        ("/", {}, "/chat/"),
        ("?q=1", {}, "/chat?q=1"),
        ("/a//b/../c;x=%2F?q=1&q", {}, "/chat/a//b/../c;x=%2F?q=1&q"),
        ('/?a[0]=1&b={x}|^`"<>\\', {}, '/chat/?a[0]=1&b={x}|^`"<>\\'),
        ("/100%", {}, "/chat/100%"),
        ("/a?b=1", {"c": "\u00e4 &"}, "/chat/a?b=1&c=%C3%A4+%26"),
        ("/a", {"c": "1"}, "/chat/a?c=1"),
    ],
)
def test_the_path_is_sent_byte_for_byte(
    path: str, params: Dict[str, str], target: str, stub: StubPlatform, client: cortex.Client
) -> None:
    with pytest.raises(cortex.NotFound):
        client.call("chat", path, "GET", params=params)
    assert stub.asked[-1].target == target


def test_an_api_at_the_root_has_a_target_that_begins_with_a_slash(stub: StubPlatform, client: cortex.Client) -> None:
    stub.deploy("root", "RealtimeAPI", path="/")
    with pytest.raises(cortex.NotFound):
        client.call("root", "?a=1", "GET")
    assert stub.asked[-1].target == "/?a=1"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"path": "a"}, "begins with /"),
        ({"path": "/a b"}, "write it as %20"),
        ({"path": "/\u00e4"}, "write it as %C3%A4"),
        ({"path": "/#a"}, "write it as %23"),
        ({"path": "/\ud800"}, "unpaired surrogate"),
        ({"method": "G T"}, "method must be a word"),
        ({"headers": {"Content-Length": "1"}}, "set by the client"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(
    options: Dict[str, Any], reason: str, stub: StubPlatform, client: cortex.Client
) -> None:
    with pytest.raises(cortex.InvalidArgument, match=reason):
        client.call("chat", **options)
    assert [each.target for each in stub.asked] == ["/get/chat"]


def test_through_a_proxy_a_path_that_the_library_changes_is_refused(
    stub: StubPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", stub.url)
    stub.routes["POST", "http://cortex.example.com/chat/a"] = lambda exchange: exchange.answer(200, b"through")
    endpoint = cortex.Endpoint("http://cortex.example.com/chat")
    assert endpoint.call("/a").read() == b"through"
    with pytest.raises(cortex.InvalidArgument, match="write it as the HTTP library does: /chat/b"):
        endpoint.call("/a/../b")


def test_a_status_of_the_container_is_no_error_until_it_is_asked_for(stub: StubPlatform, client: cortex.Client) -> None:
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(
        503, b'{"error":{"kind":"queue_full","message":"mine"}}', X_Cortex_Origin="api"
    )
    response = client.call("chat")
    assert (response.status, response.ok) == (503, False)
    assert response.json()["error"]["message"] == "mine"
    with pytest.raises(cortex.CallFailed, match="the response has status 503") as caught:
        response.raise_for_status()
    assert caught.value.status == 503
    assert b"mine" in caught.value.body
    with pytest.raises(cortex.CallFailed, match="mine"):
        client.call("chat").raise_for_status()
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(204, b"")
    client.call("chat").raise_for_status()


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (404, "not_found", cortex.NotFound),
        (413, "payload_too_large", cortex.PayloadTooLarge),
        (503, "queue_full", cortex.QueueFull),
        (503, "queue_timeout", cortex.Unavailable),
        (503, "no_replica", cortex.Unavailable),
        (503, "unavailable", cortex.Unavailable),
        (502, "replica_lost", cortex.PlatformError),
        (504, "timeout", cortex.TimedOut),
        (501, "method_not_implemented", cortex.BadRequest),
    ],
)
def test_an_answer_of_the_platform_is_its_typed_error(
    status: int, kind: str, error: type, stub: StubPlatform, client: cortex.Client
) -> None:
    body = json.dumps({"error": {"kind": kind, "message": "why"}}).encode()
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(
        status, body, X_Cortex_Origin="gateway", Retry_After="7"
    )
    with pytest.raises(error, match="why") as caught:
        client.call("chat")
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == (kind, status, 7.0)
    # It is not repeated: the next may be sent to another replica only by the platform itself.
    assert [each.target for each in stub.asked].count("/chat/") == 1


def test_a_response_that_breaks_off_is_an_error(stub: StubPlatform, client: cortex.Client) -> None:
    def route(exchange: Exchange) -> None:
        exchange.begin()
        exchange.write(b"half")
        exchange.cut()

    stub.routes["POST", "/chat/"] = route
    with client.call("chat") as response:
        parts = iter(response)
        assert next(parts) == b"half"
        with pytest.raises(cortex.ConnectionFailed, match="was lost"):
            next(parts)


def test_silence_ends_with_the_timeout_that_was_given(stub: StubPlatform, client: cortex.Client) -> None:
    over = threading.Event()
    stub.routes["POST", "/chat/"] = lambda exchange: over.wait(TIMEOUT) and exchange.cut()
    with pytest.raises(cortex.TimedOut):
        client.call("chat", timeout=0.05)
    over.set()


def test_a_call_that_may_have_arrived_is_not_repeated_one_that_did_not_is(stub: StubPlatform) -> None:
    asked: List[str] = []
    answers: List[Any] = [httpx.ConnectError("refused"), httpx.Response(200, text="ok"), httpx.ReadError("reset")]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        now = answers.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    http = httpx.Client(transport=httpx.MockTransport(answer))
    endpoint = cortex.Endpoint("http://stub/chat", retry=cortex.Retry(attempts=3, initial=0.0), http=http)
    assert endpoint.call().text() == "ok"
    with pytest.raises(cortex.ConnectionFailed):
        endpoint.call()
    assert len(asked) == 3


def test_kinds_name_the_call_to_use(stub: StubPlatform, client: cortex.Client) -> None:
    stub.routes["POST", "/canary/"] = lambda exchange: exchange.answer(200, b"from a target")
    assert client.call("canary").text() == "from a target"
    with pytest.raises(cortex.NotSupported, match=r"hello is an AsyncAPI; .*client\.submit\('hello'"):
        client.call("hello")
    for name, kind in (("chat", "RealtimeAPI"), ("canary", "TrafficSplitter")):
        with pytest.raises(cortex.NotSupported, match=rf"{name} is a {kind}, .*client\.call\('{name}'"):
            client.submit(name, {})
    with pytest.raises(cortex.NotFound):
        client.call("none")
    assert not any(each.target in ("/hello", "/hello/", "/chat", "/canary") for each in stub.asked)
    # Deployed again as another kind, and at another path.
    stub.deploy("hello", "RealtimeAPI", path="/other")
    stub.routes["POST", "/other/"] = lambda exchange: exchange.answer(200, b"moved")
    assert client.call("hello").text() == "moved"


def test_a_body_is_read_once_and_kept(stub: StubPlatform, client: cortex.Client) -> None:
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(200, exchange.read())
    response = client.call("chat", payload=b'{"n": 12345678901234567890, "d": 0.1}')
    assert response.json() == {"n": 12345678901234567890, "d": 0.1}
    assert response.read() == b"".join(response)
    assert list(response.lines()) == [response.text()]
    response = client.call("chat", payload=b"no JSON")
    assert list(response) == [b"no JSON"]
    with pytest.raises(cortex.InvalidArgument, match="read already"):
        response.read()
    with pytest.raises(cortex.ResultNotRepresentable, match="is not JSON") as caught:
        client.call("chat", payload=b"no JSON").json()
    assert caught.value.raw == b"no JSON"


def test_a_connection_is_used_again_after_the_whole_body_and_cookies_are_not_kept(
    stub: StubPlatform, client: cortex.Client
) -> None:
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(200, b"ok", Set_Cookie="route=a; Path=/chat")
    for _ in range(3):
        assert client.call("chat").text() == "ok"
    assert stub.connections == 1
    assert all("Cookie" not in each.headers for each in stub.asked)
    client.call("chat", headers={"Cookie": "route=b"}).close()
    assert stub.asked[-1].headers["Cookie"] == "route=b"


def test_a_file_has_its_length_and_type(stub: StubPlatform, client: cortex.Client, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(os.urandom(600_000))
    stub.routes["POST", "/chat/"] = lambda exchange: exchange.answer(200, str(len(exchange.read())).encode())
    assert client.call("chat", payload=path).text() == "600000"
    assert stub.asked[-1].headers["Content-Type"] == "image/png"
    assert stub.asked[-1].headers["Content-Length"] == "600000"
    assert client.call("chat", payload=io.BytesIO(b"abc"), content_type="a/b").text() == "3"
    assert stub.asked[-1].headers["Content-Type"] == "a/b"


def test_the_asynchronous_twin(stub: StubPlatform) -> None:
    stream = Stream()
    stub.routes["POST", "/chat/"] = stream
    stub.routes["POST", "/chat/echo"] = lambda exchange: exchange.answer(200, exchange.read())
    stub.routes["POST", "/chat/no"] = lambda exchange: exchange.answer(418, b"teapot")
    stub.routes["POST", "/chat/full"] = lambda exchange: exchange.answer(
        503, b'{"error":{"kind":"queue_full","message":"full"}}', X_Cortex_Origin="gateway"
    )

    async def body() -> None:
        async with cortex.AsyncClient(stub.environment()) as client:
            async with await client.call("chat") as response:
                parts: AsyncIterator[bytes] = response.__aiter__()
                for text in (b"data: one\n\n", b"data: two\n\n"):
                    stream.send(text)
                    assert await parts.__anext__() == text
                stream.send(b"data: three\n\n", last=True)
                assert await parts.__anext__() == b"data: three\n\n"
            assert await asyncio.to_thread(stream.left.wait, TIMEOUT)
            response = await client.call("chat", "/echo", payload=[1, 2])
            assert await response.json() == [1, 2]
            assert await response.text() == "[1,2]"
            assert [line async for line in response.lines()] == ["[1,2]"]
            refused = await client.call("chat", "/no")
            with pytest.raises(cortex.CallFailed, match="teapot"):
                await refused.raise_for_status()
            with pytest.raises(cortex.QueueFull):
                await client.call("chat", "/full")
            with pytest.raises(cortex.NotFound):
                await client.call("chat", "/a/../b")
            assert "/chat/a/../b" in [each.target for each in stub.asked]
            with pytest.raises(cortex.NotSupported):
                await client.call("hello")
            with pytest.raises(cortex.NotSupported):
                await client.submit("chat")

    asyncio.run(body())
