"""How each kind of Python value becomes a request's body."""

from __future__ import annotations

import io
import json
import mimetypes
import os
from typing import IO, Any, Iterator, Optional, Tuple

from cortex._arguments import encoded
from cortex.exceptions import InvalidArgument

_CHUNK = 256 * 1024


class NoPayload:
    """The default of `submit`: an empty body. `None` is JSON's `null`."""

    def __repr__(self) -> str:
        return "NO_PAYLOAD"


NO_PAYLOAD = NoPayload()


class Payload:
    """A request's body: bytes, or a file that is streamed and never loaded into memory."""

    def __init__(
        self,
        content_type: Optional[str],
        *,
        data: bytes = b"",
        path: Optional[str] = None,
        file: Optional[IO[bytes]] = None,
    ) -> None:
        self.content_type = content_type
        self.data = data
        self._path = path
        self._file = file
        self._start: Optional[int] = None
        if file is not None and file.seekable():
            self._start = file.tell()

    @property
    def is_streamed(self) -> bool:
        return self._path is not None or self._file is not None

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again; a pipe cannot."""
        return self._file is None or self._start is not None

    def open(self) -> Tuple[Optional[int], Iterator[bytes]]:
        """Its length, if known, and its pieces from the beginning. Reading blocks."""
        if self._path is not None:
            file = open(self._path, "rb")  # noqa: SIM115
            length = os.fstat(file.fileno()).st_size
            return length, _pieces(file, length, close=True)
        assert self._file is not None
        if self._start is None:
            return None, _pieces(self._file, None, close=False)
        end = self._file.seek(0, io.SEEK_END)
        self._file.seek(self._start)
        length = max(0, end - self._start)
        return length, _pieces(self._file, length, close=False)


def _pieces(file: IO[bytes], length: Optional[int], *, close: bool) -> Iterator[bytes]:
    """Exactly `length` bytes: a file that grows is cut off, one that shrinks is an error."""
    rest = length
    try:
        while rest is None or rest > 0:
            piece = file.read(_CHUNK if rest is None else min(_CHUNK, rest))
            if not piece:
                if rest:
                    raise OSError("the payload's file became shorter while it was read; submit it again")
                return
            if rest is not None:
                rest -= len(piece)
            yield piece
    finally:
        if close:
            file.close()


def payload(value: Any, content_type: Optional[str] = None) -> Payload:
    """The body for a value.

    Bytes are sent unchanged (`application/octet-stream`), text as UTF-8 (`text/plain`). A path or an open binary file
    is streamed, with the content type of its name. Any other value is sent as JSON.
    """
    if isinstance(value, NoPayload):
        return Payload(content_type)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Payload(content_type or "application/octet-stream", data=bytes(value))
    if isinstance(value, str):
        return Payload(content_type or "text/plain; charset=utf-8", data=encoded(value, "the payload"))
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        name = os.fsdecode(path)
        with open(name, "rb"):
            pass  # A path that cannot be read raises here, before anything is sent.
        return Payload(content_type or _guess(name), path=name)
    if isinstance(value, io.TextIOBase):
        raise InvalidArgument(
            "the file is open for text; open it with mode 'rb', so that its bytes are sent as they are"
        )
    if hasattr(value, "read"):
        file_name = getattr(value, "name", None)
        return Payload(content_type or _guess(file_name if isinstance(file_name, str) else ""), file=value)
    return Payload(content_type or "application/json", data=_json(value))


def _json(value: Any) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the payload cannot be expressed in JSON: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError:
        # JSON's escapes express what UTF-8 cannot: half of a surrogate pair.
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _guess(name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    return kind if kind and not encoding else "application/octet-stream"
