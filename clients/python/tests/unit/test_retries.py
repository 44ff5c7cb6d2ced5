"""Retries: when, after which delays, and never a second request (A4, A6)."""

from __future__ import annotations

import email.utils
import io
import os
import pickle
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Union

import httpx
import pytest

import cortex
from cortex._drivers import Driver
from cortex._gateway import Gateway
from cortex._http import Retry, retry_after
from cortex._operator import Operator
from cortex.environments import Environment

Answer = Union[httpx.Response, Exception]
OK = httpx.Response(200, json={"id": "r1"})


def error(status: int, kind: str, message: str = "no", **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"kind": kind, "message": message}}, headers=headers)


class Stub:
    """Returns the answers in order, and records the calls and the delays."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: List[httpx.Request] = []
        self.slept: List[float] = []
        self.driver = Driver("http://stub", httpx.Client(transport=httpx.MockTransport(self._answer)), self._sleep)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def gateway(self, **options: Any) -> Gateway:
        # Without randomness the delays are 0.2, 0.4, 0.8 …
        return Gateway("http://stub/hello", Retry(chance=lambda: 0.0, **options), clock=lambda: sum(self.slept))

    def operator(self) -> Operator:
        return Operator(Environment("stub", "http://stub", "secret"), Retry(chance=lambda: 0.0))


def test_a_submit_is_tried_again_with_the_same_key_so_it_never_becomes_two() -> None:
    stub = Stub(error(503, "store_unavailable"), httpx.ReadError("reset"), httpx.ConnectError("refused"), OK)
    assert stub.driver.run(stub.gateway().submit({"a": 1})) == "r1"
    keys = {request.headers["idempotency-key"] for request in stub.asked}
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert [request.content for request in stub.asked] == [b'{"a":1}'] * 4
    assert stub.slept == pytest.approx([0.2, 0.4, 0.8])


def test_every_submit_has_a_key_of_its_own() -> None:
    stub = Stub(OK, OK)
    for _ in range(2):
        stub.driver.run(stub.gateway().submit())
    assert stub.asked[0].headers["idempotency-key"] != stub.asked[1].headers["idempotency-key"]


def test_a_key_of_the_caller_is_taken() -> None:
    stub = Stub(OK, OK)
    stub.driver.run(stub.gateway().submit(idempotency_key="order-17"))
    stub.driver.run(stub.gateway().submit(headers={"idempotency-key": "order-18"}))
    assert [request.headers["idempotency-key"] for request in stub.asked] == ["order-17", "order-18"]


def test_retry_after_is_never_undercut() -> None:
    stub = Stub(error(429, "queue_full", **{"Retry-After": "7"}), error(503, "unavailable", **{"Retry-After": "3"}), OK)
    stub.driver.run(stub.gateway().submit())
    assert stub.slept == [7.0, 3.0]


def test_pauses_are_spread_by_chance_and_bounded() -> None:
    for chance in (0.0, 0.3, 1.0):
        retry = Retry(chance=lambda chance=chance: chance)  # type: ignore[misc]
        for failures in range(1, 200):
            assert 0.05 <= retry.pause(failures, None) <= 10.0
            assert 5.0 <= retry.pause(failures, 5.0) <= 10.0
    assert Retry(chance=lambda: 1.0).pause(1, None) == pytest.approx(0.1)


def test_retry_after_as_a_date_or_nonsense() -> None:
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 27 < (retry_after({"retry-after": date}) or 0) <= 31
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_it_gives_up_with_the_last_answer() -> None:
    stub = Stub(*[error(429, "queue_full", "the queue is full", **{"Retry-After": "1"})] * 4)
    with pytest.raises(cortex.QueueFull, match="the queue is full") as caught:
        stub.driver.run(stub.gateway(attempts=4).submit())
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == ("queue_full", 429, 1.0)
    assert len(stub.asked) == 4


def test_map_waits_for_a_full_queue_as_long_as_it_takes() -> None:
    stub = Stub(*[error(429, "queue_full")] * 50, OK)
    assert stub.driver.run(stub.gateway(attempts=2).submit(waits_for_queue=True)) == "r1"


def test_other_answers_are_final() -> None:
    for answer, kind in [
        (error(400, "bad_request"), cortex.BadRequest),
        (error(401, "unauthorized"), cortex.Unauthorized),
        (error(404, "not_found"), cortex.NotFound),
        (error(409, "conflict"), cortex.Conflict),
        (error(413, "payload_too_large"), cortex.PayloadTooLarge),
        (error(422, "idempotency_key_reused"), cortex.IdempotencyKeyReused),
        (error(500, "internal"), cortex.PlatformError),
    ]:
        stub = Stub(answer)
        with pytest.raises(kind) as caught:
            stub.driver.run(stub.gateway().submit())
        assert caught.value.status == answer.status_code
        assert len(stub.asked) == 1
        # Code for the original package catches it too.
        assert isinstance(caught.value, cortex.CortexBinaryException)


def test_answers_of_others_are_understood_as_far_as_they_go() -> None:
    original = httpx.Response(400, json={"kind": "endpoints.api_version_mismatch", "message": "0.42 is not 1.0"})
    html = httpx.Response(502, text="<html>Bad gateway</html>")
    for answers, kind, message in [
        ([original], "endpoints.api_version_mismatch", "0.42"),
        ([html] * 10, "unavailable", "answered 502"),
    ]:
        stub = Stub(*answers)
        with pytest.raises(cortex.PlatformError, match=message) as caught:
            stub.driver.run(stub.operator().apis())
        assert caught.value.kind == kind
    stub = Stub(httpx.Response(200, text="hello"))
    with pytest.raises(cortex.ConnectionFailed, match="not understood"):
        stub.driver.run(stub.operator().apis())


def test_what_must_not_happen_twice_is_not_sent_twice() -> None:
    def refresh(stub: Stub) -> Any:
        return stub.operator().refresh("a", False)

    def delete(stub: Stub) -> Any:
        return stub.operator().delete("a", False)

    plans: List[Callable[[Stub], Any]] = [refresh, delete]
    for plan in plans:
        lost = Stub(httpx.ReadTimeout("slow"))
        with pytest.raises(cortex.TimedOut):
            lost.driver.run(plan(lost))
        # It did not arrive: it is sent again.
        away = Stub(httpx.ConnectError("refused"), httpx.Response(200, json={"message": "done"}))
        assert away.driver.run(plan(away)) == {"message": "done"}


def test_a_lost_cancel_is_settled_by_looking() -> None:
    ended: Dict[str, Any] = {"id": "r1", "status": "cancelled", "attempts": 0, "timestamp": "t"}
    stub = Stub(httpx.ReadError("reset"), httpx.Response(200, json=ended))
    assert stub.driver.run(stub.gateway().cancel("r1")).status == "cancelled"
    assert [request.method for request in stub.asked] == ["DELETE", "GET"]


def test_a_cancel_that_came_too_late_says_so() -> None:
    ended: Dict[str, Any] = {"id": "r1", "status": "completed", "result": 1, "attempts": 1, "timestamp": "t"}
    stub = Stub(httpx.ReadError("reset"), httpx.Response(200, json=ended), error(409, "conflict", "it has ended"))
    stub.answers.append(httpx.Response(200, json=ended))
    with pytest.raises(cortex.Conflict, match="it has ended"):
        stub.driver.run(stub.gateway().cancel("r1"))
    with pytest.raises(cortex.BadRequest, match="empty"):
        stub.driver.run(stub.gateway().read(""))


def test_a_pipe_is_sent_once_and_a_file_from_where_it_stands(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb") as end:
        end.write(b"once")
        end.close()
        stub = Stub(error(503, "unavailable"), OK)
        with pytest.raises(cortex.Unavailable):
            stub.driver.run(stub.gateway().submit(pipe))
        assert stub.asked[0].content == b"once"
        assert stub.asked[0].headers["transfer-encoding"] == "chunked"
    file = io.BytesIO(b"header and body")
    file.seek(7)
    stub = Stub(error(503, "unavailable"), OK)
    stub.driver.run(stub.gateway().submit(file))
    assert [request.content for request in stub.asked] == [b"and body"] * 2
    path = tmp_path / "page.pdf"
    path.write_bytes(b"x" * 600_000)
    stub = Stub(error(503, "unavailable"), OK)
    stub.driver.run(stub.gateway().submit(path))
    for request in stub.asked:
        assert request.headers["content-type"] == "application/pdf"
        assert request.headers["content-length"] == "600000"
        assert len(request.content) == 600_000


def test_a_result_is_awaited_across_a_restart_of_the_platform() -> None:
    done = {"id": "r1", "status": "completed", "result": 5, "timestamp": "t", "attempts": 1}
    going = {"id": "r1", "status": "in_progress", "attempts": 1}
    stub = Stub(
        httpx.Response(200, json=going),
        httpx.ReadError("reset"),
        *[httpx.ConnectError("refused")] * 5,
        error(503, "unavailable", **{"Retry-After": "1"}),
        httpx.Response(200, json=done),
    )
    now = stub.driver.run(stub.gateway().wait("r1", None))
    assert now.json() == 5
    assert stub.asked[0].headers["prefer"] == "wait=50"


def test_a_wait_ends_in_time_even_if_the_platform_is_away() -> None:
    stub = Stub(*[httpx.ConnectError("refused")] * 50)
    with pytest.raises(cortex.ConnectionFailed, match="r1, which continues"):
        stub.driver.run(stub.gateway().wait("r1", 1.5))
    assert sum(stub.slept) <= 1.5


def test_a_gateway_that_answers_long_polls_at_once_is_not_stormed() -> None:
    going = httpx.Response(200, json={"id": "r1", "status": "in_progress", "attempts": 1})
    stub = Stub(*[going] * 1000)
    now = stub.driver.run(stub.gateway().wait("r1", 60))
    assert now.status == "in_progress"
    assert len(stub.asked) < 45


def test_a_call_says_who_it_is() -> None:
    stub = Stub(httpx.Response(200, json=[]))
    stub.driver.run(stub.operator().apis())
    sent = stub.asked[0].headers
    assert sent["authorization"] == "Bearer secret"
    assert sent["cortexapiversion"] == cortex.__version__
    assert sent["user-agent"] == f"cortex-python/{cortex.__version__}"


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520, 524])
def test_a_proxy_that_answers_for_the_platform_is_waited_for(status: int) -> None:
    # O5: calls with an idempotency key are repeated, and a wait continues.
    page = httpx.Response(status, text="<html><title>Gateway</title></html>")
    done = {"id": "r1", "status": "completed", "result": 5, "timestamp": "t", "attempts": 1}
    stub = Stub(page, page, OK, page, page, httpx.Response(200, json=done))
    assert stub.driver.run(stub.gateway().submit({})) == "r1"
    assert len({request.headers["idempotency-key"] for request in stub.asked}) == 1
    assert stub.driver.run(stub.gateway().wait("r1", None)).json() == 5


def test_an_own_error_with_such_a_status_is_final_and_so_is_what_must_not_happen_twice() -> None:
    stub = Stub(error(500, "internal", "a bug"))
    with pytest.raises(cortex.PlatformError, match="a bug"):
        stub.driver.run(stub.gateway().submit({}))
    stub = Stub(httpx.Response(502, text="Bad gateway"))
    with pytest.raises(cortex.Unavailable, match="answered 502"):
        stub.driver.run(stub.operator().refresh("a", False))
    assert len(stub.asked) == 1


def test_a_retry_after_of_a_day_is_not_waited_for() -> None:
    stub = Stub(error(503, "unavailable", **{"Retry-After": "86400"}), OK)
    stub.driver.run(stub.gateway().submit())
    assert stub.slept == [300.0]
    assert retry_after({"retry-after": "9" * 5000}) == float("inf")
    assert retry_after({"retry-after": "\u00b2"}) is None
    assert retry_after({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}) in (None, 0.0)


def test_what_the_library_cannot_write_is_not_tried_again() -> None:
    for wrong in (httpx.LocalProtocolError("Illegal header value b'Bearer secret\\n'"), httpx.UnsupportedProtocol("x")):
        stub = Stub(wrong)
        with pytest.raises(cortex.InvalidArgument) as caught:
            stub.driver.run(stub.operator().apis())
        assert "secret" not in str(caught.value)
        assert len(stub.asked) == 1


def test_an_answer_nested_too_deeply_is_an_error_of_this_package() -> None:
    for answer in ("[" * 100_000, '{"error":' * 100_000):
        stub = Stub(httpx.Response(200, text=answer))
        with pytest.raises(cortex.ConnectionFailed, match="not understood"):
            stub.driver.run(stub.operator().apis())


def test_waiting_and_submitting_go_on_where_the_platform_listens_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O3, O5: a platform that is restarted with `--port 0` has other ports; `cli.yaml` has the new operator."""
    monkeypatch.setenv("CORTEX_CLI_CONFIG_DIR", str(tmp_path))
    (tmp_path / "cli.yaml").write_text(
        "environments: [{name: local, operator_endpoint: 'http://127.0.0.1:2', token: new, operator_socket: /d/run/s}]"
    )

    asked: List[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.port}")
        if request.url.port == 2:
            assert request.headers["authorization"] == "Bearer new"
            return httpx.Response(200, json=[{"endpoint": "http://127.0.0.1:3/hello"}])
        if request.url.port != 3:
            raise httpx.ConnectError("refused")
        if request.method == "POST":
            return OK
        return httpx.Response(200, json={"id": "r1", "status": "completed", "result": 5, "attempts": 1})

    def gateway(socket: str) -> Gateway:
        environment = Environment("local", "http://127.0.0.1:1", "old", {"operator_socket": socket})
        operator = Operator(environment, Retry(attempts=2))
        return Gateway(
            "http://127.0.0.1:1/hello", Retry(attempts=2, initial=0.0), locate=lambda: operator.endpoint("hello")
        )

    driver = Driver("http://127.0.0.1:1", httpx.Client(transport=httpx.MockTransport(answer)))
    assert driver.run(gateway("/d/run/s").wait("r1", None)).json() == 5
    assert asked == ["GET 1", "GET 2", "GET 3"]
    asked.clear()
    assert pickle.loads(pickle.dumps(gateway("/d/run/s"))).locate is None  # It contains the operator's token.
    assert driver.run(gateway("/d/run/s").submit({})) == "r1"
    assert asked == ["POST 1", "POST 1", "GET 2", "POST 3"]
    # The name belongs to another platform now: nothing is sent there.
    asked.clear()
    with pytest.raises(cortex.ConnectionFailed):
        driver.run(gateway("/e/run/s").wait("r1", None))
    assert asked == ["GET 1", "GET 1", "GET 1"]
