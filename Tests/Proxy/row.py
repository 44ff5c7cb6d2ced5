"""One row of the table: the bytes of a caller, what the container must receive, and what the caller must get."""

from __future__ import annotations

from dataclasses import dataclass, replace

from caller import HALF, Bytewise, Until, data_of
from origin import ok

HOST = b"Host: h"
ANY = "any"


@dataclass(frozen=True)
class Want:
    """A request as the container must receive it. `lines` are its field lines in order, without those that the platform
    sets (see `OWN_FIELDS` in judge.py). `None` is not compared."""

    target: bytes = b"/"
    lines: tuple | None = (HOST,)
    method: bytes = b"GET"
    body: bytes = b""
    framing: str | None = None
    trailers: tuple = ()
    check: object = None


@dataclass(frozen=True)
class Response:
    """What the caller must get."""

    status: object = 200  # a number or a set of numbers
    lines: tuple | None = None  # without those that the platform sets
    body: bytes | None = None
    is_complete: bool | None = True
    framing: str | None = None
    trailers: tuple | None = None
    kind: str | None = None  # of an error of the platform
    interim: tuple | None = None  # statuses before it
    check: object = None


@dataclass(frozen=True)
class Row:
    name: str
    clause: str
    send: tuple
    # Requests at the container, in order. Complete ones count; `None` is not compared.
    seen: tuple | None = ()
    got: tuple = ()
    # open: the same connection serves another request. closed. any.
    fate: str = "open"
    # What the container plays, one script for each request.
    play: tuple = ()
    methods: tuple = ()
    api: str = "raw"
    # Requests that another implementation may leave out: with them each prefix of `seen` is right.
    may_refuse: frozenset = frozenset()
    seconds: float = 6

    @property
    def bytes(self) -> bytes:
        return b"".join(data_of(step) for step in self.send)


def lines_of(*items) -> bytes:
    return b"".join(item + b"\r\n" for item in items) + b"\r\n"


def request(line: bytes, *lines: bytes, body: bytes = b"", host: bytes | None = HOST) -> bytes:
    """A request; `host` stands first."""
    return lines_of(line, *([host] if host else []), *lines) + body


def get(target: bytes, *lines: bytes, **more) -> bytes:
    return request(b"GET " + target + b" HTTP/1.1", *lines, **more)


def post(target: bytes, *lines: bytes, body: bytes = b"", **more) -> bytes:
    """A POST with the given framing fields, or with the length of its body."""
    return request(b"POST " + target + b" HTTP/1.1", *lines, body=body, **more)


def steps(send) -> tuple:
    return tuple(send) if isinstance(send, (list, tuple)) else (send,)


def passes(name, clause, send, *seen: Want, got=None, **more) -> Row:
    """The container receives these requests, and its responses reach the caller."""
    got = steps(got) if got is not None else tuple(Response() for _ in seen)
    more.setdefault("methods", tuple(want.method for want in seen))
    return Row(name, clause, steps(send), seen=seen, got=got, **more)


def refused(name, clause, send, status=400, kind=None, fate="closed", **more) -> Row:
    """The container receives nothing, and the platform answers."""
    return Row(name, clause, steps(send), seen=(), got=(Response(status, kind=kind),), fate=fate, **more)


def lenient(row: Row, *statuses: int) -> Row:
    """The request may also be refused with one of these statuses."""
    return replace(row, may_refuse=frozenset(statuses))


def relays(name, clause, play, *got: Response, line=b"GET /raw/r HTTP/1.1", lines=(), **more) -> Row:
    """One GET, a scripted response, and what the caller must get of it."""
    method = line.split(b" ")[0]
    more.setdefault("seen", None)
    return Row(
        name, clause, (request(line, *lines),), got=got, play=(steps(play),), methods=(method,), **more)


__all__ = [
    "ANY", "HALF", "HOST", "Bytewise", "Response", "Row", "Until", "Want", "get", "lenient", "lines_of", "ok", "passes",
    "post", "refused", "relays", "request", "steps"]
