"""R27: of random mutations of valid pipelines the containers receive exactly the requests that h11 finds, or fewer."""

from __future__ import annotations

import os
import random
import re
import time

import h11
import pytest

from caller import Call
from row import get, post, request

SEED = int(os.environ.get("SEED", "20261130"))
ROUNDS = int(os.environ.get("PROXY_MUTATIONS", "600"))

VALID = [
    get(b"/raw/a"), get(b"/raw/b?q", b"X-A: 1", b"Cookie: a=b"), post(b"/raw/c", b"Content-Length: 5", body=b"hello"),
    post(b"/raw/d", b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    post(b"/raw/e", b"Transfer-Encoding: chunked", body=b"a\r\n0123456789\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
    request(b"DELETE /raw/f HTTP/1.1"), request(b"PUT /raw/g HTTP/1.1", b"Content-Length: 0"),
    post(b"/raw/h", b"Content-Length: 40", body=b"GET /raw/evil HTTP/1.1\r\nHost: h\r\n\r\n12345"),
    post(b"/raw/i", b"Content-Type: text/plain", b"Content-Length: 3", b"X-Last: 1", body=b"abc"),
]
INSERTED = [
    b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"1", b"f", b"-", b"+", b"x", b"\xff", b"\xe9", b"\x0b", b"\r\n\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Host: g\r\n", b"Connection: close\r\n", b"Connection: content-length\r\n", b"Expect: 100-continue\r\n",
    b"0\r\n\r\n", b"5\r\n", b"GET /raw/evil HTTP/1.1\r\nHost: h\r\n\r\n", b" HTTP/1.1", b"HTTP/1.0", b"\r\n folded", b"chunked, "]


def pipeline(dice: random.Random) -> bytes:
    return b"".join(dice.choice(VALID) for _ in range(dice.randrange(1, 5)))


def mutated(data: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        at = dice.randrange(len(data) + 1)
        kind = dice.randrange(6)
        if kind == 0:
            data = data[:at] + dice.choice(INSERTED) + data[at:]
        elif kind == 1:
            # At the beginning of a line, where it matters most.
            starts = [index + 2 for index in range(len(data) - 1) if data[index : index + 2] == b"\r\n"] or [0]
            at = dice.choice(starts)
            data = data[:at] + dice.choice(INSERTED) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + dice.randrange(1, 4) :]
        elif kind == 3 and at < len(data):
            data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        elif kind == 4:
            end = min(len(data), at + dice.randrange(1, 30))
            data = data[:end] + data[at:end] + data[end:]
        else:
            other = dice.randrange(len(data) + 1)
            data = data[: min(at, other)] + data[max(at, other) :] if dice.random() < 0.2 else data
    return data


def judged(data: bytes) -> list[tuple]:
    """The complete requests that h11 finds, until it refuses something. Empty lines before a request may be ignored
    (RFC 9112 2.2)."""
    found = []
    while True:
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(re.sub(rb"\A(\r\n)+", b"", data))
        try:
            request = connection.next_event()
            if not isinstance(request, h11.Request):
                return found
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
        except h11.RemoteProtocolError:
            return found
        if not isinstance(event, h11.EndOfMessage):
            return found
        found.append((request.method, request.target, body))
        options = b",".join(value for name, value in request.headers if name == b"connection").lower()
        if request.http_version == b"1.0" or b"close" in options:
            return found
        data = connection.trailing_data[0]


def stripped(target: bytes) -> bytes | None:
    """What the container must receive for a target of the caller; `None`: not compared."""
    if target.startswith(b"/raw"):
        rest = target[4:]
        return rest if rest.startswith(b"/") else b"/" + rest
    return None


def test_the_judge_finds_what_is_valid():
    for data in VALID:
        assert len(judged(data)) == 1, data
    assert len(judged(b"".join(VALID))) == len(VALID)


@pytest.mark.parametrize("part", range(10))
def test_containers_receive_what_h11_finds_or_fewer(part, stand):
    dice = random.Random(SEED * 10 + part)
    accepted = refused = 0
    for number in range(ROUNDS // 10):
        data = mutated(pipeline(dice), dice)
        wanted = judged(data)
        stand.origin.begin()
        call = Call(stand.address, timeout=2)
        at = dice.randrange(len(data) + 1)
        call.send([data[:at], 0.0005, data[at:]] if dice.random() < 0.5 else [data])
        # A caller that half-closes would have gone.
        call.wait(lambda now: len(now.complete) >= max(1, len(wanted)), 0.3)
        call.close()
        time.sleep(0.003)
        received = stand.origin.all()
        context = f"seed {SEED}, part {part}, round {number}: {data!r}\nh11: {wanted}\ncontainer: {[item.raw for item in received]}"
        assert all(item.message is not None for item in received), context
        got = [(item.message.method, item.message.target, item.message.body) for item in received if item.is_complete]
        # A request in the middle may be answered by the platform, such as with 404.
        left = iter(wanted)
        for seen in got:
            assert any(seen == (method, stripped(target), body) for method, target, body in left), context
        accepted += len(got)
        refused += len(wanted) - len(got)
    # Otherwise the test would prove nothing.
    assert accepted > ROUNDS // 100
    print(f"{accepted} requests arrived, {refused} more would have been acceptable to h11")
