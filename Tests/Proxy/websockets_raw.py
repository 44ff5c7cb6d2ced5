"""Frames of WebSockets as bytes, and a caller that records everything that comes back."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n")
CONTINUATION, TEXT, BINARY, SHUT, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", final: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    length = len(payload)
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    key = b"\x11\x22\x33\x44"
    mask = int.from_bytes((key * (length // 4 + 1))[:length], "big") if length else 0
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(length, "big")


class Echo:
    """Waits until the frames with these payloads have come back."""

    def __init__(self, *payloads: bytes):
        self.size = sum(len(frame(BINARY, payload, masked=False)) for payload in payloads)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(SHUT, (struct.pack("!H", code) if code is not None else b"") + reason)


def talk(address: tuple, path: bytes, steps, fields: bytes = b"", with_handshake: bytes = b"", seconds: float = 20) -> tuple:
    """Opens a WebSocket, sends `steps` (bytes, pauses, Echo, "half-close"), and returns status line, all bytes after the head
    of the response, and how the connection ended."""
    stream = socket.create_connection(address, timeout=seconds)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.settimeout(None)
    received, end, changed = bytearray(), ["open"], threading.Condition()

    def read():
        while True:
            try:
                data = stream.recv(1 << 18)
            except OSError:
                data = None
            with changed:
                received.extend(data or b"")
                if not data:
                    end[0] = "reset" if data is None else "closed"
                changed.notify_all()
            if not data:
                return

    threading.Thread(target=read, daemon=True).start()

    def wait(condition, limit):
        deadline = time.monotonic() + limit
        with changed:
            while not condition() and end[0] == "open" and time.monotonic() < deadline:
                changed.wait(deadline - time.monotonic())

    stream.sendall(HANDSHAKE % (path, fields) + with_handshake)
    wait(lambda: b"\r\n\r\n" in received, seconds)
    expected = 0
    for step in steps:
        try:
            if step == "half-close":
                stream.shutdown(socket.SHUT_WR)
            elif isinstance(step, (int, float)):
                time.sleep(step)
            elif isinstance(step, Echo):
                expected += step.size
                wait(lambda: len(received) - received.find(b"\r\n\r\n") - 4 >= expected, seconds)
            else:
                stream.sendall(step)
        except OSError:
            break
    wait(lambda: False, seconds)
    stream.close()
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0]
    names = sorted(re.findall(rb"\r\n(sec-websocket-[a-z]+: [^\r]*)", head, re.IGNORECASE))
    return status.split(b" ")[1:2], names, rest, end[0]


