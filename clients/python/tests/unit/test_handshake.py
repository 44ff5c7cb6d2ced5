"""O6 inside a container: the gateway's version is CORTEX_VERSION."""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List

import httpx
import pytest

import cortex
from cortex._handshake import check

INSIDE = "http://ingressgateway-apis.istio-system.svc.cluster.local/hello"
OUTSIDE = "http://127.0.0.1:8889/hello"
ENDED = {"id": "r1", "status": "completed", "result": 5, "timestamp": "t", "attempts": 1}
WORDS = (
    f"the client has version {cortex.__version__} and the server has version 9.8.7, which do not understand each other:"
    " use a client of version 9.8, or bring the server to version 1.0"
)


class Gateway:
    """Answers every call, and counts them."""

    def __init__(self) -> None:
        self.asked: List[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.method)
        return httpx.Response(200, json=ENDED)

    def endpoint(self, url: str) -> cortex.Endpoint:
        return cortex.Endpoint(url, http=httpx.Client(transport=httpx.MockTransport(self)))


CALLS: Dict[str, Callable[[cortex.Endpoint], Any]] = {
    "submit": lambda endpoint: endpoint.submit({"a": 1}),
    "status": lambda endpoint: endpoint.request("r1").status,
    "result": lambda endpoint: endpoint.request("r1").result(),
    "cancel": lambda endpoint: endpoint.request("r1").cancel(),
    "map": lambda endpoint: list(endpoint.map([1])),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_platform_of_another_version_is_told_and_not_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_VERSION", "9.8.7")
    gateway = Gateway()
    with pytest.raises(cortex.VersionMismatch) as caught:
        CALLS[name](gateway.endpoint(INSIDE))
    assert (str(caught.value), caught.value.kind) == (WORDS, "version_mismatch")
    assert gateway.asked == []


def test_the_asynchronous_endpoint_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEX_VERSION", "9.8.7")
    gateway = Gateway()

    async def submit() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(gateway)) as http:
            await cortex.AsyncEndpoint(INSIDE, http=http).submit({"a": 1})

    with pytest.raises(cortex.VersionMismatch) as caught:
        asyncio.run(submit())
    assert str(caught.value) == WORDS
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("version", "url"),
    [
        (cortex.__version__, INSIDE),
        ("1.0.99", INSIDE),
        (None, INSIDE),
        # It is valid for this cluster only, not for another platform.
        ("9.8.7", OUTSIDE),
    ],
)
def test_everybody_else_is_called(version: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if version is None:
        monkeypatch.delenv("CORTEX_VERSION", raising=False)
    else:
        monkeypatch.setenv("CORTEX_VERSION", version)
    gateway = Gateway()
    for call in CALLS.values():
        call(gateway.endpoint(url))
    assert set(gateway.asked) == {"POST", "GET", "DELETE"}


@pytest.mark.parametrize(
    ("client", "server", "agree"),
    [
        ("1.2.3", "1.2.9", True),
        ("1.2.0-dev", "1.2", True),
        ("1.2.3", "1.3.3", False),
        ("1.2.3", "2.2.3", False),
        ("1.2.3", "1.20.3", False),
        ("1.2.3", "", False),
        ("1.2.3", "latest", False),
        ("1.2.3", "\x1b[31m", False),
    ],
)
def test_major_and_minor_count(client: str, server: str, agree: bool) -> None:
    if agree:
        return check(client, server)
    with pytest.raises(cortex.VersionMismatch, match=client) as caught:
        check(client, server)
    assert "\x1b" not in str(caught.value)
