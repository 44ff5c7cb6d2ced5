"""Requests and results through the built platform (A1-A7, A11, C2-C5)."""

from __future__ import annotations

import hashlib
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import cortex
import platform_under_test


def seen(endpoint: cortex.Endpoint, payload: Any, **options: Any) -> dict[str, Any]:
    """What the container received: size, digest and headers."""
    found = endpoint.submit(payload, **options).result(wait=60)
    return {"size": found["size"], "sha256": found["sha256"], **dict(found["headers"])}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_submit_and_result(echo: cortex.Endpoint) -> None:
    request = echo.submit({"name": "Ada", "n": [1, 2]}, headers={"X-Do": "verbatim"})
    assert request.result(wait=60) == {"name": "Ada", "n": [1, 2]}
    assert request.status == "completed"
    now = request.read()
    assert now.raw == b'{"name":"Ada","n":[1,2]}'
    assert now.attempts == 1
    assert now.timestamp is not None
    # The same request by its id.
    assert cortex.Endpoint(echo.url).request(request.id).result(wait=0) == {"name": "Ada", "n": [1, 2]}


def test_each_kind_of_payload(echo: cortex.Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(os.urandom(3_000_000))
    text = "grüß dich 😀"
    for payload, data, kind in [
        ({"a": 1.5}, b'{"a":1.5}', "application/json"),
        ([1, None], b"[1,null]", "application/json"),
        (None, b"null", "application/json"),
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
        (bytearray(b"x"), b"x", "application/octet-stream"),
        (text, text.encode(), "text/plain; charset=utf-8"),
        (path, path.read_bytes(), "image/png"),
        (io.BytesIO(b"abc"), b"abc", "application/octet-stream"),
    ]:
        found = seen(echo, payload)
        assert (found["size"], found["sha256"]) == (len(data), digest(data)), payload
        assert (found["content-type"], found["content-length"]) == (kind, str(len(data)))
    with open(path, "rb") as file:
        file.seek(1_000_000)
        assert seen(echo, file)["sha256"] == digest(path.read_bytes()[1_000_000:])
    assert seen(echo, b"<x/>", content_type="application/xml")["content-type"] == "application/xml"
    empty = echo.submit().result(wait=60)
    assert empty["size"] == 0
    assert "content-type" not in dict(empty["headers"])
    with pytest.raises(FileNotFoundError):
        echo.submit(tmp_path / "missing")
    with pytest.raises(TypeError, match="mode 'rb'"), open(__file__) as text_file:
        echo.submit(text_file)
    with pytest.raises(TypeError):
        echo.submit({"a": object()})


def test_numbers_come_back_as_they_were_written(echo: cortex.Endpoint) -> None:
    raw = b'{"big": 12345678901234567890, "one": 1.0, "huge": 1e400, "pi": 3.14159265358979323846, "a": 1, "a": 2}'
    request = echo.submit(raw, content_type="application/json", headers={"X-Do": "verbatim"})
    found = request.result(wait=60)
    assert request.wait(0).raw == raw
    assert (found["big"], found["one"], found["huge"]) == (12345678901234567890, 1.0, Decimal("1e400"))
    assert found["pi"] == Decimal("3.14159265358979323846")
    assert request.read().json(parse_float=float)["pi"] == 3.141592653589793


def test_a_result_that_is_not_there_yet_and_cancel(echo: cortex.Endpoint) -> None:
    request = echo.submit("600", headers={"X-Do": "sleep"})
    with pytest.raises(cortex.ResultTimeout) as caught:
        request.result(wait=0)
    assert caught.value.request_id == request.id
    assert caught.value.status in ("in_queue", "in_progress")
    with pytest.raises(TimeoutError):
        request.result(wait=0.2)
    assert request.cancel().status == "cancelled"
    assert request.status == "cancelled"
    with pytest.raises(cortex.RequestCancelled):
        request.result()
    done = echo.submit("1", headers={"X-Do": "verbatim"})
    done.result(wait=60)
    with pytest.raises(cortex.Conflict, match="already ended"):
        done.cancel()


def test_failures_say_why(echo: cortex.Endpoint) -> None:
    def failure(answer: dict[str, Any]) -> cortex.RequestFailed:
        request = echo.submit(json.dumps(answer), headers={"X-Do": "answer"})
        with pytest.raises(cortex.RequestFailed) as caught:
            request.result(wait=60)
        return caught.value

    error = failure({"status": 507, "body": "no disk"})
    assert (error.kind, error.status_code, error.body, error.attempts) == ("container_status", 507, "no disk", 1)
    assert "no disk" in str(error)
    assert failure({"type": "text/plain"}).kind == "container_not_json_type"
    assert failure({"body": "{"}).kind == "container_invalid_json"


def test_an_idempotency_key_makes_one_request(echo: cortex.Endpoint) -> None:
    first = echo.submit("a", idempotency_key="order-17")
    assert echo.submit("a", idempotency_key="order-17").id == first.id
    assert echo.submit("a").id != first.id
    with pytest.raises(cortex.IdempotencyKeyReused) as caught:
        echo.submit("b", idempotency_key="order-17")
    assert (caught.value.status, caught.value.kind) == (422, "idempotency_key_reused")


def test_what_the_platform_refuses(echo: cortex.Endpoint, client: cortex.Client) -> None:
    with pytest.raises(cortex.NotFound, match="no such request"):
        echo.request("01a2179f-4555-7760-8f6d-749f1ef80b13").result()
    with pytest.raises(cortex.NotFound, match="no API at this path"):
        cortex.Endpoint(echo.url + "-not").submit()
    with pytest.raises(cortex.NotFound, match="no API"):
        client.submit("not-there", 1)
    with pytest.raises(cortex.InvalidArgument, match="idempotency_key must be"):
        echo.submit(idempotency_key="x" * 256)


def test_map_keeps_the_order_and_its_concurrency(echo: cortex.Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = [f"0.{number % 3}" for number in range(30)]
    results = list(echo.map(inputs, concurrency=5, headers={"X-Do": "sleep"}))
    assert [result["slept"] for result in results] == [float(each) for each in inputs]
    assert capfd.readouterr().err == "", "no progress without a terminal"
    endless = (number for number in iter(int, 1))
    taken = []
    for result in echo.map(endless, concurrency=2, headers={"X-Do": "verbatim"}):
        taken.append(result)
        if len(taken) == 3:
            break
    assert taken == [0, 0, 0]
    with pytest.raises(ValueError, match="concurrency"):
        echo.map([], concurrency=0)


def test_map_and_failures(echo: cortex.Endpoint, client: cortex.Client) -> None:
    inputs = [{"body": "1"}, {"status": 500}, {"body": "3"}]
    results = list(client.map("echo", inputs, headers={"X-Do": "answer"}, return_exceptions=True))
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], cortex.RequestFailed)
    with pytest.raises(cortex.RequestFailed):
        list(client.map("echo", inputs, headers={"X-Do": "answer"}))


def test_leaving_map_early_cancels_what_is_under_way(echo: cortex.Endpoint, client: cortex.Client) -> None:
    mine = {"sleepers": "map"}
    inputs: list[Any] = ["0", *["600"] * 20]
    for result in echo.map(inputs, concurrency=4, headers={"X-Do": "sleep"}, params=mine):
        assert result == {"slept": 0.0}
        break
    assert [r["id"] for status in ("in_queue", "in_progress") for r in client.requests("echo", status=status)] == []


def test_map_waits_for_a_full_queue(client: cortex.Client) -> None:
    narrow = platform_under_test.api("narrow", max_queue_length=2, pod={"max_concurrency": 1})
    client.deploy(narrow, wait=True)
    results = list(client.map("narrow", range(12), concurrency=8, headers={"X-Do": "verbatim"}))
    assert results == list(range(12))
    client.delete("narrow")


def test_a_large_file_passes_through(echo: cortex.Endpoint, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for _ in range(64):
            file.write(block)
    assert seen(echo, path)["sha256"] == digest(block * 64)
