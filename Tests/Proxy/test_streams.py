"""R5, R9, R10, R13: streams, memory, callers that leave, containers that die."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

import http1
from caller import HALF, RESET, Call
from origin import BODY, EARLY, ok
from row import get, post
from stand import FULL

MEBIBYTE = 1 << 20
# A CI machine is slow and busy; the full run is for a calm one.
AMOUNT = (1024 if FULL else 96) * MEBIBYTE
PIECE = os.urandom(MEBIBYTE)


def connect(stand) -> socket.socket:
    stream = socket.create_connection(stand.address, timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def read_head(stream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        assert piece, data
        data += piece
    return data.partition(b"\r\n\r\n")[2]


class Memory:
    """The growth of the platform's memory, sampled while something runs."""

    def __init__(self, stand):
        self.stand, self.peak, self.done = stand, 0.0, threading.Event()

    def __enter__(self):
        self.before = self.stand.memory()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def run(self):
        while not self.done.wait(0.05):
            self.peak = max(self.peak, self.stand.memory())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    @property
    def growth(self) -> float:
        return max(0, self.peak - self.before)


@pytest.fixture
def warm(stand):
    """Buffers that are allocated once are no growth."""
    download(stand, 8 * MEBIBYTE)
    return stand


def sends(amount):
    def step(connection, received):
        for _ in range(amount // MEBIBYTE):
            connection.stream.sendall(PIECE)
    return step


def download(stand, amount):
    stand.origin.begin([[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % amount, sends(amount)]])
    with connect(stand) as stream:
        stream.sendall(get(b"/raw/down"))
        count = len(read_head(stream))
        while count < amount:
            piece = stream.recv(MEBIBYTE)
            assert piece, f"{count} of {amount}"
            count += len(piece)
    return count


def test_a_large_body_down_needs_little_memory(warm):
    with Memory(warm) as memory:
        began = time.monotonic()
        assert download(warm, AMOUNT) == AMOUNT
    print(f"down: {AMOUNT / MEBIBYTE / (time.monotonic() - began):.0f} MiB/s, memory + {memory.growth:.1f} MiB")
    assert memory.growth < 16


def test_a_large_body_up_needs_little_memory(warm):
    counts = []

    def consume(connection, received):
        head = http1.parse(connection.buffer)
        count = len(connection.buffer) - head.head_size
        connection.buffer = connection.buffer[: head.head_size]
        while count < AMOUNT:
            piece = connection.stream.recv(MEBIBYTE)
            if not piece:
                break
            count += len(piece)
        counts.append(count)
        connection.stream.sendall(ok())
        return False

    warm.origin.begin([[EARLY, consume]])
    with Memory(warm) as memory, connect(warm) as stream:
        began = time.monotonic()
        stream.sendall(post(b"/raw/up", b"Content-Length: %d" % AMOUNT))
        for _ in range(AMOUNT // MEBIBYTE):
            stream.sendall(PIECE)
        assert b"200 OK" in stream.recv(65536)
    print(f"up: {AMOUNT / MEBIBYTE / (time.monotonic() - began):.0f} MiB/s, memory + {memory.growth:.1f} MiB")
    assert counts == [AMOUNT]
    assert memory.growth < 16


def test_a_large_body_echoed_needs_little_memory(warm):
    """Both directions at the same time, in chunks upwards."""
    def echo(connection, received):
        connection.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % AMOUNT)
        head = http1.parse(connection.buffer)
        count = len(connection.buffer) - head.head_size
        connection.stream.sendall(connection.buffer[head.head_size :])
        connection.buffer = connection.buffer[: head.head_size]
        while count < AMOUNT:
            piece = connection.stream.recv(MEBIBYTE)
            if not piece:
                break
            count += len(piece)
            connection.stream.sendall(piece)
        return False

    warm.origin.begin([[EARLY, echo]])
    with Memory(warm) as memory, connect(warm) as stream:
        began = time.monotonic()
        stream.sendall(post(b"/raw/echo", b"Content-Length: %d" % AMOUNT))

        def write():
            for _ in range(AMOUNT // MEBIBYTE):
                stream.sendall(PIECE)

        writer = threading.Thread(target=write)
        writer.start()
        data, count, at = read_head(stream), 0, 0
        while True:
            # Compares a sample of each piece; all bytes would cost more than the proxy does.
            expected = (PIECE + PIECE)[at : at + min(len(data), 4096)]
            assert data[:4096] == expected
            count, at = count + len(data), (at + len(data)) % MEBIBYTE
            if count >= AMOUNT:
                break
            data = stream.recv(MEBIBYTE)
            assert data
        writer.join()
    print(f"echo: {AMOUNT / MEBIBYTE / (time.monotonic() - began):.0f} MiB/s, memory + {memory.growth:.1f} MiB")
    assert count == AMOUNT
    assert memory.growth < 16


def test_a_slow_reader_stops_the_container(warm):
    """R5: at most 256 KiB are held; beyond them the sockets' buffers are full."""
    sent = [0]

    def pour(connection, received):
        connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.stream.settimeout(2)
        try:
            while sent[0] < 256 * MEBIBYTE:
                sent[0] += connection.stream.send(PIECE)
        except OSError:
            return False

    warm.origin.begin([[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MEBIBYTE), pour]])
    with Memory(warm) as memory, socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stream.connect(warm.address)
        stream.sendall(get(b"/raw/slow"))
        stream.recv(1)
        time.sleep(1.5)
        reached = sent[0]
    assert reached < 32 * MEBIBYTE
    assert memory.growth < 16


def test_a_slow_container_stops_the_caller(warm):
    """R5, the other direction."""
    release = threading.Event()

    def hold(connection, received):
        release.wait(10)
        return False

    warm.origin.begin([[EARLY, hold]])
    sent = 0
    with Memory(warm) as memory, connect(warm) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        stream.sendall(post(b"/raw/slow", b"Content-Length: %d" % (256 * MEBIBYTE)))
        stream.settimeout(1)
        try:
            while sent < 256 * MEBIBYTE:
                sent += stream.send(PIECE)
        except OSError:
            pass
        release.set()
    assert sent < 32 * MEBIBYTE
    assert memory.growth < 16


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_each_byte_arrives_at_once(framing, stand):
    """R5: a byte that the container has written is sent on at once."""
    count, pause = (10, 1.0) if FULL else (6, 0.15)
    moments = []

    def drip(connection, received):
        for number in range(count):
            time.sleep(pause)
            moments.append(time.monotonic())
            connection.stream.sendall(b"1\r\n%d\r\n" % number if framing == "chunked" else b"%d" % number)
        connection.stream.sendall(b"0\r\n\r\n" if framing == "chunked" else b"")
        return framing != "close"

    line = {"chunked": b"Transfer-Encoding: chunked\r\n", "length": b"Content-Length: %d\r\n" % count, "close": b""}[framing]
    stand.origin.begin([[b"HTTP/1.1 200 OK\r\n" + line + b"\r\n", drip]])
    call = Call(stand.address, [b"GET"], timeout=30)
    call.send([get(b"/raw/drip")])
    delays = []
    for number in range(count):
        call.wait(lambda now: now.responses and len(now.responses[0].body) > number)
        delays.append(time.monotonic() - moments[number])
    call.close()
    assert sorted(delays)[count // 2] < 0.02, delays
    assert max(delays) < 0.1, delays


def test_each_byte_of_the_caller_arrives_at_once(stand):
    """R5: the request streams, too, before its end."""
    moments, arrived = [], []

    def watch(connection, received):
        seen = 0
        while not received.message.is_complete and connection.receive():
            received.message = http1.parse(connection.buffer)
            if len(received.message.body) > seen:
                seen = len(received.message.body)
                arrived.append(time.monotonic())

    stand.origin.begin([[EARLY, watch, ok()]])
    call = Call(stand.address, [b"POST"], timeout=30)
    call.send([post(b"/raw/drip", b"Transfer-Encoding: chunked")])
    for _ in range(6):
        time.sleep(0.15)
        moments.append(time.monotonic())
        call.send([b"1\r\nx\r\n"])
    call.send([b"0\r\n\r\n"])
    assert call.wait(lambda now: now.complete).statuses == [200]
    call.close()
    delays = [there - here for here, there in zip(moments, arrived)]
    assert len(delays) == 6
    assert sorted(delays)[3] < 0.02, delays


# R13: callers that leave.

def until_gone(moments):
    def step(connection, received):
        while connection.receive():
            pass
        moments.append(time.monotonic())
        return False
    return step


LEAVE = {"close": lambda call: call.close(), "reset": lambda call: call.send([RESET]), "half-close": lambda call: call.send([HALF])}


@pytest.mark.parametrize("how", LEAVE)
@pytest.mark.parametrize("state", ["before the response", "during the response", "during the request"])
def test_a_caller_that_leaves_frees_its_slot(state, how, stand):
    """R13: the container's connection is closed within 100 ms, and the next request gets the slot."""
    delays = []
    for _ in range(5):
        moments = []
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"
        stand.origin.begin([[EARLY, *([head] if state == "during the response" else []), until_gone(moments)]])
        call = Call(stand.address, [b"GET"])
        call.send([post(b"/single/a", b"Content-Length: 9", body=b"part") if state == "during the request" else get(b"/single/a")])
        stand.origin.wait(1)
        if state == "during the response":
            call.wait(lambda now: now.responses and now.responses[0].body == b"some")
        other = Call(stand.address, [b"GET"])
        other.send([get(b"/single/b")])
        time.sleep(0.05)
        inside = [item.message.target for item in stand.origin.all()]
        assert inside == [b"/a"], "two requests inside a replica with one slot"
        left = time.monotonic()
        LEAVE[how](call)
        assert other.wait(lambda now: now.complete, 3).statuses == [200]
        answered = time.monotonic()
        deadline = answered + 2
        while not moments and time.monotonic() < deadline:
            time.sleep(0.001)
        delays.append(max([answered, *moments]) - left)
        other.close()
        call.close()
    # Other programs of a busy machine delay single ones.
    assert sorted(delays)[2] < 0.1, delays


@pytest.mark.parametrize("how", LEAVE)
def test_a_waiting_caller_that_leaves_is_never_delivered(how, stand):
    """R13: it leaves the queue; the order of the others stays (R10)."""
    release = threading.Event()
    stand.origin.begin([[BODY, lambda *_: release.wait(10) and None, ok()]])
    calls = []
    for name in (b"a", b"b", b"c", b"d"):
        calls.append(Call(stand.address, [b"GET"]))
        calls[-1].send([get(b"/single/" + name)])
        # The order of arrival is that at the gate.
        time.sleep(0.15)
    LEAVE[how](calls[1])
    time.sleep(0.1)
    release.set()
    assert calls[3].wait(lambda now: now.complete, 5).statuses == [200]
    assert [item.message.target for item in stand.origin.all()] == [b"/a", b"/c", b"/d"]
    for call in calls:
        call.close()


# R9: containers that die.

def processes(stand, name) -> list[int]:
    """The container's processes of an API, by their command line."""
    found = []
    for process in stand.platform.processes():
        try:
            words = open(f"/proc/{process}/cmdline", "rb").read().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and words[0].endswith(b"python3"):
            found.append(process)
    return found


# The end of a response without length or chunks is the same packet, whether its sender ended or died.
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_container_that_is_killed_leaves_no_complete_response(framing, stand):
    """R9: kill -9 while the response streams. The container `dying` is the only holder of its sockets."""
    stand.deploy(stand.program("dying"))
    call = Call(stand.address, [b"GET"], timeout=20)
    call.send([get(b"/dying/" + framing.encode())])
    call.wait(lambda now: now.responses and len(now.responses[0].body) > 3)
    killed = [os.kill(process, signal.SIGKILL) for process in processes(stand, "/app/dying.py")]
    assert killed
    outcome = call.wait(lambda now: now.end != "open", 5)
    assert outcome.end != "open"
    assert not outcome.responses[0].is_complete
    call.close()


def test_the_api_serves_again_after_its_container_was_killed(stand):
    """R16, R21: requests wait for the restarted container."""
    call = Call(stand.address, [b"GET"], timeout=60)
    call.send([get(b"/dying/once")])
    outcome = call.wait(lambda now: now.complete)
    assert outcome.statuses[0] in (200, 502, 503)
    call.close()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        call = Call(stand.address, [b"GET"], timeout=30)
        call.send([get(b"/dying/once")])
        statuses = call.wait(lambda now: now.complete).statuses
        call.close()
        if statuses == [200]:
            return
        time.sleep(0.2)
    raise AssertionError(f"still {statuses}")
