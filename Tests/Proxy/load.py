"""Load of many kept connections, in one thread: every response is checked, every failure is kept."""

from __future__ import annotations

import asyncio
import collections
import threading
import time


class Load:
    """`connections` callers that send GETs to a path, one after the other. `check(status, fields, body)` returns a fault
    or `None`."""

    def __init__(self, address, path: str, check, connections: int = 50, pause: float = 0.0):
        self.address, self.path, self.check, self.connections, self.pause = address, path, check, connections, pause
        self.faults, self.bodies, self.origins = [], collections.Counter(), collections.Counter()
        self.count, self.slowest = 0, 0.0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    async def main(self):
        await asyncio.gather(*(self.caller() for _ in range(self.connections)))

    async def caller(self):
        reader = writer = None
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(*self.address)
                writer.write(f"GET {self.path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                status, fields, body = await asyncio.wait_for(self.response(reader), 30)
                fault = self.check(status, fields, body)
                self.bodies[body] += 1
                self.origins[fields.get(b"x-cortex-origin")] += 1
                # R5: only a response with `Connection: close` ends a connection.
                if b"close" in fields.get(b"connection", b""):
                    writer.close()
                    writer = None
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                fault = f"{type(error).__name__} {error}"
                writer = writer and writer.close()
            if fault:
                self.faults.append(f"{time.strftime('%T')} {fault}")
                await asyncio.sleep(0.05)
            self.count += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(self.pause)
        if writer:
            writer.close()

    @staticmethod
    async def response(reader):
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        return int(lines[0].split(b" ")[1]), fields, await reader.readexactly(int(fields[b"content-length"]))


def from_container(status, fields, body):
    """R18: no response other than the container's."""
    if status == 200 and b"x-own" in fields and fields.get(b"x-cortex-origin") in (b"api", b"activator"):
        return None
    return f"{status} {fields.get(b'x-cortex-origin')} {body[:300]!r}"
