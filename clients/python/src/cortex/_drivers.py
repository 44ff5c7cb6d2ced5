"""Run plans over httpx, synchronously and asynchronously."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, AsyncIterator, Callable, Dict, Iterator, Optional, Union
from urllib.parse import urlsplit

import httpx

from cortex._addresses import is_local
from cortex._http import USER_AGENT, Call, LinkFailure, Pause, Plan, Reply, Step, T, error_of
from cortex.exceptions import ConnectionFailed, TimedOut

# A long poll holds a connection for a minute, so their number must not be bounded by the pool.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=64)
_CONNECT = 10.0
#: The operator sends a heartbeat into a log that is followed every 10 s.
_LOG_SILENCE = 90.0


def _options(address: str) -> Dict[str, Any]:
    return {
        "limits": _LIMITS,
        # This machine and the cluster's own names are not reached through anybody's proxy.
        "trust_env": not is_local(urlsplit(address).hostname or ""),
        "follow_redirects": False,
    }


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT, pool=None)


def _failure(error: httpx.TransportError, url: str) -> LinkFailure:
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}"
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return LinkFailure(
            ConnectionFailed(
                f"nothing answers at {address} ({error}); start a platform on this machine with: cortex up"
            ),
            may_have_arrived=False,
        )
    if isinstance(error, httpx.TimeoutException):
        return LinkFailure(TimedOut(f"{address} took too long to answer; try again"), may_have_arrived=True)
    return LinkFailure(
        ConnectionFailed(f"the connection to {address} was lost ({type(error).__name__}: {error})"),
        may_have_arrived=True,
    )


def _fields(call: Call, length: Optional[int]) -> Dict[str, str]:
    fields = {"User-Agent": USER_AGENT, **call.headers}
    if length is not None:
        fields["Content-Length"] = str(length)
    return fields


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content, str(response.url))


class Driver:
    """Runs plans in the calling thread. Safe from any thread."""

    def __init__(
        self, address: str, http: Optional[httpx.Client] = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._http = http or httpx.Client(**_options(address))
        self._owns = http is None
        self._sleep = sleep

    def sleeping(self, sleep: Callable[[float], None]) -> Driver:
        """The same connections with another way to pass time."""
        return Driver("", self._http, sleep)

    def close(self) -> None:
        if self._owns:
            self._http.close()

    def run(self, plan: Plan[T]) -> T:
        try:
            step = next(plan)
            while True:
                try:
                    answer = self._perform(step)
                except LinkFailure as failure:
                    step = plan.throw(failure)
                else:
                    step = plan.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    def _perform(self, step: Step) -> Optional[Reply]:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        content: Union[bytes, Iterator[bytes], None] = None
        length: Optional[int] = None
        if step.payload is not None:
            content = step.payload.data
            if step.payload.is_streamed:
                length, content = step.payload.open()
        try:
            response = self._http.request(
                step.method,
                step.url,
                content=content,
                params=dict(step.params) or None,
                headers=_fields(step, length),
                timeout=_timeout(step.timeout),
            )
        except httpx.TransportError as error:
            raise _failure(error, step.url) from error
        return _reply(response)

    def lines(self, call: Call) -> Iterator[Dict[str, Any]]:
        """The documents of an ndjson stream, as they come."""
        try:
            with self._http.stream(
                call.method,
                call.url,
                params=dict(call.params),
                headers=_fields(call, None),
                timeout=_timeout(_LOG_SILENCE),
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise error_of(_reply(response))
                cutter = _Lines()
                for piece in response.iter_bytes():
                    yield from cutter.feed(piece)
                yield from cutter.finish()
        except httpx.TransportError as error:
            raise _failure(error, call.url).error from error


class AsyncDriver:
    """Runs plans in an asyncio task."""

    def __init__(
        self,
        address: str,
        http: Optional[httpx.AsyncClient] = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._http = http or httpx.AsyncClient(**_options(address))
        self._owns = http is None
        self._sleep = sleep

    def sleeping(self, sleep: Callable[[float], Any]) -> AsyncDriver:
        """The same connections with another way to pass time."""
        return AsyncDriver("", self._http, sleep)

    async def close(self) -> None:
        if self._owns:
            await self._http.aclose()

    async def run(self, plan: Plan[T]) -> T:
        try:
            step = next(plan)
            while True:
                try:
                    answer = await self._perform(step)
                except LinkFailure as failure:
                    step = plan.throw(failure)
                else:
                    step = plan.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    async def _perform(self, step: Step) -> Optional[Reply]:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        content: Union[bytes, AsyncIterator[bytes], None] = None
        length: Optional[int] = None
        if step.payload is not None:
            content = step.payload.data
            if step.payload.is_streamed:
                length, pieces = await asyncio.to_thread(step.payload.open)
                content = _in_threads(pieces)
        try:
            response = await self._http.request(
                step.method,
                step.url,
                content=content,
                params=dict(step.params) or None,
                headers=_fields(step, length),
                timeout=_timeout(step.timeout),
            )
        except httpx.TransportError as error:
            raise _failure(error, step.url) from error
        return _reply(response)

    async def lines(self, call: Call) -> AsyncIterator[Dict[str, Any]]:
        """The documents of an ndjson stream, as they come."""
        try:
            async with self._http.stream(
                call.method,
                call.url,
                params=dict(call.params),
                headers=_fields(call, None),
                timeout=_timeout(_LOG_SILENCE),
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise error_of(_reply(response))
                cutter = _Lines()
                async for piece in response.aiter_bytes():
                    for line in cutter.feed(piece):
                        yield line
                for line in cutter.finish():
                    yield line
        except httpx.TransportError as error:
            raise _failure(error, call.url).error from error


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A file's pieces, read where blocking hurts nobody."""
    while True:
        piece = await asyncio.to_thread(next, pieces, None)
        if piece is None:
            return
        yield piece


class _Lines:
    """Cuts bytes at line feeds and nothing else: a text may hold other characters that Python takes for line ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Dict[str, Any]]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)

    def finish(self) -> Iterator[Dict[str, Any]]:
        if self._rest.strip():
            yield json.loads(self._rest)
