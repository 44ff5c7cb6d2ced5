"""A caller of raw bytes: sends given pieces, reads with the strict parser, and notes how the connection ended."""

from __future__ import annotations

import select
import socket
import threading
import time
from dataclasses import dataclass, field

import http1
from origin import reset

# Steps besides bytes (sent at once) and numbers (pause in seconds).
HALF = "half-close"
RESET = "reset"
CLOSE = "close"


@dataclass(frozen=True)
class Until:
    """Waits until this many final responses are complete."""

    count: int


@dataclass(frozen=True)
class Bytewise:
    """Sent in pieces of `size` bytes, each with a segment of its own."""

    data: bytes
    size: int = 1


def data_of(step) -> bytes:
    return step if isinstance(step, bytes) else step.data if isinstance(step, Bytewise) else b""


@dataclass
class Outcome:
    responses: list = field(default_factory=list)  # final responses, the last one possibly incomplete
    interim: list = field(default_factory=list)
    rest: bytes = b""
    fault: str = ""
    end: str = "open"  # open, closed, reset

    @property
    def statuses(self) -> list:
        return [response.status for response in self.responses]

    @property
    def is_tunnel(self) -> bool:
        return self.statuses[-1:] == [101]

    @property
    def complete(self) -> list:
        return [response for response in self.responses if response.is_complete]


class Call:
    def __init__(self, address: tuple, methods=(), timeout: float = 6):
        self.stream = socket.create_connection(address, timeout=timeout)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.settimeout(None)
        self.methods = list(methods)
        self.data, self.end = b"", "open"
        self.deadline = time.monotonic() + timeout
        self.changed = threading.Condition()
        # A socket that a thread reads is not closed until it returns; this pair wakes it.
        self.wake, waker = socket.socketpair()
        self.reader = threading.Thread(target=self.read, args=(waker,), daemon=True)
        self.reader.start()

    def read(self, waker: socket.socket) -> None:
        watched = select.poll()
        watched.register(self.stream, select.POLLIN)
        watched.register(waker, select.POLLIN)
        while True:
            if any(number == waker.fileno() for number, _ in watched.poll()):
                return
            try:
                piece = self.stream.recv(1 << 18)
            except OSError:
                piece = None
            with self.changed:
                if piece:
                    self.data += piece
                else:
                    self.end = "reset" if piece is None else "closed"
                self.changed.notify_all()
            if not piece:
                return

    def outcome(self) -> Outcome:
        """What the bytes received until now are."""
        outcome = Outcome(end=self.end)
        data, methods = self.data, list(self.methods)
        while data:
            try:
                message = http1.parse(data, methods[0] if methods else b"GET", eof=self.end == "closed")
            except http1.Malformed as fault:
                outcome.fault = str(fault)
                break
            if message is None:
                break
            data = data[message.size :]
            if message.status < 200 and message.status != 101:
                outcome.interim.append(message)
                continue
            outcome.responses.append(message)
            methods = methods[1:]
            if not message.is_complete or message.status == 101:
                break
        outcome.rest = data
        return outcome

    def wait(self, condition, seconds: float | None = None) -> Outcome:
        """Waits until `condition(outcome)` holds, the connection has ended, or the deadline is reached."""
        deadline = self.deadline if seconds is None else min(self.deadline, time.monotonic() + seconds)
        with self.changed:
            while True:
                outcome = self.outcome()
                left = deadline - time.monotonic()
                if condition(outcome) or outcome.end != "open" or left <= 0:
                    return outcome
                self.changed.wait(left)

    def send(self, steps) -> None:
        for step in steps:
            try:
                self.play(step)
            except OSError:
                # The other side has closed; its response may have been received.
                return

    def play(self, step) -> None:
        if isinstance(step, Until):
            self.wait(lambda outcome: len(outcome.complete) >= step.count)
        elif isinstance(step, Bytewise):
            for at in range(0, len(step.data), step.size):
                self.stream.sendall(step.data[at : at + step.size])
                time.sleep(0.0005)
        elif isinstance(step, (int, float)):
            time.sleep(step)
        elif step == HALF:
            self.stream.shutdown(socket.SHUT_WR)
        elif step == RESET:
            self.stop_reading()
            reset(self.stream)
        elif step == CLOSE:
            self.stream.shutdown(socket.SHUT_RDWR)
        else:
            self.stream.sendall(step)

    def stop_reading(self) -> None:
        self.wake.close()
        self.reader.join()

    def close(self) -> None:
        self.stop_reading()
        self.stream.close()
