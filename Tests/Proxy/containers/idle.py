"""A container that closes a connection that is idle for IDLE seconds with FIN, as servers written in Go do.

POST /ID counts the deliveries of this id and answers with the count. GET /total answers with how many ids were
delivered, how often the one that was delivered most, and how many connections received bytes in the microseconds
around their end: for these nothing proves whether the bytes came before. GET anything else answers with ANSWER, after
DELAY seconds."""

import os
import selectors
import signal
import socket
import time

IDLE = float(os.environ.get("IDLE", "0.05"))
ANSWER = os.environ.get("ANSWER", "ok").encode()
DELAY = float(os.environ.get("DELAY", "0"))
deliveries, around_the_end = {}, 0
selector = selectors.DefaultSelector()
connections = {}


class Connection:
    def __init__(self, stream):
        self.stream, self.buffer, self.since, self.answers = stream, b"", time.monotonic(), []
        # The time begins with the first answer, as that of Go's IdleTimeout does.
        self.is_kept = False
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(stream, selectors.EVENT_READ, self)
        connections[stream] = self

    def close(self):
        selector.unregister(self.stream)
        del connections[self.stream]
        self.stream.close()

    def read(self):
        try:
            data = self.stream.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            return True
        self.buffer += data
        self.since = time.monotonic()
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(self.buffer) < end + 4 + length:
                break
            self.buffer = self.buffer[end + 4 + length :]
            self.answers.append((time.monotonic() + DELAY, self.serve(*head.split(b" ")[:2])))
        return True

    def serve(self, method, target):
        if method == b"POST":
            deliveries[target] = deliveries.get(target, 0) + 1
            body = b"%d" % deliveries[target]
        elif target == b"/total":
            body = b"%d %d %d" % (len(deliveries), max(deliveries.values(), default=0), around_the_end)
        else:
            body = ANSWER
        return b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def answer(self, now):
        while self.answers and self.answers[0][0] <= now:
            try:
                self.stream.sendall(self.answers.pop(0)[1])
            except OSError:
                return self.close()
            self.since, self.is_kept = time.monotonic(), True

    def end_if_idle(self, now):
        global around_the_end
        if not self.is_kept or self.answers or self.buffer or now - self.since < IDLE or self.read():
            return
        self.stream.shutdown(socket.SHUT_WR)
        try:
            around_the_end += bool(self.stream.recv(1))
        except OSError:
            pass
        self.close()


def main():
    listener = socket.create_server(("0.0.0.0", int(os.environ.get("CORTEX_PORT", 8080))), backlog=1024)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(time.monotonic()))
    while not stopping or any(item.answers for item in connections.values()):
        for key, _ in selector.select(0.001 if connections else 0.1):
            if key.data is not None:
                if key.fileobj in connections:
                    key.data.read()
                continue
            try:
                Connection(listener.accept()[0])
            except BlockingIOError:
                pass
        now = time.monotonic()
        for connection in list(connections.values()):
            connection.answer(now)
            if connection.stream in connections:
                connection.end_if_idle(now)


main()
