"""A strict parser of HTTP/1.1 messages, for both sides of a proxy. It accepts nothing that RFC 9112 only tolerates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7E]+) HTTP/1\.([01])\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7E\x80-\xFF]*)\Z")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(;[\t\x20-\x7E\x80-\xFF]*)?\Z")


class Malformed(Exception):
    """The bytes are no message that a strict parser accepts."""


@dataclass
class Message:
    """A request or a response. `is_complete` is false for one that the end of the connection cut off."""

    method: bytes = b""
    target: bytes = b""
    status: int = 0
    minor: int = 1
    fields: list = field(default_factory=list)
    body: bytes = b""
    trailers: list = field(default_factory=list)
    framing: str = "none"  # none, length, chunked, close
    is_complete: bool = False
    size: int = 0  # bytes of the message
    head_size: int = 0

    def values(self, name: str) -> list:
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def value(self, name: str) -> bytes | None:
        found = self.values(name)
        return found[0] if found else None

    @property
    def lines(self) -> list:
        return [name + b": " + value for name, value in self.fields]


def parse_fields(lines) -> list:
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not NAME.match(name) or re.search(rb"[\x00-\x08\x0A-\x1F\x7F]", value):
            raise Malformed(f"field line {line!r}")
        fields.append((name, value))
    return fields


def parse(data: bytes, method: bytes | None = None, eof: bool = False) -> Message | None:
    """The message at the beginning of `data`, or `None` while its head is incomplete.

    `method` is that of the request for a response, and `None` for a request.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        # A lone line feed shows already that the head cannot become valid.
        if re.search(rb"(?<!\r)\n", data):
            raise Malformed(f"a line feed without carriage return in {data[:200]!r}")
        return None
    head = data[:end].split(b"\r\n")
    if any(b"\r" in line or b"\n" in line or b"\0" in line for line in head):
        raise Malformed(f"a lone CR or LF, or NUL, in {data[:end][:200]!r}")
    message = Message(size=end + 4, head_size=end + 4)
    if method is None:
        line = REQUEST_LINE.match(head[0])
        if not line:
            raise Malformed(f"request line {head[0][:200]!r}")
        message.method, message.target, message.minor = line[1], line[2], int(line[3])
    else:
        line = STATUS_LINE.match(head[0])
        if not line:
            raise Malformed(f"status line {head[0][:200]!r}")
        message.minor, message.status = int(line[1]), int(line[2])
    message.fields = parse_fields(head[1:])
    read_body(message, data[end + 4 :], method, eof)
    return message


def read_body(message: Message, data: bytes, method: bytes | None, eof: bool) -> None:
    codings, lengths = message.values("transfer-encoding"), message.values("content-length")
    is_bodiless = method is not None and (
        message.status < 200 or message.status in (204, 304) or method == b"HEAD"
        or (method == b"CONNECT" and message.status < 300)
    )
    if is_bodiless:
        if codings and (message.status < 200 or message.status == 204):
            raise Malformed(f"Transfer-Encoding in a response {message.status}")
        message.is_complete = True
    elif codings:
        if lengths or len(codings) > 1 or codings[0].lower() != b"chunked" or message.minor == 0:
            raise Malformed(f"framing {codings} {lengths} in HTTP/1.{message.minor}")
        message.framing = "chunked"
        read_chunks(message, data)
    elif lengths:
        if len(lengths) > 1 or not re.match(rb"[0-9]+\Z", lengths[0]) or int(lengths[0]) >= 1 << 63:
            raise Malformed(f"Content-Length {lengths}")
        length = int(lengths[0])
        message.framing, message.body = "length", data[:length]
        message.size += len(message.body)
        message.is_complete = len(message.body) == length
    elif method is not None:
        message.framing, message.body, message.is_complete = "close", data, eof
        message.size += len(data)
    else:
        message.is_complete = True


def read_chunks(message: Message, data: bytes) -> None:
    """Reads whole chunks; a partial one counts as body too, so that tests see what arrived."""
    at = 0
    pieces = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            break
        match = CHUNK.match(data[at:end])
        if not match:
            raise Malformed(f"chunk size {data[at:end][:100]!r}")
        size = int(match[1], 16)
        if size == 0:
            if data[end + 2 : end + 4] == b"\r\n":
                at, message.is_complete = end + 4, True
            elif (last := data.find(b"\r\n\r\n", end)) >= 0:
                message.trailers = parse_fields(data[end + 2 : last].split(b"\r\n"))
                at, message.is_complete = last + 4, True
            break
        pieces.append(data[end + 2 : end + 2 + size])
        if len(data) < end + 2 + size + 2:
            break
        if data[end + 2 + size : end + 4 + size] != b"\r\n":
            raise Malformed("a chunk that does not end with CR LF")
        at = end + 4 + size
    message.body = b"".join(pieces)
    message.size += at
