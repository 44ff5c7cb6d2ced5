"""Runs a row against a proxy and compares the outcome with what the row wants."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass

from caller import Call, Outcome
from origin import Origin
from row import Response, Row, Want

# What the platform sets in the head of a request (R3); checked by `own_request_fields`.
OWN_FIELDS = {
    b"x-cortex-request-id", b"x-request-id", b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto",
    b"x-forwarded-host", b"x-forwarded-prefix", b"transfer-encoding", b"connection", b"keep-alive"}
# And in the head of a response (R4).
OWN_RESPONSE_FIELDS = {b"x-cortex-request-id", b"x-cortex-origin", b"date", b"transfer-encoding", b"connection"}
UUID7 = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


@dataclass
class Run:
    """What one row led to."""

    outcome: Outcome
    received: list
    fate: str
    unread: bytes

    @property
    def complete(self) -> list:
        return [item for item in self.received if item.is_complete]

    @property
    def forwarded(self) -> int:
        """Requests that the container received completely, and malformed bytes."""
        return sum(item.is_complete or bool(item.message is None and item.raw) for item in self.received)

    @property
    def summary(self) -> str:
        answers = "+".join(map(str, self.outcome.statuses)) or self.outcome.end
        return f"{self.forwarded} forwarded, {answers}, {self.fate}"


def run(
    row: Row, address: tuple, origin: Origin, after: bytes = b"/raw/__after", quiet: float = 0.01, linger: float = 1.5
) -> Run:
    """`linger` is how long a connection that must be closed may stay open after the last response."""
    origin.begin(row.play)
    wanted = len(row.got or ())
    call = Call(address, row.methods, row.seconds)
    try:
        call.send(row.send)
        is_closing = row.fate == "closed" or any(response.is_complete is False for response in row.got or ())
        outcome = call.wait(lambda now: len(now.complete) >= wanted or now.fault or now.is_tunnel)
        if is_closing:
            outcome = call.wait(lambda now: False, linger)
        fate = "closed" if outcome.end != "open" else "open"
        if row.fate == "open" and fate == "open" and not outcome.rest and not outcome.fault:
            fate = probe(call, after, len(outcome.responses))
    finally:
        call.close()
    # Whatever else the proxy sends to the container arrives within this time.
    time.sleep(quiet)
    received = [item for item in origin.all() if not is_probe(item)]
    return Run(outcome, received, fate, origin.unread())


def is_probe(item) -> bool:
    return item.message is not None and item.message.target.endswith(b"/__after")


def probe(call: Call, target: bytes, before: int) -> str:
    """Whether the connection serves another request."""
    call.methods = call.methods[:before] + [b"GET"] * (before - len(call.methods)) + [b"GET"]
    call.send([b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"])
    outcome = call.wait(lambda now: len(now.responses) > before and now.responses[-1].is_complete)
    if len(outcome.responses) > before and outcome.responses[-1].body == b"after":
        return "open"
    return "closed" if outcome.end != "open" else f"out of step: {outcome.statuses[before:]} {outcome.fault}"


def faults(row: Row, run: Run) -> list[str]:
    """What differs from the row, in sentences; empty when nothing does."""
    found = []
    statuses = run.outcome.statuses
    if row.may_refuse and statuses and statuses[0] in row.may_refuse and not run.complete:
        return []
    if run.outcome.fault:
        found.append(f"the response is malformed: {run.outcome.fault}")
    if row.seen is not None:
        compare_requests(row, run, found)
    for item in run.received:
        if item.message is None and item.raw:
            found.append(f"the container received malformed bytes ({item.fault}): {item.raw[:300]!r}")
    if run.unread and row.seen is not None and all(item.is_complete for item in run.received):
        found.append(f"the container received bytes after the requests: {run.unread[:200]!r}")
    compare_responses(row, run, found)
    if row.fate != "any" and run.fate != row.fate:
        found.append(f"connection: {run.fate}, expected: {row.fate}")
    return found


def compare_requests(row: Row, run: Run, found: list) -> None:
    complete = run.complete
    if len(complete) != len(row.seen):
        found.append(f"the container received {len(complete)} requests, expected {len(row.seen)}: "
                     f"{[item.raw[:200] for item in complete]}")
    for want, item in zip(row.seen, complete):
        compare_request(row, want, item.message, found)


def compare_request(row: Row, want: Want, message, found: list) -> None:
    def compare(what, got, expected):
        if got != expected:
            found.append(f"the container received {what} {got!r}, expected {expected!r}")

    compare("the method", message.method, want.method)
    compare("the target", message.target, want.target)
    if want.lines is not None:
        lines = tuple(
            name + b":" + value for name, value in message.fields if name.lower() not in OWN_FIELDS)
        compare("the fields", lines, tuple(re.sub(rb":[ \t]*", b":", line, count=1) for line in want.lines))
    compare("the body", message.body, want.body)
    if want.framing:
        compare("the framing", message.framing, want.framing)
    compare("the trailers", tuple(name + b": " + value for name, value in message.trailers), want.trailers)
    own_request_fields(row, message, found)
    if want.check:
        fault = want.check(message)
        if fault:
            found.append(fault)


def own_request_fields(row: Row, message, found: list) -> None:
    def one(name):
        values = message.values(name)
        if len(values) != 1:
            found.append(f"the container received {name} {len(values)} times: {values}")
        return values[0] if values else b""

    if not UUID7.match(one("X-Cortex-Request-ID")):
        found.append("X-Cortex-Request-ID is no UUID of version 7")
    one("X-Request-ID")
    if message.minor != 1:
        found.append("the container received HTTP/1.0")
    if not (message.values("Via") or [b""])[-1].endswith((b"1.1 cortex", b"1.0 cortex")):
        found.append(f"Via: {message.values('Via')}")
    for name, end in ((b"X-Forwarded-For", b"127.0.0.1"), (b"X-Forwarded-Prefix", b"/" + row.api.encode())):
        if not (message.values(name.decode()) or [b""])[-1].endswith(end):
            found.append(f"{name.decode()}: {message.values(name.decode())}")
    for name in ("Forwarded", "X-Forwarded-Proto"):
        if not message.values(name):
            found.append(f"the container received no {name}")
    named = {item.strip().lower() for value in message.values("connection") for item in value.split(b",")}
    if named - {b"keep-alive", b"close", b"te", b"upgrade", b""}:
        found.append(f"Connection: {named}")


def compare_responses(row: Row, run: Run, found: list) -> None:
    responses = run.outcome.responses
    if row.got is None:
        return
    if len(responses) != len(row.got):
        found.append(f"responses: {run.outcome.statuses}, expected {len(row.got)}; the connection is {run.outcome.end}; "
                     f"rest {run.outcome.rest[:200]!r}")
    if row.fate != "any" and run.outcome.rest and not run.outcome.fault:
        found.append(f"the caller received more: {run.outcome.rest[:200]!r}")
    for want, got in zip(row.got, responses):
        compare_response(want, got, run, found)


def compare_response(want: Response, got, run: Run, found: list) -> None:
    def compare(what, got, expected):
        if got != expected:
            found.append(f"the caller received {what} {got!r}, expected {expected!r}")

    allowed = want.status if isinstance(want.status, (set, frozenset, tuple)) else {want.status}
    if got.status not in allowed:
        found.append(f"the caller received status {got.status} {got.body[:200]!r}, expected {sorted(allowed)}")
        return
    if want.is_complete is not None:
        compare("completeness", got.is_complete, want.is_complete)
    if want.lines is not None:
        lines = tuple(name + b": " + value for name, value in got.fields if name.lower() not in OWN_RESPONSE_FIELDS)
        compare("the fields", lines, want.lines)
    if want.body is not None:
        compare("the body", got.body, want.body)
    if want.framing:
        compare("the framing", got.framing, want.framing)
    if want.trailers is not None:
        compare("the trailers", tuple(name + b": " + value for name, value in got.trailers), want.trailers)
    if want.interim is not None:
        compare("interim responses", tuple(item.status for item in run.outcome.interim), want.interim)
    if len(got.values("X-Cortex-Request-ID")) > 1 or len(got.values("X-Cortex-Origin")) != 1:
        found.append(f"X-Cortex-Request-ID {got.values('X-Cortex-Request-ID')}, Origin {got.values('X-Cortex-Origin')}")
    if want.kind or got.value("X-Cortex-Origin") == b"gateway":
        own_response(want, got, found)
    if want.check:
        fault = want.check(got)
        if fault:
            found.append(fault)


def own_response(want: Response, got, found: list) -> None:
    """R16: a response of the platform."""
    if got.value("X-Cortex-Origin") != b"gateway":
        found.append(f"X-Cortex-Origin of an error: {got.value('X-Cortex-Origin')}")
    if got.value("Access-Control-Allow-Origin") != b"*":
        found.append("a response of the platform without Access-Control-Allow-Origin: *")
    if got.framing == "none":
        return
    try:
        error = json.loads(got.body)["error"]
        kind, message = error["kind"], error["message"]
    except (ValueError, KeyError, TypeError):
        found.append(f"the error is not the JSON of A4: {got.body[:200]!r}")
        return
    if not message:
        found.append("an error without message")
    if want.kind and kind != want.kind:
        found.append(f"kind {kind}, expected {want.kind}")
    if got.status in (502, 503, 504, 404, 413) and not (got.value("Proxy-Status") or b"").startswith(b"cortex; error="):
        found.append(f"Proxy-Status: {got.value('Proxy-Status')}")
