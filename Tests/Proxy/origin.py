"""A container that records the exact bytes of each request and plays scripted responses.

Its sockets belong to the test's process: the program inside the container (`holder.py`) only passes its listening
socket. So a test sees what arrived, and controls how a connection ends.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
import time
from dataclasses import dataclass

import http1

# Steps of a script besides bytes (sent) and numbers (pause in seconds).
BODY = "wait for the end of the request"
EARLY = "do not wait for the end of the request"
FIN = "end of output"
CLOSE = "close"
RESET = "reset"
EOF = "wait until the other side closes"


def ok(body: bytes = b"ok", *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@dataclass
class Received:
    """One request, or what was received of it."""

    raw: bytes
    message: http1.Message | None
    connection: int
    fault: str = ""

    @property
    def is_complete(self) -> bool:
        return self.message is not None and self.message.is_complete


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Connection:
    def __init__(self, origin: Origin, number: int, stream: socket.socket):
        self.origin, self.number, self.stream = origin, number, stream
        self.buffer, self.ended, self.is_over = b"", "", False
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self.run, daemon=True).start()

    def receive(self) -> bool:
        try:
            data = self.stream.recv(1 << 18)
        except OSError as error:
            self.ended = type(error).__name__
            return False
        if not data:
            self.ended = "fin"
            return False
        self.buffer += data
        return True

    def run(self) -> None:
        try:
            while self.serve():
                pass
        except OSError:
            pass
        finally:
            self.is_over = True
            self.stream.close()

    def parse(self) -> http1.Message | None:
        return http1.parse(self.buffer)

    def serve(self) -> bool:
        """Reads one request and plays its script. False: the connection is at its end."""
        try:
            while (message := self.parse()) is None:
                if not self.receive():
                    if self.buffer:
                        self.origin.add(Received(self.buffer, None, self.number, "incomplete head"))
                    return False
            received = Received(b"", message, self.number)
            self.origin.add(received)
            script = self.origin.script(message)
            if BODY not in script and EARLY not in script and not any(map(callable, script)):
                script = [BODY, *script]
            for step in script:
                if not self.play(step, received):
                    return False
            self.buffer = self.buffer[received.message.size :]
            return True
        except http1.Malformed as fault:
            self.origin.add(Received(self.buffer, None, self.number, str(fault)))
            return False

    def play(self, step, received: Received) -> bool:
        if step == EARLY:
            pass
        elif step == BODY:
            while not (message := self.parse()).is_complete:
                received.message, received.raw = message, self.buffer[: message.size]
                if not self.receive():
                    received.message, received.raw = self.parse(), self.buffer
                    return False
            received.message, received.raw = message, self.buffer[: message.size]
        elif step == FIN:
            self.stream.shutdown(socket.SHUT_WR)
        elif step in (CLOSE, RESET):
            if step == RESET:
                reset(self.stream)
            return False
        elif step == EOF:
            while self.receive():
                pass
            return False
        elif isinstance(step, (int, float)):
            time.sleep(step)
        elif callable(step):
            return step(self, received) is not False
        else:
            self.stream.sendall(step)
        return True


class Origin:
    """Accepts on any number of listening sockets."""

    def __init__(self):
        self.lock = threading.Condition()
        self.received: list[Received] = []
        self.connections: list[Connection] = []
        self.scripts: list = []
        self.answer = None
        self.count = 0

    def listen(self) -> int:
        """Listens on a free port of this machine; returns the port."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.accept_on(listener)
        return listener.getsockname()[1]

    def accept_on(self, listener: socket.socket) -> None:
        listener.settimeout(None)
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.count += 1
                self.connections = [item for item in self.connections if not item.is_over]
                self.connections.append(Connection(self, self.count, stream))

    def add(self, received: Received) -> None:
        with self.lock:
            self.received.append(received)
            self.lock.notify_all()

    def script(self, message: http1.Message) -> list:
        if message.target.endswith(b"/__after"):
            return [ok(b"after")]
        with self.lock:
            if self.answer:
                return self.answer(message)
            if self.scripts:
                return list(self.scripts.pop(0))
            answer = ok()
            return [answer[:-2] if message.method == b"HEAD" else answer]

    def begin(self, scripts=(), answer=None) -> None:
        """Forgets what was received. The next requests get `scripts` in this order, all later ones a short 200; with
        `answer`, a function from a request to a script, all get that."""
        with self.lock:
            self.received, self.scripts, self.answer = [], [list(script) for script in scripts], answer

    def wait(self, count: int, seconds: float = 5) -> list[Received]:
        """Waits until `count` heads have arrived."""
        with self.lock:
            self.lock.wait_for(lambda: len(self.received) >= count, seconds)
            return list(self.received)

    def all(self) -> list[Received]:
        with self.lock:
            return list(self.received)

    def unread(self) -> bytes:
        """Bytes on connections that belong to no complete request."""
        with self.lock:
            return b"".join(item.buffer for item in self.connections if not item.is_over)

    def open_connections(self) -> int:
        with self.lock:
            return sum(not item.is_over for item in self.connections)


class Reception:
    """A unix socket in a folder of containers. Each container passes its listening socket, with the name of its API."""

    def __init__(self, folder: str):
        self.path = os.path.join(folder, "s")
        self.sockets: dict[str, list[socket.socket]] = {}
        self.lock = threading.Condition()
        self.handlers: dict[str, object] = {}
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        os.chmod(self.path, 0o777)
        listener.listen(64)
        threading.Thread(target=self.run, args=(listener,), daemon=True).start()

    def run(self, listener: socket.socket) -> None:
        while True:
            stream, _ = listener.accept()
            space = socket.CMSG_SPACE(array.array("i").itemsize)
            name, ancillary, _, _ = stream.recvmsg(200, space)
            for _, _, data in ancillary:
                (number,) = struct.unpack("i", data[:4])
                passed = socket.socket(fileno=number)
                self.arrived(name.decode(), passed)
            # The container waits for this byte before it says that it listens.
            stream.sendall(b"1")
            stream.close()

    def arrived(self, name: str, passed: socket.socket) -> None:
        with self.lock:
            self.sockets.setdefault(name, []).append(passed)
            handler = self.handlers.get(name)
            self.lock.notify_all()
        if handler:
            handler(passed)

    def expect(self, name: str, handler) -> None:
        """`handler` gets the listening socket of every replica of this API."""
        self.handlers[name] = handler
