"""Leaving `map` early cancels the requests under way, also those that are being submitted."""

from __future__ import annotations

import asyncio
from typing import List

import httpx

import cortex

ENDED = {"id": "first", "status": "completed", "result": 0, "timestamp": "t", "attempts": 1}
CANCELLED = {"id": "second", "status": "cancelled", "attempts": 0, "timestamp": "t"}


def test_a_request_whose_id_is_still_on_its_way_is_taken_back() -> None:
    asked: List[str] = []

    async def body() -> None:
        has_arrived, is_left = asyncio.Event(), asyncio.Event()

        async def gateway(request: httpx.Request) -> httpx.Response:
            asked.append(f"{request.method} {request.url.path}")
            if request.method == "POST" and request.content == b"2":
                has_arrived.set()
                await is_left.wait()
                return httpx.Response(200, json={"id": "second"})
            if request.method == "POST":
                await has_arrived.wait()
                return httpx.Response(200, json={"id": "first"})
            return httpx.Response(200, json=CANCELLED if request.method == "DELETE" else ENDED)

        async with httpx.AsyncClient(transport=httpx.MockTransport(gateway)) as http:
            results = cortex.AsyncEndpoint("http://stub/hello", http=http).map([1, 2], concurrency=2)
            assert await results.__anext__() == 0
            closing = asyncio.ensure_future(results.aclose())
            await asyncio.sleep(0)
            is_left.set()
            await closing

    asyncio.run(body())
    assert asked[-1] == "DELETE /hello/second"


def test_a_full_queue_is_not_waited_for_any_more() -> None:
    full = httpx.Response(429, json={"error": {"kind": "queue_full", "message": "no"}}, headers={"Retry-After": "3600"})

    async def body() -> None:
        is_full = asyncio.Event()

        async def gateway(request: httpx.Request) -> httpx.Response:
            if request.content == b"2":
                is_full.set()
                return full
            await is_full.wait()
            return httpx.Response(200, json={"id": "first"} if request.method == "POST" else ENDED)

        async with httpx.AsyncClient(transport=httpx.MockTransport(gateway)) as http:
            results = cortex.AsyncEndpoint("http://stub/hello", http=http).map([1, 2], concurrency=2)
            assert await results.__anext__() == 0
            await asyncio.wait_for(results.aclose(), 5)

    asyncio.run(body())
