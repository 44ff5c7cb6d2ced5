"""The response of a call to a RealtimeAPI or a TrafficSplitter, read while it arrives (contract R24)."""

from __future__ import annotations

from types import TracebackType
from typing import Any, AsyncIterator, Iterator, List, Optional, Type

import httpx

from cortex._documents import decode
from cortex._drivers import HTTP_ERRORS, failure
from cortex._http import Reply, error_of
from cortex.exceptions import CallFailed, InvalidArgument, ResultNotRepresentable

#: How much of the body of an error is read, in bytes.
_ERROR_BODY = 64 * 1024


def _is_refusal(response: httpx.Response) -> bool:
    """Whether the platform answered instead of a container."""
    return response.status_code >= 400 and response.headers.get("x-cortex-origin") == "gateway"


def _refusal(response: httpx.Response, body: bytes) -> Exception:
    return error_of(Reply(response.status_code, response.headers, body, str(response.url)))


def _json(body: bytes) -> Any:
    try:
        return decode(body)
    except ResultNotRepresentable:
        raise
    except ValueError as error:
        raise ResultNotRepresentable(
            f"the response is not JSON ({error}); its bytes are in .raw of this error", body
        ) from error


class _Body:
    """What both twins know about the body of a response."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._content: Optional[bytes] = None
        self._is_begun = False
        #: The status of the response, such as 200.
        self.status = response.status_code
        #: Whether the status is 2xx.
        self.ok = 200 <= response.status_code < 300
        #: The header fields of the response; names are compared without case.
        self.headers = response.headers

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"

    def _begin(self) -> None:
        if self._is_begun:
            raise InvalidArgument("the body was read already; read() returns all of it and keeps it")
        self._is_begun = True

    def _failure(self, error: Exception) -> Exception:
        return failure(error, str(self._response.url)).error


class _Lines:
    """Splits text at line feeds and nothing else."""

    def __init__(self) -> None:
        # The parts of a line whose end has not arrived.
        self._rest: List[bytes] = []

    def feed(self, part: bytes) -> List[str]:
        first, *others = part.split(b"\n")
        self._rest.append(first)
        if not others:
            return []
        *lines, rest = [b"".join(self._rest), *others]
        self._rest = [rest]
        return [_line(line) for line in lines]

    def finish(self) -> List[str]:
        rest = b"".join(self._rest)
        return [_line(rest)] if rest else []


def _line(line: bytes) -> str:
    return line[: -1 if line.endswith(b"\r") else None].decode(errors="replace")


class Response(_Body):
    """A response whose body is read while it arrives.

    Use it in a `with` block, or read it to its end: until then it occupies a connection. Closing it early closes the
    connection, which the container sees.

    Attributes:
        status: the status, such as 200.
        ok: whether the status is 2xx.
        headers: the header fields; names are compared without case.
    """

    @classmethod
    def _of(cls, response: httpx.Response) -> Response:
        """Raises the platform's error if the platform answered instead of a container."""
        opened = cls(response)
        if _is_refusal(response):
            raise _refusal(response, opened._beginning())
        return opened

    def _beginning(self) -> bytes:
        body = b""
        with self:
            for part in self:
                body += part
                if len(body) >= _ERROR_BODY:
                    break
        return body

    def __iter__(self) -> Iterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        self._begin()
        try:
            yield from self._response.iter_bytes()
        except HTTP_ERRORS as error:
            raise self._failure(error) from error

    def lines(self) -> Iterator[str]:
        """The lines of the body as they arrive, without line ends, as UTF-8."""
        cutter = _Lines()
        for part in self:
            yield from cutter.feed(part)
        yield from cutter.finish()

    def read(self) -> bytes:
        """The whole body."""
        if self._content is None:
            self._content = b"".join(self)
        return self._content

    def text(self) -> str:
        """The whole body as UTF-8."""
        return self.read().decode(errors="replace")

    def json(self) -> Any:
        """The whole body, which is JSON, as a Python value.

        Numbers are as in `Request.result`.

        Raises:
            ResultNotRepresentable: it is not JSON, or Python cannot represent it; the error's `raw` has the bytes.
        """
        return _json(self.read())

    def raise_for_status(self) -> None:
        """Raises CallFailed if the status is not 2xx, with the beginning of the body."""
        if not self.ok:
            raise CallFailed(self.status, self._content if self._content is not None else self._beginning())

    def close(self) -> None:
        """Closes the response: its connection too, unless the body was read to its end."""
        self._response.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()


class AsyncResponse(_Body):
    """A response whose body is read while it arrives: `async with await client.call(…) as response`.

    See `Response` for attributes.
    """

    @classmethod
    async def _of(cls, response: httpx.Response) -> AsyncResponse:
        opened = cls(response)
        if _is_refusal(response):
            raise _refusal(response, await opened._beginning())
        return opened

    async def _beginning(self) -> bytes:
        body = b""
        async with self:
            async for part in self:
                body += part
                if len(body) >= _ERROR_BODY:
                    break
        return body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content is not None:
            yield self._content
            return
        self._begin()
        try:
            async for part in self._response.aiter_bytes():
                yield part
        except HTTP_ERRORS as error:
            raise self._failure(error) from error

    async def lines(self) -> AsyncIterator[str]:
        """The lines of the body as they arrive, without line ends, as UTF-8."""
        cutter = _Lines()
        async for part in self:
            for line in cutter.feed(part):
                yield line
        for line in cutter.finish():
            yield line

    async def read(self) -> bytes:
        """The whole body."""
        if self._content is None:
            self._content = b"".join([part async for part in self])
        return self._content

    async def text(self) -> str:
        """The whole body as UTF-8."""
        return (await self.read()).decode(errors="replace")

    async def json(self) -> Any:
        """The whole body, which is JSON, as a Python value.

        See `Response.json` for errors.
        """
        return _json(await self.read())

    async def raise_for_status(self) -> None:
        """Raises CallFailed if the status is not 2xx, with the beginning of the body."""
        if not self.ok:
            raise CallFailed(self.status, self._content if self._content is not None else await self._beginning())

    async def close(self) -> None:
        """Closes the response: its connection too, unless the body was read to its end."""
        await self._response.aclose()

    async def __aenter__(self) -> AsyncResponse:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()
