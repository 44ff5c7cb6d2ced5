"""R13: callers that disappear without a packet. They live in a network namespace that loses its address."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from conftest import PROGRAM
from origin import BODY, EARLY, EOF
from row import get
from stand import Stand

NAMESPACE, OUTER, INNER = f"cortex{os.getpid()}", f"cxo{os.getpid()}", f"cxi{os.getpid()}"
HERE, THERE = "10.213.7.1", "10.213.7.2"


def ip(*arguments) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(scope="module")
def network():
    """A namespace behind a pair of interfaces; vanish() makes it silent: what is sent to it gets no answer at all."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("needs root and the program ip")
    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", OUTER, "type", "veth", "peer", "name", INNER, "netns", NAMESPACE)
        ip("addr", "add", HERE + "/30", "dev", OUTER)
        ip("link", "set", OUTER, "up")
        ip("-n", NAMESPACE, "addr", "add", THERE + "/30", "dev", INNER)
        ip("-n", NAMESPACE, "link", "set", INNER, "up")
        yield lambda: ip("-n", NAMESPACE, "addr", "flush", "dev", INNER)
    finally:
        ip("netns", "delete", NAMESPACE)


@pytest.fixture(scope="module")
def outside(network):
    running = Stand(PROGRAM, ("--host", HERE), with_containers=False)
    yield running
    running.stop()


def connect(address) -> socket.socket:
    """A connection from inside the namespace: the socket stays there, the thread that enters it ends."""
    made = []

    def run():
        with open(f"/var/run/netns/{NAMESPACE}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_connection(address, timeout=10))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]


def flows(connection, received):
    """A response of which bytes are always on their way."""
    connection.stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.stream.sendall(b"1\r\nx\r\n")
        time.sleep(0.2)


SCRIPTS = {
    b"/inside": [BODY, EOF],
    b"/interim": [BODY, 1.5, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", EOF],
    b"/begun": [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", EOF],
    b"/flows": [flows],
    b"/upgraded": [EARLY, b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", EOF],
}


def test_callers_that_vanish_free_their_slots(outside, network):
    """Before and in a response, with and without bytes on their way, upgraded, and waiting: all within 60 s."""
    outside.origin.begin(answer=lambda message: SCRIPTS[message.target])
    callers = []

    def call(path, *lines):
        callers.append(connect(outside.address))
        callers[-1].sendall(get(path, *lines))

    def load(api):
        requests = outside.platform.describe(api)["requests"]
        return requests["waiting"], requests["inside"]

    def until(api, wanted, seconds):
        outside.platform.until(api, lambda _: load(api) == wanted, seconds)

    for path in (b"/inside", b"/begun", b"/flows"):
        call(b"/raw" + path)
    call(b"/raw/upgraded", b"Connection: upgrade", b"Upgrade: foo")
    call(b"/single/inside")
    until("single", (0, 1), 5)
    call(b"/single/inside")
    until("single", (1, 1), 5)
    until("raw", (0, 4), 5)
    # Its container sends the interim response when the caller is gone already.
    call(b"/raw/interim")
    until("raw", (0, 5), 5)
    network()
    began = time.monotonic()
    for api in ("raw", "single"):
        until(api, (0, 0), 60 - (time.monotonic() - began))
    print(f"all slots are free after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began > 10, "they were seen to leave"
    for caller in callers:
        caller.close()
