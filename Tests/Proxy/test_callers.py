"""Callers and containers of many kinds (R1-R5, R7): each caller gets through the gateway what it gets directly."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from callers import CALLERS
from stand import containers

SERVERS = [name for name in containers() if name in ("uvicorn", "gunicorn", "hypercorn", "node")]
# What a caller or the platform sets itself; compared by other tests.
VOLATILE = {"host", "connection", "upgrade", "http2-settings", "keep-alive", "te", "transfer-encoding", "via", "forwarded",
            "x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "x-cortex-request-id"}


def stable(data: bytes) -> dict:
    document = json.loads(data)
    document["headers"] = sorted(pair for pair in document["headers"] if pair[0] not in VOLATILE)
    return document


# Every caller with one container, and a few callers with every container: the starts of programs cost the time.
PAIRS = [(caller, server) for caller in CALLERS for server in SERVERS
         if server == "uvicorn" or caller in ("curl", "http.client chunked", "aiohttp expect", "h11")]


@pytest.mark.parametrize(("caller", "server"), PAIRS)
def test_a_caller_gets_what_it_gets_directly(caller, server, stand, direct):
    for method, path, body in (("GET", "a/b;c=%2F?q=1&r=%20", None), ("POST", "p", b"x" * 3000)):
        headers = {"X-Own-Field": "value, with \"quotes\"", "Content-Type": "application/octet-stream"}
        # Directly, hypercorn would change to HTTP/2, which the gateway does not.
        baseline = "curl" if caller == "curl --http2" else caller
        expected = CALLERS[baseline](method, direct(server).url(path), body, headers)
        got = CALLERS[caller](method, stand.url(f"{server}/{path}"), body, headers)
        assert got[0] == expected[0] == 200
        assert stable(got[1]) == stable(expected[1])


@pytest.mark.parametrize("caller", [name for name in CALLERS if name != "java"])
def test_a_body_of_one_mebibyte_is_echoed(caller, stand):
    server = "node" if "node" in SERVERS else "hypercorn"
    body = bytes(range(256)) * 4096
    assert CALLERS[caller]("POST", stand.url(f"{server}/echo"), body, {}) == (200, body)


@pytest.mark.parametrize("server", SERVERS)
def test_events_arrive_one_by_one(server, stand):
    """R5: curl -N prints each event when the container sends it."""
    process = subprocess.Popen(["curl", "-sN", stand.url(f"{server}/events")], stdout=subprocess.PIPE)
    moments, lines = [], []
    for line in process.stdout:
        if line.strip():
            moments.append(time.monotonic())
            lines.append(line)
    assert process.wait(10) == 0
    assert lines == [b"data: %d\n" % number for number in range(5)]
    assert moments[-1] - moments[0] > 0.3


@pytest.mark.parametrize("server", SERVERS)
def test_kept_connections_around_the_keep_alive_timeout(server, stand):
    """R15: the containers close idle connections after about one second."""
    call = CALLERS["http.client"]
    for pause in (0, 0.95, 1.0, 1.05, 0):
        time.sleep(pause)
        assert call("POST", stand.url(f"{server}/p"), b"body", {})[0] == 200


def test_head_and_options(stand):
    for server in SERVERS:
        assert CALLERS["http.client"]("HEAD", stand.url(f"{server}/h"), None, {})[1] == b""
        assert CALLERS["http.client"]("OPTIONS", stand.url(f"{server}/h"), None, {"Origin": "http://x"})[0] == 200
