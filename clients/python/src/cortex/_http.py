"""Calls as values, and plans of calls: what to send, when to wait, when to stop.

A plan is a generator that yields `Call`s and `Pause`s and receives the `Reply`s. It does no I/O, so the synchronous and
the asynchronous client run the same plans, and tests run them without a network or a clock.
"""

from __future__ import annotations

import email.utils
import json
import random
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Callable, Generator, Mapping, Optional, TypeVar, Union

from cortex._payload import Payload
from cortex._version import __version__
from cortex.exceptions import ConnectionFailed, PlatformError, QueueFull, Unavailable, is_own_answer, platform_error

T = TypeVar("T")

USER_AGENT = f"cortex-python/{__version__}"


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Optional[Payload] = None
    params: Mapping[str, str] = field(default_factory=dict)
    #: Longest silence of the server, in seconds; None for no limit.
    timeout: Optional[float] = 30.0
    #: Path and query that are appended to the URL byte for byte, if the call is streamed.
    suffix: str = ""
    #: Whether the driver answers with the response as soon as its head has arrived.
    is_streamed: bool = False


@dataclass(frozen=True)
class Pause:
    """A pause of some seconds."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class LinkFailure(Exception):
    """A call without an answer.

    Attributes:
        error: the error for the caller.
        may_have_arrived: whether the server may have acted on the call.
        is_final: whether another try would fail for the same reason.
    """

    def __init__(self, error: PlatformError, *, may_have_arrived: bool, is_final: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.may_have_arrived = may_have_arrived
        self.is_final = is_final


Step = Union[Call, Pause]
Plan = Generator[Step, Any, T]


class Repeat(Enum):
    """When a call without an answer may be sent again."""

    #: The call is idempotent.
    ALWAYS = "always"
    #: Only if it certainly did not arrive.
    NEVER_ARRIVED = "never arrived"


@dataclass(frozen=True)
class Retry:
    """How often and after which delays a call is retried.

    Retried are 429, 503, lost connections, and a proxy's answer that the platform is not available. Delays double from
    `initial` to `longest` seconds. Each is shortened by a random share of up to half, so that many callers do not
    return at once. The delay is at least `Retry-After`, of which at most `longest_advised` seconds count.
    """

    #: Number of tries; 1 disables retries.
    attempts: int = 10
    initial: float = 0.2
    longest: float = 10.0
    longest_advised: float = 300.0
    #: Returns a number between 0 and 1; tests replace it.
    chance: Callable[[], float] = random.random

    def pause(self, failures: int, retry_after: Optional[float]) -> float:
        """Seconds until the next try, after this number of failures in a row."""
        spread = 1.0 - 0.5 * self.chance()
        pause: float = min(self.longest, self.initial * 2.0 ** min(failures - 1, 30)) * spread
        if retry_after is None:
            return pause
        return max(pause, min(retry_after, self.longest_advised) * (1.0 + 0.25 * (1.0 - spread)))


def retry_after(headers: Mapping[str, str]) -> Optional[float]:
    """`Retry-After`: seconds, or a date."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


#: Statuses with which a proxy reports that it cannot reach the platform.
_AWAY = {408, 425, 500, 502, 503, 504, *range(520, 530)}


def is_away(reply: Reply) -> bool:
    """Whether a proxy answered that the platform is not available: such a status without an error of the platform."""
    return reply.status in _AWAY and not is_own_answer(reply.json())


def error_of(reply: Reply) -> PlatformError:
    """The error for an answer that is not a success."""
    document = reply.json()
    if is_away(reply):
        return Unavailable(
            f"{reply.url} answered {reply.status}, and not in the platform's words: what stands before the platform does"
            " not reach it; try again later",
            status=reply.status,
            retry_after=retry_after(reply.headers),
        )
    return platform_error(
        reply.status,
        document if isinstance(document, Mapping) else {},
        default=f"{reply.url} answered {reply.status}; is a Cortex {__version__} there?",
        retry_after=retry_after(reply.headers),
    )


def attempt(call: Call, retry: Retry, repeat: Repeat = Repeat.ALWAYS, *, waits_for_queue: bool = False) -> Plan[Reply]:
    """Sends a call until the answer is other than 429, 503, or a proxy's answer that the platform is not available.

    Args:
        waits_for_queue: whether to wait without limit for a full queue.

    Raises:
        PlatformError: the error of the last try, or of an answer that is not a success and not retried.
    """
    failures = 0
    while True:
        error: PlatformError
        try:
            reply: Reply = yield call
        except LinkFailure as failure:
            if failure.is_final or (failure.may_have_arrived and repeat is Repeat.NEVER_ARRIVED):
                raise failure.error from None
            error = failure.error
        else:
            if 200 <= reply.status < 300:
                return reply
            error = error_of(reply)
            if is_away(reply):
                if repeat is Repeat.NEVER_ARRIVED:
                    raise error
            elif reply.status not in (429, 503):
                raise error
        if not (isinstance(error, QueueFull) and waits_for_queue):
            failures += 1
            if failures >= retry.attempts:
                raise error
        if call.payload is not None and not call.payload.is_repeatable:
            raise error
        yield Pause(retry.pause(max(1, failures), error.retry_after))


def json_of(reply: Reply) -> Any:
    """A successful answer as JSON.

    Raises:
        ConnectionFailed: the answer is not JSON, so it does not come from a Cortex operator.
    """
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise ConnectionFailed(
            f"the answer of {reply.url} is not understood; compare both versions: this package has {__version__}"
        ) from error
