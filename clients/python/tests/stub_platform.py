"""An operator and a gateway on a free port of this machine, whose answers a test writes itself, part by part."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Optional, Tuple

import cortex
from cortex.environments import Environment

#: Longest wait of a test for an event, in seconds.
TIMEOUT = 30.0


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.method, self.target = handler.command, handler.path
        self.headers = handler.headers
        self._is_chunked = False

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(self._handler.rfile.readline(), 16)
        chunk = self._handler.rfile.read(size)
        self._handler.rfile.readline()
        return chunk

    def read(self) -> bytes:
        """The whole body."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(iter(self.read_chunk, b""))
        return self._handler.rfile.read(int(self.headers.get("Content-Length", 0)))

    def begin(self, status: int = 200, *, chunked: bool = True, **fields: str) -> None:
        self._handler.send_response(status)
        self._is_chunked = chunked
        if chunked:
            self._handler.send_header("Transfer-Encoding", "chunked")
        for name, value in fields.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()

    def write(self, part: bytes) -> None:
        self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if self._is_chunked else part)

    def end(self) -> None:
        self._handler.wfile.write(b"0\r\n\r\n")

    def cut(self) -> None:
        self._handler.close_connection = True

    def is_left(self) -> bool:
        """Whether the caller has closed the connection; waits for it."""
        self._handler.connection.settimeout(TIMEOUT)
        try:
            return self._handler.connection.recv(1) == b""
        except ConnectionResetError:
            return True
        finally:
            self.cut()

    def answer(self, status: int, body: bytes, **fields: str) -> None:
        self.begin(status, chunked=False, Content_Length=str(len(body)), **fields)
        self.write(body)


Route = Callable[[Exchange], None]


class StubPlatform:
    """Answers with `routes`, by method and path; records what it was asked."""

    def __init__(self) -> None:
        stub = self
        self.routes: Dict[Tuple[str, str], Route] = {}
        self.asked: List[Exchange] = []
        self.connections = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub.connections += 1

            def parse_request(self) -> bool:
                if not super().parse_request():
                    return False
                stub._serve(self)
                return False

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        exchange = Exchange(handler)
        self.asked.append(exchange)
        route = self.routes.get((exchange.method, exchange.target.split("?")[0]))
        if route is None:
            error = {"error": {"kind": "not_found", "message": f"there is no API at {exchange.target}"}}
            exchange.answer(404, json.dumps(error).encode(), X_Cortex_Origin="gateway")
        else:
            route(exchange)

    def deploy(self, name: str, kind: str, path: Optional[str] = None) -> None:
        api = {"metadata": {"name": name, "kind": kind}, "endpoint": self.url + (f"/{name}" if path is None else path)}
        self.routes["GET", f"/get/{name}"] = lambda exchange: exchange.answer(200, json.dumps([api]).encode())

    def environment(self) -> Environment:
        return Environment("stub", self.url, "secret")

    def client(self, **options: Any) -> cortex.Client:
        return cortex.Client(self.environment(), retry=cortex.Retry(attempts=2, initial=0.0), **options)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
