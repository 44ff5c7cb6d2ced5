"""Callers of many kinds. Each sends one request and returns the status and the body."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
import socket
import subprocess
import urllib.request
from urllib.parse import urlparse

import aiohttp
import h11
import httpx
import requests

HERE = os.path.dirname(os.path.abspath(__file__))


def run(*arguments, data: bytes | None = None) -> bytes:
    done = subprocess.run(arguments, input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, (arguments, done.stdout[-500:], done.stderr[-2000:])
    return done.stdout


def curl(*flags, with_body=()):
    def call(method, url, body, headers):
        fields = [item for name, value in headers.items() for item in ("-H", f"{name}: {value}")]
        data = [*with_body, "--data-binary", "@-"] if body is not None else []
        out = run("curl", "-s", "-S", "--globoff", "--path-as-is", "-X", method, "-w", "\n%{http_code}", *flags, *fields, *data, url,
                  data=body)
        body, _, status = out.rpartition(b"\n")
        return int(status), body
    return call


def http_client(method, url, body, headers):
    address = urlparse(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, url.partition(address.netloc)[2], body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def http_client_chunked(method, url, body, headers):
    address = urlparse(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        pieces = iter([body[: len(body) // 2], body[len(body) // 2 :]]) if body else None
        connection.request(method, url.partition(address.netloc)[2], pieces, headers, encode_chunked=True)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def urllib_call(method, url, body, headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=30) as response:
        return response.status, response.read()


def requests_call(method, url, body, headers):
    with requests.Session() as session:
        first = session.request(method, url, data=body, headers=headers, timeout=30)
        again = session.request(method, url, data=body, headers=headers, timeout=30)
        assert (first.status_code, len(first.content)) == (again.status_code, len(again.content))
        return first.status_code, first.content


def httpx_call(method, url, body, headers):
    with httpx.Client(timeout=30) as client:
        response = client.request(method, url, content=body, headers=headers)
        return response.status_code, response.content


def httpx_stream(method, url, body, headers):
    with httpx.Client(timeout=30) as client:
        content = iter([body[:1], body[1:]]) if body else None
        with client.stream(method, url, content=content, headers=headers) as response:
            return response.status_code, b"".join(response.iter_raw())


def aiohttp_call(method, url, body, headers):
    async def one():
        async with aiohttp.ClientSession() as session, session.request(method, url, data=body, headers=headers) as response:
            return response.status, await response.read()
    return asyncio.run(one())


def aiohttp_expect(method, url, body, headers):
    async def one():
        async with aiohttp.ClientSession() as session, session.request(
                method, url, data=body, headers=headers, expect100=body is not None) as response:
            return response.status, await response.read()
    return asyncio.run(one())


def h11_call(method, url, body, headers):
    """h11 as a strict judge of the response."""
    address = urlparse(url)
    connection = h11.Connection(h11.CLIENT)
    with socket.create_connection((address.hostname, address.port), timeout=30) as stream:
        lines = [("Host", address.netloc), *headers.items(), *([("Content-Length", str(len(body)))] if body is not None else [])]
        stream.sendall(connection.send(h11.Request(method=method, target=url.partition(address.netloc)[2], headers=lines)))
        if body:
            stream.sendall(connection.send(h11.Data(body)))
        stream.sendall(connection.send(h11.EndOfMessage()))
        status, data = 0, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(stream.recv(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                data += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, data
            elif isinstance(event, h11.ConnectionClosed):
                raise AssertionError("closed before the end of the response")


def node(program):
    def call(method, url, body, headers):
        lines = [item for name, value in headers.items() for item in (name, value)]
        out = run("node", os.path.join(HERE, "callers.mjs"), program, method, url, *lines, data=body or b"")
        status, _, data = out.partition(b"\n")
        return int(status), data
    return call


def java(method, url, body, headers):
    lines = [item for name, value in headers.items() for item in (name, value)]
    out = run("java", "-XX:TieredStopAtLevel=1", os.path.join(HERE, "Caller.java"), method, url, *lines, data=body or b"")
    status, _, data = out.partition(b"\n")
    return int(status), data


CALLERS = {
    "curl": curl(), "curl --http1.0": curl("--http1.0"), "curl --http2": curl("--http2"), "curl -N": curl("-N"),
    "curl Expect": curl(with_body=("-H", "Expect: 100-continue")),
    "curl chunked": curl(with_body=("-H", "Transfer-Encoding: chunked")),
    "curl --compressed": curl("--compressed"), "curl --no-keepalive": curl("-H", "Connection: close"),
    "http.client": http_client, "http.client chunked": http_client_chunked, "urllib": urllib_call, "requests": requests_call,
    "httpx": httpx_call, "httpx stream": httpx_stream, "aiohttp": aiohttp_call, "aiohttp expect": aiohttp_expect, "h11": h11_call,
}
if shutil.which("node"):
    CALLERS |= {"node http": node("http"), "node fetch": node("fetch"), "node agent": node("agent")}
if shutil.which("javac"):
    CALLERS["java"] = java
