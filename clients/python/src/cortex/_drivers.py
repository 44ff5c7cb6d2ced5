"""Run plans over httpx, synchronously and asynchronously."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from dataclasses import replace
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Tuple, Type, Union
from urllib.parse import urlsplit

import httpx

from cortex._arguments import encoded
from cortex._connections import AsyncConnections, Connections
from cortex._http import USER_AGENT, Call, LinkFailure, Pause, Plan, Reply, Step, T, error_of
from cortex.exceptions import ConnectionFailed, InvalidArgument, TimedOut

_CONNECT = 10.0
#: The operator sends a heartbeat into a followed log every 10 s.
_LOG_SILENCE = 90.0
#: Largest document of a log line, in bytes. The platform cuts lines far below it.
_LONGEST_LINE = 1 << 20
#: Errors of the HTTP library for a call that was sent or could not be sent.
HTTP_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)


def _timeout(seconds: Optional[float]) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT, pool=None)


def failure(error: Exception, url: str) -> LinkFailure:
    """What an error of the HTTP library means for the caller."""
    parts = urlsplit(url)
    address = f"{parts.scheme}://{parts.netloc}"
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        # The library refuses to write it, so a retry cannot succeed. Its message could contain a header's value.
        return LinkFailure(
            InvalidArgument(f"the call to {address} cannot be sent ({type(error).__name__}); check URL and headers"),
            may_have_arrived=False,
            is_final=True,
        )
    if isinstance(error, httpx.DecodingError):
        return LinkFailure(
            ConnectionFailed(f"the answer of {address} cannot be decoded; look for a proxy that changes it"),
            may_have_arrived=True,
            is_final=True,
        )
    if isinstance(error, httpx.ProxyError):
        return LinkFailure(
            ConnectionFailed(f"the proxy before {address} refuses ({error}); see HTTP_PROXY, HTTPS_PROXY, ALL_PROXY"),
            may_have_arrived=False,
        )
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        if _is_caused_by(error, ssl.SSLCertVerificationError):
            return LinkFailure(
                ConnectionFailed(f"the certificate of {address} is not trusted ({error}); see SSL_CERT_FILE"),
                may_have_arrived=False,
                is_final=True,
            )
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


def _is_caused_by(error: Optional[BaseException], kind: Type[BaseException]) -> bool:
    for _ in range(10):
        if error is None or isinstance(error, kind):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, kind)


def _fields(call: Call, length: Optional[int]) -> List[Tuple[bytes, bytes]]:
    fields = {"User-Agent": USER_AGENT, **call.headers}
    if length is not None:
        fields["Content-Length"] = str(length)
    # As bytes: the library would encode values as ASCII.
    return [(name.encode(), encoded(value, f"the value of {name}")) for name, value in fields.items()]


def _params(call: Call) -> Optional[Dict[str, Any]]:
    for name, value in call.params.items():
        encoded(str(name), "a name in params")
        encoded(str(value), f"params: the value of {name}")
    return dict(call.params) or None


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content, str(response.url))


def _exactly(request: httpx.Request, call: Call, is_direct: bool) -> httpx.Request:
    """The request with the target of the call byte for byte, without what the library adds from earlier responses and
    for its own decoders."""
    given = {name.lower() for name in call.headers}
    for name in ("accept-encoding", "cookie"):
        if name not in given:
            request.headers.pop(name, None)
    target = urlsplit(call.url).path.encode() + call.suffix.encode()
    if not target.startswith(b"/"):
        target = b"/" + target
    if request.url.raw_path != target:
        if not is_direct:
            # A proxy gets the URL, which the library has normalized; the extension below would replace it.
            raise InvalidArgument(
                "the path cannot be sent byte for byte through a proxy or a client of your own; write it as the HTTP"
                f" library does: {request.url.raw_path.decode()}"
            )
        request.extensions["target"] = target
    return request


def _closed(error: RuntimeError) -> Exception:
    """Recognises a closed client by the library's message, which is the only sign."""
    return InvalidArgument("this client was closed; make another") if "closed" in str(error) else error


class Driver:
    """Runs plans in the calling thread. Safe from any thread."""

    def __init__(
        self,
        address: str,
        http: Optional[httpx.Client] = None,
        sleep: Callable[[float], None] = time.sleep,
        connections: Optional[Connections] = None,
    ) -> None:
        self._connections = connections or Connections(address, http)
        self._sleep = sleep

    def sleeping(self, sleep: Callable[[float], None]) -> Driver:
        """The same connections with another sleep function."""
        return Driver("", sleep=sleep, connections=self._connections)

    def close(self) -> None:
        self._connections.close()

    def run(self, plan: Plan[T]) -> T:
        try:
            step = next(plan)
            while True:
                try:
                    answer = self._perform(step)
                except LinkFailure as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    def _perform(self, step: Step) -> Union[Reply, httpx.Response, None]:
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
            client = self._connections.client()
            request = client.build_request(
                step.method,
                step.url + step.suffix,
                content=content,
                params=_params(step),
                headers=_fields(step, length),
                timeout=_timeout(step.timeout),
            )
            if step.is_streamed:
                return client.send(_exactly(request, step, self._connections.is_direct), stream=True)
            response = client.send(request)
        except HTTP_ERRORS as error:
            raise failure(error, step.url) from error
        except RuntimeError as error:
            raise _closed(error) from error
        return _reply(response)

    @contextlib.contextmanager
    def opened(self, call: Call) -> Iterator[httpx.Response]:
        """The response of a call, whose body is read piece by piece."""
        try:
            with self._connections.client().stream(
                call.method,
                call.url,
                params=_params(call),
                headers=_fields(call, None),
                timeout=_timeout(call.timeout),
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise error_of(_reply(response))
                yield response
        except HTTP_ERRORS as error:
            raise failure(error, call.url).error from error
        except RuntimeError as error:
            raise _closed(error) from error

    def lines(self, call: Call) -> Iterator[Dict[str, Any]]:
        """The documents of an ndjson stream, as they come."""
        with self.opened(replace(call, timeout=_LOG_SILENCE)) as response:
            cutter = _Lines()
            for piece in response.iter_bytes():
                yield from cutter.feed(piece)
            yield from cutter.finish()


class AsyncDriver:
    """Runs plans in an asyncio task."""

    def __init__(
        self,
        address: str,
        http: Optional[httpx.AsyncClient] = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
        connections: Optional[AsyncConnections] = None,
    ) -> None:
        self._connections = connections or AsyncConnections(address, http)
        self._sleep = sleep

    def sleeping(self, sleep: Callable[[float], Any]) -> AsyncDriver:
        """The same connections with another sleep function."""
        return AsyncDriver("", sleep=sleep, connections=self._connections)

    async def close(self) -> None:
        await self._connections.close()

    async def run(self, plan: Plan[T]) -> T:
        try:
            step = next(plan)
            while True:
                try:
                    answer = await self._perform(step)
                except LinkFailure as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            plan.close()

    async def _perform(self, step: Step) -> Union[Reply, httpx.Response, None]:
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
            client = self._connections.client()
            request = client.build_request(
                step.method,
                step.url + step.suffix,
                content=content,
                params=_params(step),
                headers=_fields(step, length),
                timeout=_timeout(step.timeout),
            )
            if step.is_streamed:
                return await client.send(_exactly(request, step, self._connections.is_direct), stream=True)
            response = await client.send(request)
        except HTTP_ERRORS as error:
            raise failure(error, step.url) from error
        except RuntimeError as error:
            raise _closed(error) from error
        return _reply(response)

    @contextlib.asynccontextmanager
    async def opened(self, call: Call) -> AsyncIterator[httpx.Response]:
        """The response of a call, whose body is read piece by piece."""
        try:
            async with self._connections.client().stream(
                call.method,
                call.url,
                params=_params(call),
                headers=_fields(call, None),
                timeout=_timeout(call.timeout),
            ) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise error_of(_reply(response))
                yield response
        except HTTP_ERRORS as error:
            raise failure(error, call.url).error from error
        except RuntimeError as error:
            raise _closed(error) from error

    async def lines(self, call: Call) -> AsyncIterator[Dict[str, Any]]:
        """The documents of an ndjson stream, as they come."""
        async with self.opened(replace(call, timeout=_LOG_SILENCE)) as response:
            cutter = _Lines()
            async for piece in response.aiter_bytes():
                for line in cutter.feed(piece):
                    yield line
            for line in cutter.finish():
                yield line


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A file's pieces, read in a thread, as reading blocks."""
    while True:
        piece = await asyncio.to_thread(next, pieces, None)
        if piece is None:
            return
        yield piece


class _Lines:
    """Splits bytes at line feeds and nothing else: a text may hold other characters that Python takes for line ends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Dict[str, Any]]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            yield from _document(line)
        if len(self._rest) > _LONGEST_LINE:
            raise ConnectionFailed("the log has a line of more than 1 MiB, which the platform does not send")

    def finish(self) -> Iterator[Dict[str, Any]]:
        yield from _document(self._rest)


def _document(line: bytes) -> Iterator[Dict[str, Any]]:
    if not line.strip():
        return
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ConnectionFailed("the log has a line that is not a JSON object; look for a proxy that changes answers")
    yield document
