"""One client in several processes, threads and event loops: no socket is used twice (O5)."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import pickle
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, Iterator, List, Set, Tuple

import httpx
import pytest

import cortex


class Gateway(BaseHTTPRequestHandler):
    """Completes each request with its own payload, and records the payloads of each connection."""

    protocol_version = "HTTP/1.1"
    results: Dict[str, bytes] = {}  # noqa: RUF012
    connections: Dict[Tuple[str, int], Set[str]] = {}  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        who = str(json.loads(body)["who"])
        self.connections.setdefault(self.client_address, set()).add(who)
        name = self.headers["Idempotency-Key"]
        self.results[name] = body
        self._answer(b'{"id":"%s"}' % name.encode())

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        fields = b'"timestamp":"2026-01-01T00:00:00Z","attempts":1'
        self._answer(b'{"id":"%s","status":"completed","result":%s,%s}' % (name.encode(), self.results[name], fields))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A child that ends closes its connections."""


@pytest.fixture
def url() -> Iterator[str]:
    Gateway.results.clear()
    Gateway.connections.clear()
    server = Server(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/mirror"
    server.shutdown()
    server.server_close()


assert issubclass(Server, socketserver.TCPServer)
_endpoint: List[Any] = []


def _work(who: str) -> List[str]:
    """The wrong results; empty if every result was the request's own."""
    wrong = []
    for number in range(20):
        mine = {"who": who, "number": number}
        try:
            got = _endpoint[0].submit(mine).result(wait=20)
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        if got != mine:
            wrong.append(f"{got} for {mine}")
    return wrong


def test_a_client_used_before_a_fork_gives_every_process_its_own_results(url: str) -> None:
    _endpoint[:] = [cortex.Endpoint(url)]
    assert _work("before") == []
    with multiprocessing.get_context("fork").Pool(4) as pool:
        children = pool.map_async(_work, [f"child {number}" for number in range(4)], chunksize=1)
        assert _work("parent") == []
        assert children.get(60) == [[], [], [], []]
    processes = [{each.split()[0] for each in who} - {"before"} for who in Gateway.connections.values()]
    # A pool's process may do the work of several children, but no connection is used by the parent and a child.
    assert not any({"parent", "child"} <= each for each in processes)


def _asynchronous(who: str) -> List[str]:
    async def body() -> List[str]:
        wrong = []
        for number in range(10):
            mine = {"who": who, "number": number}
            got = await (await _endpoint[0].submit(mine)).result(wait=20)
            if got != mine:
                wrong.append(f"{got} for {mine}")
        return wrong

    return asyncio.run(body())


def test_an_asynchronous_client_works_in_each_loop_and_process(url: str) -> None:
    _endpoint[:] = [cortex.AsyncEndpoint(url)]
    for number in range(3):
        assert _asynchronous(f"loop {number}") == []
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_asynchronous, ["child 1", "child 2"]) == [[], []]
    # Two loops at the same time, in two threads.
    found: List[List[str]] = []
    threads = [threading.Thread(target=lambda n=n: found.append(_asynchronous(f"thread {n}"))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [[], []]


def test_an_asynchronous_client_closes_from_another_loop_and_says_so(url: str) -> None:
    endpoint = cortex.AsyncEndpoint(url)

    async def once() -> Any:
        return await (await endpoint.submit({"who": "x"})).result(wait=20)

    asyncio.run(once())
    asyncio.run(endpoint.close())
    with pytest.raises(cortex.InvalidArgument, match="was closed"):
        asyncio.run(once())
    with pytest.raises(cortex.NotSupported, match="asyncio"):
        endpoint.close().send(None)


def test_a_closed_client_says_so(url: str) -> None:
    endpoint = cortex.Endpoint(url)
    endpoint.close()
    with pytest.raises(cortex.InvalidArgument, match="was closed"):
        endpoint.submit({"who": "x"})


def test_endpoints_and_requests_can_be_pickled_but_not_with_a_given_http_client(url: str) -> None:
    endpoint = cortex.Endpoint(url)
    request = endpoint.submit({"who": "x"})
    assert pickle.loads(pickle.dumps(endpoint)).submit({"who": "y"}).result(wait=20) == {"who": "y"}
    assert pickle.loads(pickle.dumps(request)).result(wait=20) == {"who": "x"}
    with httpx.Client() as http, pytest.raises(cortex.InvalidArgument, match="pickled"):
        pickle.dumps(cortex.Endpoint(url, http=http))


def _use(_: int) -> str:
    try:
        _endpoint[0].submit({"who": "child"})
    except cortex.InvalidArgument as error:
        return str(error)
    return "used"


def test_a_given_http_client_is_not_used_after_a_fork(url: str) -> None:
    with httpx.Client() as http:
        _endpoint[:] = [cortex.Endpoint(url, http=http)]
        _endpoint[0].submit({"who": "parent"})
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert "before the fork" in pool.map(_use, [0])[0]
