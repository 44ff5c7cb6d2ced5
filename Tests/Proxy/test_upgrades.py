"""R14: after a 101 bytes pass unchanged in both directions, whatever the protocol is."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

import http1
from caller import HALF, RESET, Call, Until
from origin import CLOSE, EARLY, EOF, FIN, ok
from origin import RESET as ORIGIN_RESET
from row import get, post

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo/1\r\nX-Own: 1\r\n\r\n"
ASK = get(b"/raw/u", b"Connection: keep-alive, Upgrade", b"Upgrade: foo/1")


def open_tunnel(stand, *script, ask=ASK, api=b"raw", extra=b""):
    stand.origin.begin([[EARLY, *script]])
    call = Call(stand.address, [b"GET"], timeout=20)
    call.send([ask.replace(b"/raw/", b"/" + api + b"/") + extra])
    return call


def tunnel_bytes(call) -> bytes:
    return call.data.partition(b"\r\n\r\n")[2]


def wait_bytes(call, count, seconds=10):
    call.wait(lambda _: len(tunnel_bytes(call)) >= count, seconds)
    return tunnel_bytes(call)


def after_head(connection) -> bytes:
    """What the container received after the request."""
    return connection.buffer[http1.parse(connection.buffer).size :]


def take(count):
    """A step of the container: reads until `count` bytes have arrived after the request."""
    def step(connection, received):
        while len(after_head(connection)) < count and connection.receive():
            pass
    return step


def test_both_heads_carry_the_upgrade(stand):
    call = open_tunnel(stand, SWITCH, EOF)
    outcome = call.wait(lambda now: now.is_tunnel)
    call.close()
    (received,) = stand.origin.wait(1)
    assert received.message.value("Upgrade") == b"foo/1"
    assert b"upgrade" in b",".join(received.message.values("Connection")).lower()
    response = outcome.responses[0]
    assert (response.status, response.value("Upgrade"), response.value("X-Own")) == (101, b"foo/1", b"1")
    assert b"upgrade" in (response.value("Connection") or b"").lower()


def test_bytes_of_the_container_in_the_segment_of_its_101(stand):
    call = open_tunnel(stand, SWITCH + b"at once", EOF)
    assert wait_bytes(call, 7) == b"at once"
    call.close()


@pytest.mark.parametrize("pause", [0, 0.15])
def test_bytes_of_the_caller_in_the_segment_of_its_request(pause, stand):
    early = b"GET /raw/evil HTTP/1.1\r\nHost: h\r\n\r\n\x00\xff early"

    def answer(connection, received):
        connection.stream.sendall(b"<" + after_head(connection) + b">")

    call = open_tunnel(stand, pause, SWITCH, take(len(early)), answer, EOF, extra=early)
    assert wait_bytes(call, len(early) + 2) == b"<" + early + b">"
    assert len(stand.origin.all()) == 1
    call.close()


def test_a_post_with_a_body_is_upgraded(stand):
    ask = post(b"/raw/u", b"Connection: Upgrade", b"Upgrade: foo/1", b"Content-Length: 4", body=b"body")
    stand.origin.begin([[SWITCH, b"hello", EOF]])
    call = Call(stand.address, [b"POST"])
    call.send([ask])
    assert wait_bytes(call, 5) == b"hello"
    assert stand.origin.all()[0].message.body == b"body"
    call.close()


def test_the_caller_half_closes(stand):
    """The container sees the end, and its bytes still arrive."""
    data = os.urandom(1 << 20)

    def until_end(connection, received):
        while connection.receive():
            pass
        assert connection.ended == "fin"
        connection.stream.sendall(after_head(connection) + data)

    call = open_tunnel(stand, SWITCH, until_end, CLOSE)
    call.wait(lambda now: now.is_tunnel)
    call.send([b"ping", HALF])
    assert wait_bytes(call, len(data) + 4) == b"ping" + data
    assert call.wait(lambda _: False, 5).end == "closed"
    call.close()


def test_the_container_half_closes(stand):
    data = os.urandom(1 << 20)
    arrived = threading.Event()

    def check(connection, received):
        if after_head(connection) == data:
            arrived.set()

    call = open_tunnel(stand, SWITCH, 0.05, b"bye", 0.05, FIN, take(len(data)), check, EOF)
    call.wait(lambda _: call.end != "open", 5)
    assert (call.end, tunnel_bytes(call)) == ("closed", b"bye")
    call.send([data])
    assert arrived.wait(10)
    call.close()


@pytest.mark.parametrize("step", [CLOSE, ORIGIN_RESET])
def test_the_container_ends_the_connection(step, stand):
    call = open_tunnel(stand, SWITCH, 0.05, step)
    assert call.wait(lambda _: False, 3).end != "open"
    call.close()


@pytest.mark.parametrize("how", ["close", RESET])
def test_the_caller_ends_the_connection(how, stand):
    ended = threading.Event()

    def until_end(connection, received):
        while connection.receive():
            pass
        ended.set()

    call = open_tunnel(stand, SWITCH, until_end)
    call.wait(lambda now: now.is_tunnel)
    if how == RESET:
        call.send([RESET])
    else:
        call.close()
    assert ended.wait(3)


def test_much_in_both_directions_at_the_same_time(stand):
    """16 MiB each way, in pieces of many sizes, unchanged."""
    up, down = os.urandom(16 << 20), os.urandom(16 << 20)
    got = {}

    def both(connection, received):
        writer = threading.Thread(target=connection.stream.sendall, args=(down,))
        writer.start()
        digest, count = hashlib.sha256(after_head(connection)), len(after_head(connection))
        while count < len(up):
            data = connection.stream.recv(1 << 16)
            if not data:
                break
            digest.update(data)
            count += len(data)
        writer.join()
        got["up"] = digest.hexdigest()

    call = open_tunnel(stand, SWITCH, both, CLOSE)
    call.wait(lambda now: now.is_tunnel)
    # Not through `Call.wait`, which parses everything again for each piece.
    at, size = 0, 1
    while at < len(up):
        call.stream.sendall(up[at : at + size])
        at, size = at + size, size * 3 % 200_003
    deadline = time.monotonic() + 30
    while call.end == "open" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert tunnel_bytes(call) == down
    assert got["up"] == hashlib.sha256(up).hexdigest()
    call.close()


def test_an_upgraded_connection_holds_its_slot(stand):
    """R10, R14: one request inside until it closes; `single` has one slot."""
    call = open_tunnel(stand, SWITCH, EOF, api=b"single")
    call.wait(lambda now: now.is_tunnel)
    other = Call(stand.address, [b"GET"])
    other.send([get(b"/single/next")])
    assert other.wait(lambda now: now.complete, 0.4).complete == []
    call.close()
    assert other.wait(lambda now: now.complete, 3).statuses == [200]
    other.close()


def test_an_upgraded_connection_is_not_closed_for_being_idle(stand):
    """R5. Two seconds are more than every timeout for heads of the tests' platform that could be mistaken for it."""
    call = open_tunnel(stand, SWITCH, take(1), b"pong", EOF)
    call.wait(lambda now: now.is_tunnel)
    call.send([2.0, b"p"])
    assert wait_bytes(call, 4) == b"pong"
    call.close()


def test_a_refused_upgrade_executes_nothing_that_followed_as_part_of_it(stand):
    """R14, R27: what follows a refused handshake is a request of its own, or nothing."""
    stand.origin.begin([[ok(b"no", status=b"426 Upgrade Required")]])
    call = Call(stand.address, [b"GET", b"GET"])
    call.send([ASK, Until(1), b"\x81\x85\x00\x00\x00\x00hello"])
    outcome = call.wait(lambda now: now.end != "open", 3)
    assert outcome.statuses[0] == 426
    assert len(stand.origin.all()) == 1
    assert outcome.end != "open"
    call.close()


def test_the_request_after_a_refused_upgrade_is_served_or_the_connection_closed(stand):
    stand.origin.begin([[ok(b"no", status=b"426 Upgrade Required")], [ok(b"second")]])
    call = Call(stand.address, [b"GET", b"GET"])
    call.send([ASK, Until(1), get(b"/raw/second")])
    outcome = call.wait(lambda now: len(now.complete) > 1, 2)
    assert outcome.statuses[0] == 426
    assert outcome.end != "open" or outcome.responses[1].body == b"second"
    call.close()
