"""The platform's answers as values. Results are kept byte for byte (contract C5)."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Callable, Dict, Optional, Union

from cortex.exceptions import (
    ConnectionFailed,
    RequestCancelled,
    RequestFailed,
    ResultNotRepresentable,
    platform_error,
)

_logger = logging.getLogger("cortex")

#: Python refuses to turn a longer text of digits into an int.
_LONGEST_INT = 4300
_LONG_INT = re.compile(rb"[0-9]{%d}" % (_LONGEST_INT + 1))
_HEAD = re.compile(rb'\{"id":"([^"]*)","status":"completed","result":')
_TAIL = re.compile(rb',"timestamp":"([^"]*)","attempts":([0-9]+)\}\s*$')
_STRUCTURE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'["\\]')
_SPACE = b" \t\r\n"


class _BeyondPython(ValueError):
    """A part of a result that Python cannot represent; `decode` adds the bytes."""


def number(text: str) -> Union[float, Decimal]:
    """A float if it represents the written number exactly, otherwise a Decimal: no digit is lost."""
    value = float(text)
    if len(text) <= 16 and "e" not in text and "E" not in text:
        return value  # A float keeps up to 15 digits.
    if repr(value) == text:
        return value
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise _BeyondPython(f"Python cannot represent the number {text[:40]}") from None
    return value if Decimal(repr(value)) == exact else exact


def _integer(text: str) -> Any:
    return int(text) if len(text) <= _LONGEST_INT else Decimal(text)


def decode(raw: bytes, parse_float: Callable[[str], Any] = number) -> Any:
    """JSON as a Python value: integers of any size, no digit of a decimal lost.

    Raises:
        ResultNotRepresentable: Python cannot represent it (nested too deeply, an exponent too large). Its `raw` has the
            bytes.
    """
    options: Dict[str, Any] = {"parse_float": parse_float}
    if _LONG_INT.search(raw):
        options["parse_int"] = _integer
    try:
        return json.loads(raw, **options)
    except RecursionError:
        reason = "the result is nested too deeply for Python's json"
    except _BeyondPython as error:
        reason = str(error)
    raise ResultNotRepresentable(f"{reason}; its bytes are in .raw of this error", raw)


def _value_end(text: bytes, start: int) -> int:
    """The end of the JSON value that begins at `start`. The text must be valid JSON; any depth, no recursion."""
    depth, position = 0, start
    while True:
        found = _STRUCTURE.search(text, position)
        if found is None:
            raise ValueError("cut off")
        token, position = found.group(), found.end()
        if token == b'"':
            while True:
                inner = _IN_STRING.search(text, position)
                if inner is None:
                    raise ValueError("cut off")
                if inner.group() == b'"':
                    position = inner.end()
                    break
                position = inner.end() + 1
        elif token in b"{[":
            depth += 1
        elif token in b"}]":
            if depth == 0:
                return found.start()
            depth -= 1
        elif depth == 0:
            return found.start()


def members(document: bytes) -> Dict[str, bytes]:
    """The members of a JSON object, each value as its bytes.

    Raises:
        ValueError: the text is not an object.
    """
    position = _skip(document, 0)
    if document[position : position + 1] != b"{":
        raise ValueError("not an object")
    position = _skip(document, position + 1)
    found: Dict[str, bytes] = {}
    while document[position : position + 1] != b"}":
        colon = document.index(b":", position)
        key = json.loads(document[position:colon])
        end = _value_end(document, colon + 1)
        found[key] = document[colon + 1 : end].strip(_SPACE)
        position = _skip(document, end + 1 if document[end : end + 1] == b"," else end)
    return found


def _skip(text: bytes, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


@dataclass(frozen=True)
class Failure:
    """The reason for a failed request (contract A3)."""

    kind: str
    message: str
    status_code: Optional[int] = None
    body: Optional[str] = None


@dataclass(frozen=True)
class Snapshot:
    """The state of a request when the gateway was asked."""

    id: str
    #: `in_queue`, `in_progress`, `completed`, `failed` or `cancelled`.
    status: str
    #: Deliveries that counted.
    attempts: int
    #: The time of its end: RFC 3339, UTC.
    timestamp: Optional[str]
    #: Only for `failed`.
    error: Optional[Failure]
    #: The container's JSON, byte for byte; only for `completed`.
    raw: Optional[bytes]

    @property
    def has_ended(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")

    def json(self, parse_float: Callable[[str], Any] = number) -> Any:
        """The result as a Python value.

        A decimal is a `float` if a float represents it exactly, otherwise a `decimal.Decimal`; with `parse_float=float`
        all decimals are floats.

        Raises:
            RequestFailed, RequestCancelled: there is no result.
            ResultNotRepresentable: Python cannot represent it; its `raw` and that of this object have the bytes.
        """
        if self.raw is None:
            if self.status == "cancelled":
                raise RequestCancelled(self.id)
            error = self.error or Failure("internal", f"the request is {self.status} and has no result")
            raise RequestFailed(
                self.id,
                kind=error.kind,
                message=error.message,
                status_code=error.status_code,
                body=error.body,
                attempts=self.attempts,
            )
        return decode(self.raw, parse_float)


def snapshot(document: bytes, address: str) -> Snapshot:
    """Reads the gateway's GET document."""
    head = _HEAD.match(document)
    tail_start = document.rfind(b',"timestamp":"')
    tail = _TAIL.match(document, tail_start) if tail_start > 0 else None
    if head and tail:
        return Snapshot(
            head.group(1).decode(),
            "completed",
            int(tail.group(2)),
            tail.group(1).decode(),
            None,
            document[head.end() : tail_start],
        )
    try:
        found = members(document)
        raw = found.pop("result", None)
        fields = {name: json.loads(text) for name, text in found.items()}
        failure = fields.get("error")
        return Snapshot(
            str(fields["id"]),
            str(fields["status"]),
            int(fields.get("attempts", 0)),
            fields.get("timestamp"),
            Failure(
                str(failure.get("kind")), str(failure.get("message")), failure.get("status_code"), failure.get("body")
            )
            if isinstance(failure, dict)
            else None,
            raw,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConnectionFailed(f"what answers at {address} is not a Cortex gateway") from error


@dataclass(frozen=True)
class LogLine:
    """One line that a container wrote."""

    replica: str
    container: str
    text: str
    #: Only for a job: the index of the worker, and its attempt.
    worker: Optional[int] = None
    attempt: Optional[int] = None

    def __str__(self) -> str:
        origin = self.replica if self.worker is None else f"worker-{self.worker}"
        return f"{origin}/{self.container} | {self.text}"


def log_line(document: Dict[str, Any]) -> Optional[LogLine]:
    """A line of a container; None for a notice of the platform, which goes to this package's logger."""
    if document.get("error"):
        raise platform_error(500, document, default="the log stream was interrupted")
    if document.get("notice"):
        _logger.warning("%s", document["notice"])
        return None
    return LogLine(
        document.get("replica", "-"),
        document.get("container", "-"),
        document.get("text", ""),
        document.get("worker"),
        document.get("attempt"),
    )
