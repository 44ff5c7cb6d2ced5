"""The asynchronous twins through the built platform."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Awaitable, Callable

import pytest

import cortex
import platform_under_test


def run(body: Callable[[cortex.AsyncClient], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with cortex.async_client() as client:
            await body(client)

    asyncio.run(main())


def test_deploy_submit_result_delete(echo: cortex.Endpoint, tmp_path: Path) -> None:
    async def body(client: cortex.AsyncClient) -> None:
        done = await client.deploy(platform_under_test.api("twin"), wait=True)
        assert done["api"]["status"]["ready"] == 1
        request = await client.submit("twin", {"a": 1}, headers={"X-Do": "verbatim"})
        assert await request.result(wait=60) == {"a": 1}
        assert await request.status() == "completed"
        path = tmp_path / "data.bin"
        path.write_bytes(os.urandom(1_000_000))
        found = await (await client.submit("twin", path)).result(wait=60)
        assert found["size"] == 1_000_000
        assert "twin" in [api["metadata"]["name"] for api in await client.list_apis()]
        assert (await client.get_api("twin"))["endpoint"] == (await client.endpoint("twin")).url
        assert [r["state"] for r in (await client.describe("twin"))["status"]["replicas"]] == ["ready"]
        lines = [line async for line in client.logs("twin")]
        assert any("POST /" in line.text for line in lines)
        assert len([r async for r in client.requests("twin")]) == 2
        await client.refresh("twin", force=True)
        await client.delete("twin")
        with pytest.raises(cortex.NotFound):
            await client.get_api("twin")

    run(body)


def test_errors_and_cancel(echo: cortex.Endpoint) -> None:
    async def body(client: cortex.AsyncClient) -> None:
        request = await client.submit("echo", "600", headers={"X-Do": "sleep"})
        with pytest.raises(cortex.ResultTimeout):
            await request.result(wait=0)
        assert (await request.cancel()).status == "cancelled"
        with pytest.raises(cortex.RequestCancelled):
            await (await client.request("echo", request.id)).result()
        failed = await client.submit("echo", '{"status": 500}', headers={"X-Do": "answer"})
        with pytest.raises(cortex.RequestFailed):
            await failed.result(wait=60)
        with pytest.raises(cortex.NotFound):
            await client.submit("not-there")

    run(body)


def test_map(echo: cortex.Endpoint) -> None:
    async def body(client: cortex.AsyncClient) -> None:
        results = [each async for each in client.map("echo", range(50), headers={"X-Do": "verbatim"})]
        assert results == list(range(50))
        answers = client.map(
            "echo", [{"body": "1"}, {"status": 500}], headers={"X-Do": "answer"}, return_exceptions=True
        )
        found = [each async for each in answers]
        assert found[0] == 1
        assert isinstance(found[1], cortex.RequestFailed)
        sleepers = client.map("echo", ["0", *["600"] * 9], headers={"X-Do": "sleep"})
        async for each in sleepers:
            assert each == {"slept": 0.0}
            break
        await sleepers.aclose()
        left = [r async for r in client.requests("echo") if r["status"] in ("in_queue", "in_progress")]
        assert left == [], "leaving early cancels what is under way"

    run(body)


def test_many_waiters_at_once(echo: cortex.Endpoint) -> None:
    async def body(client: cortex.AsyncClient) -> None:
        requests = await asyncio.gather(
            *(client.submit("echo", str(number), headers={"X-Do": "verbatim"}) for number in range(60))
        )
        results = await asyncio.gather(*(request.result(wait=120) for request in requests))
        assert results == list(range(60))

    run(body)
