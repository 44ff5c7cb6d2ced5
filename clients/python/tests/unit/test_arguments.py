"""Invalid arguments, tokens and environment variables are named at once, without their secrets (O5, N9, A6)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import httpx
import pytest

import cortex
from cortex.environments import Environment

SECRET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Server:
    """Records what was sent, and accepts everything."""

    def __init__(self) -> None:
        self.asked: List[httpx.Request] = []
        self.http = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.endpoint = cortex.Endpoint("http://stub/hello", http=self.http)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        return httpx.Response(200, json={"id": "r1"})


def test_white_space_around_a_token_is_removed() -> None:
    seen: List[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json=[])

    for text in (SECRET + "\n", f"  {SECRET}\r\n", SECRET):
        http = httpx.Client(transport=httpx.MockTransport(answer))
        cortex.Client(Environment("e", "http://stub", text), http=http).list_apis()
    assert seen == [f"Bearer {SECRET}"] * 3


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (SECRET[:9] + "\n" + SECRET[9:], "a line break"),
        (SECRET[:9] + "\r\n" + SECRET[9:], "a line break"),
        (SECRET[:9] + "\u2028" + SECRET[9:], "a line break"),
        (SECRET[:9] + " " + SECRET[9:], "white space"),
        (SECRET + "\u00fc", "not printable ASCII"),
        (SECRET[:9] + "\0" + SECRET[9:], "not printable ASCII"),
        (SECRET[:9] + "\ud83d", "not printable ASCII"),
    ],
)
def test_a_token_that_cannot_be_one_is_refused_with_the_reason(
    token: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_variable() -> Any:
        monkeypatch.setenv("CORTEX_TOKEN", token)
        return cortex.new_client("e", "http://127.0.0.1:1")

    makers: List[Callable[[], Any]] = [
        lambda: cortex.new_client("e", "http://127.0.0.1:1", token=token),
        lambda: cortex.Client({"name": "e", "operator_endpoint": "http://127.0.0.1:1", "token": token}),
        lambda: cortex.AsyncClient(Environment("e", "http://127.0.0.1:1", token)),
    ]
    if "\0" not in token and "\ud83d" not in token:
        makers.append(from_variable)  # A variable cannot contain these.
    for make in makers:
        with pytest.raises(cortex.InvalidArgument, match=reason) as caught:
            make()
        assert SECRET[:9] not in str(caught.value)
        assert isinstance(caught.value, cortex.CortexException)


def test_header_values_are_sent_as_utf_8_and_trimmed() -> None:
    server = Server()
    server.endpoint.submit(b"x", headers={"X-Name": "caf\u00e9.png\n"}, content_type="text/plain")
    assert (b"X-Name", "caf\u00e9.png".encode()) in server.asked[0].headers.raw


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "X-A has a line break"),
        ({"headers": {"X-A": "\ud83d"}}, "X-A has an unpaired surrogate"),
        ({"headers": {"X A": "1"}}, "'X A' is not a header name"),
        ({"headers": {"\u00fcber": "1"}}, "is not a header name"),
        ({"headers": {"X-A": 5}}, "X-A is int"),
        ({"headers": {"content-length": "5"}}, "content-length is set by the client"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "Transfer-Encoding is set by the client"),
        ({"content_type": "a/b\nX: y"}, "Content-Type has a line break"),
        ({"params": {"a": "\ud83d"}}, "params: the value of a"),
        ({"idempotency_key": "bestellung-\u00fc"}, "idempotency_key must be"),
        ({"idempotency_key": ""}, "idempotency_key must be"),
        ({"idempotency_key": "k" * 256}, "idempotency_key must be"),
        ({"headers": {"Idempotency-Key": "\u00fc"}}, "idempotency_key must be"),
        ({"payload": "\ud83d"}, "the payload has an unpaired surrogate"),
        ({"payload": float("nan")}, "the payload cannot be expressed in JSON"),
        ({"payload": {1, 2}}, "the payload cannot be expressed in JSON"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(options: Dict[str, Any], reason: str) -> None:
    server = Server()
    with pytest.raises(cortex.InvalidArgument, match=reason):
        server.endpoint.submit(**{"payload": {}, **options})
    assert server.asked == []


def test_half_a_surrogate_pair_in_a_payload_is_sent_as_an_escape() -> None:
    server = Server()
    value = {"text": "\ud83d", "ä": "ü"}
    server.endpoint.submit(value)
    assert json.loads(server.asked[0].content) == value
    server.endpoint.submit({"ä": "ü"})
    assert server.asked[1].content == '{"ä":"ü"}'.encode()


ATTEMPTS = """
import cortex
def attempt(make):
    try:
        make()
    except cortex.CortexException as error:
        print("refused:", error)
    else:
        print("made")
attempt(lambda: cortex.Endpoint("http://192.0.2.1/hello"))
attempt(lambda: cortex.Endpoint("https://cortex.example.com/hello"))
attempt(lambda: cortex.AsyncEndpoint("https://cortex.example.com/hello"))
attempt(lambda: cortex.Endpoint("http://127.0.0.1:8889/hello"))
"""


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SSL_CERT_FILE", "/nonexistent/cacert.pem", ["made", "SSL_CERT_FILE", "SSL_CERT_FILE", "made"]),
        ("SSL_CERT_FILE", "/proc/version", ["made", "SSL_CERT_FILE", "SSL_CERT_FILE", "made"]),
        ("SSL_CERT_FILE", "", ["made"] * 4),
        ("ALL_PROXY", "socks://user:hunter2@127.0.0.1:9/", ["ALL_PROXY", "ALL_PROXY", "ALL_PROXY", "made"]),
        ("all_proxy", "nonsense://127.0.0.1:9", ["all_proxy", "all_proxy", "all_proxy", "made"]),
        ("HTTPS_PROXY", "http://127.0.0.1:notaport", ["HTTPS_PROXY", "HTTPS_PROXY", "HTTPS_PROXY", "made"]),
        ("NO_PROXY", "*", ["made"] * 4),
        ("LC_ALL", "nonsense", ["made"] * 4),
    ],
)
def test_environment_variables_that_cannot_be_used_are_named(
    variable: str, value: str, expected: List[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CORTEX_CLI_CONFIG_DIR": str(tmp_path),
            variable: value,
        },
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line, wanted in zip(lines, expected):
        assert wanted in line, (line, wanted)
    assert "hunter2" not in done.stdout


def test_arguments_and_functions_of_older_versions_name_the_page_that_helps() -> None:
    client = cortex.Client(Environment("e", "http://stub"))
    for call in (
        lambda: client.deploy({"name": "a"}, project_dir="."),
        lambda: client.create_api({"name": "a"}, predictor=object()),
        lambda: client.delete_api("a"),
        lambda: cortex.new_client("e", "http://stub", aws_access_key_id="x"),
    ):
        with pytest.raises(cortex.NotSupported, match="moving-from-cortex"):
            call()
    with pytest.raises(cortex.InvalidArgument, match="no argument 'frce'"):
        client.deploy({"name": "a"}, frce=True)
    with pytest.raises(cortex.NotSupported, match="moving-from-cortex"):
        asyncio.run(cortex.AsyncClient(Environment("e", "http://stub")).create_api({}))
