"""R4, R10, R12, R16: limits, timeouts, origins and the responses of the platform."""

from __future__ import annotations

import json
import threading
import time

import pytest

from caller import Call
from origin import EARLY, EOF, ok
from row import get, post, request


@pytest.fixture(scope="module")
def limited(stand):
    stand.deploy("".join([
        stand.scripted("queue", ["max_queue_time: 10s"], ["max_concurrency: 1", "max_queue_length: 2"]),
        stand.scripted("impatient", ["max_queue_time: 300ms"], ["max_concurrency: 1"]),
        stand.scripted("never", ["max_queue_time: 0s"], ["max_concurrency: 1"]),
        stand.scripted("timed", ["timeout: 300ms", "idle_timeout: 1s"], ["max_concurrency: 8"]),
        stand.scripted("origins", ["networking: {cors: {allow_origins: [\"https://good.example\"]}}"], ["max_concurrency: 8"]),
        stand.scripted("repeats", ["retries: {max_attempts: 3, on: [unreachable, status_5xx]}"], ["max_concurrency: 8"]),
    ]))
    return stand


def call(stand, data, method=b"GET"):
    made = Call(stand.address, [method], timeout=15)
    made.send([data])
    return made


def response(made, seconds=10):
    outcome = made.wait(lambda now: now.complete, seconds)
    made.close()
    assert outcome.complete, outcome
    return outcome.complete[0]


def error(got):
    return json.loads(got.body)["error"]


def check(got, status, kind, proxy_status):
    assert (got.status, error(got)["kind"]) == (status, kind)
    assert got.value("X-Cortex-Origin") == b"gateway"
    assert got.value("Proxy-Status") == b"cortex; error=" + proxy_status
    if status == 503:
        assert int(got.value("Retry-After")) >= 1


def holding(seconds):
    return [seconds, ok()]


def test_a_full_queue_refuses(limited):
    """R10: one inside, two waiting; the fourth is refused at once, the others are served in order of arrival."""
    limited.origin.begin([holding(0.8)])
    calls = []
    for name in (b"a", b"b", b"c"):
        calls.append(call(limited, get(b"/queue/" + name)))
        time.sleep(0.1)
    began = time.monotonic()
    refused = response(call(limited, get(b"/queue/d")))
    assert time.monotonic() - began < 0.4
    check(refused, 503, "queue_full", b"connection_limit_reached")
    assert error(refused)["message"].startswith("pending request queue full")
    assert refused.value("Retry-After") == b"1"
    assert [response(made).status for made in calls] == [200, 200, 200]
    assert [item.message.target for item in limited.origin.all()] == [b"/a", b"/b", b"/c"]


def test_a_place_in_the_queue_is_free_again(limited):
    """R10, R13: a caller that leaves the full queue makes room for the next."""
    limited.origin.begin([holding(0.8)])
    calls = []
    for name in (b"a", b"b", b"c"):
        calls.append(call(limited, get(b"/queue/" + name)))
        time.sleep(0.1)
    calls[1].close()
    time.sleep(0.1)
    assert response(call(limited, get(b"/queue/d"))).status == 200
    assert [item.message.target for item in limited.origin.all()] == [b"/a", b"/c", b"/d"]
    for made in calls:
        made.close()


def test_at_most_as_many_requests_inside_as_slots(limited):
    """R10: a container with one slot never has two requests."""
    lock, inside, most = threading.Lock(), [0], [0]

    def enter(connection, received):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])

    def leave(connection, received):
        with lock:
            inside[0] -= 1

    limited.origin.begin(answer=lambda _: [enter, 0.002, leave, ok()])
    calls = [call(limited, get(b"/single/x") * 10) for _ in range(20)]
    for made in calls:
        made.methods = [b"GET"] * 10
    for made in calls:
        assert made.wait(lambda now: len(now.complete) == 10).statuses == [200] * 10
        made.close()
    assert most[0] == 1


@pytest.mark.parametrize(("api", "least", "most"), [(b"impatient", 0.25, 1.0), (b"never", 0, 0.3)])
def test_waiting_too_long(api, least, most, limited):
    """R12: queue_timeout after max_queue_time; 0s never waits."""
    limited.origin.begin([holding(1.5)])
    first = call(limited, get(b"/" + api + b"/a"))
    limited.origin.wait(1)
    began = time.monotonic()
    got = response(call(limited, get(b"/" + api + b"/b")))
    waited = time.monotonic() - began
    check(got, 503, "queue_timeout", b"connection_limit_reached")
    assert least <= waited < most
    assert response(first).status == 200


def test_no_response_head_in_time(limited):
    """R12: 504, and the container's connection is closed."""
    ended = []

    def until_end(connection, received):
        while connection.receive():
            pass
        ended.append(time.monotonic())
        return False

    limited.origin.begin([[until_end]])
    began = time.monotonic()
    got = response(call(limited, get(b"/timed/a")))
    check(got, 504, "timeout", b"http_response_timeout")
    assert 0.25 < time.monotonic() - began < 1.0
    time.sleep(0.1)
    assert ended


def test_the_timeout_ends_with_the_head(limited):
    """R12: a response that has begun may last longer than `timeout`."""
    limited.origin.begin([[b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", *[item for n in range(8) for item in (0.1, b"%d" % n)]]])
    assert response(call(limited, get(b"/timed/a"))).body == b"01234567"


def test_a_silent_response_is_cut_off(limited):
    """R12, R9: idle_timeout after the head."""
    limited.origin.begin([[b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n0123", EOF]])
    made = call(limited, get(b"/timed/a"))
    began = time.monotonic()
    outcome = made.wait(lambda now: now.end != "open", 5)
    made.close()
    assert 0.8 < time.monotonic() - began < 2.5
    assert outcome.responses[0].body == b"0123"
    assert not outcome.responses[0].is_complete


def test_a_silent_tunnel_is_closed(limited):
    """R12, R14: idle_timeout on an upgraded connection."""
    limited.origin.begin([[EARLY, b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", 0.6, b"x", EOF]])
    made = call(limited, get(b"/timed/a", b"Connection: upgrade", b"Upgrade: foo"))
    began = time.monotonic()
    outcome = made.wait(lambda now: now.end != "open", 5)
    made.close()
    assert outcome.end != "open"
    assert 1.3 < time.monotonic() - began < 3


def test_allowed_origins(limited):
    """R4, N5: the platform answers preflights and replaces the container's fields."""
    ask = (b"Access-Control-Request-Method: PUT", b"Access-Control-Request-Headers: x-a")
    limited.origin.begin(answer=lambda _: [ok(b"x", b"Access-Control-Allow-Origin: *", b"Access-Control-Max-Age: 5")])
    preflight = request(b"OPTIONS /origins/a HTTP/1.1", b"Origin: https://good.example", *ask)
    got = response(call(limited, preflight, b"OPTIONS"))
    assert got.status in (200, 204)
    assert got.value("Access-Control-Allow-Origin") == b"https://good.example"
    assert limited.origin.all() == []
    got = response(call(limited, get(b"/origins/a", b"Origin: https://good.example")))
    assert got.status == 200
    assert got.values("Access-Control-Allow-Origin") == [b"https://good.example"]
    assert b"5" not in got.values("Access-Control-Max-Age")
    got = response(call(limited, post(b"/origins/a", b"Origin: https://bad.example", b"Content-Length: 1", body=b"x"), b"POST"))
    assert got.status == 403
    assert len(limited.origin.all()) == 1


def test_preflights_are_left_to_the_container(limited):
    """R4: without allow_origins."""
    limited.origin.begin([[ok(b"", b"Access-Control-Allow-Origin: http://only", status=b"204 No Content").replace(b"Content-Length: 0\r\n", b"")]])
    got = response(call(limited, request(b"OPTIONS /raw/a HTTP/1.1", b"Origin: http://only", b"Access-Control-Request-Method: PUT"), b"OPTIONS"))
    assert (got.status, got.values("Access-Control-Allow-Origin")) == (204, [b"http://only"])


def test_retries_of_5xx(limited):
    """R15: a GET is repeated, a POST is not, unless it has an Idempotency-Key."""
    failure = [ok(b"no", status=b"500 Oops")]
    limited.origin.begin([failure, [ok(b"yes")]])
    got = response(call(limited, get(b"/repeats/a")))
    assert (got.status, got.body, got.value("X-Cortex-Attempts")) == (200, b"yes", b"2")
    limited.origin.begin([failure, [ok(b"yes")]])
    got = response(call(limited, post(b"/repeats/a", b"Content-Length: 1", body=b"x"), b"POST"))
    assert (got.status, got.values("X-Cortex-Attempts")) == (500, [])
    limited.origin.begin([failure, [ok(b"yes")]])
    got = response(call(limited, post(b"/repeats/a", b"Idempotency-Key: k", b"Content-Length: 1", body=b"x"), b"POST"))
    assert got.status == 200
    limited.origin.begin(answer=lambda _: failure)
    got = response(call(limited, get(b"/repeats/a")))
    assert (got.status, got.body, len(limited.origin.all())) == (500, b"no", 3)


def test_delete_ends_waiting_requests(limited):
    """R18: those inside finish, waiting ones get 503 no_replica, and the path is 404."""
    limited.origin.begin([holding(1.0)])
    inside = call(limited, get(b"/queue/a"))
    limited.origin.wait(1)
    waiting = call(limited, get(b"/queue/b"))
    time.sleep(0.1)
    limited.platform.cli("delete", "queue", "-f")
    got = response(waiting)
    check(got, 503, "no_replica", b"destination_unavailable")
    check(response(call(limited, get(b"/queue/c"))), 404, "not_found", b"destination_not_found")
    assert response(inside).status == 200
