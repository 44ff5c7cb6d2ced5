"""The gateway's calls as plans (contract A1–A7)."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Mapping, Optional

import httpx

from cortex._arguments import header_fields
from cortex._arguments import idempotency_key as check_key
from cortex._arguments import method as check_method
from cortex._arguments import suffix as check_suffix
from cortex._documents import Snapshot, snapshot
from cortex._handshake import check_container
from cortex._http import Call, LinkFailure, Pause, Plan, Repeat, Retry, attempt
from cortex._operator import segment
from cortex._payload import NO_PAYLOAD, payload
from cortex.exceptions import (
    Conflict,
    ConnectionFailed,
    CortexException,
    NotSupported,
    PlatformError,
    TimedOut,
    Unavailable,
)

#: Longest wait of one long poll, in seconds. Proxies commonly end a call that stays silent for 60 s.
LONGEST_POLL = 50

_ONCE = Retry(attempts=1)


@dataclass
class Gateway:
    """Creates plans for one API's endpoint."""

    url: str
    retry: Retry = field(default_factory=Retry)
    clock: Callable[[], float] = time.monotonic
    #: Asks the operator for the current address of the endpoint: a restarted platform may listen on another port. None
    #: if no operator is known.
    locate: Optional[Callable[[], Plan[str]]] = None
    #: The API's kind, if the operator was asked.
    kind: Optional[str] = None

    def expect(self, stores_requests: bool, api_name: str) -> None:
        """Checks that the API's kind has the calls of stored requests, or `call`.

        Raises:
            NotSupported: it is of another kind; the message names the call to use.
        """
        is_async = self.kind == "AsyncAPI"
        if self.kind is None or is_async == stores_requests:
            return
        if self.kind in ("BatchAPI", "TaskAPI"):
            raise NotSupported(
                f"{api_name} is a {self.kind}, which runs jobs; submit one with client.submit_job({api_name!r}, …)",
                status=400,
            )
        raise NotSupported(
            f"{api_name} is an AsyncAPI; submit a request to it with client.submit({api_name!r}, …)"
            if is_async
            else f"{api_name} is a {self.kind}, which answers directly and stores no requests;"
            f" call it with client.call({api_name!r}, …)",
            status=400,
        )

    def __getstate__(self) -> Dict[str, Any]:
        # A pickled endpoint contains no token of an operator.
        return {**self.__dict__, "locate": None}

    def _has_moved(self) -> Plan[bool]:
        """Whether the operator knows another address of the endpoint, which is used from then on."""
        if self.locate is None:
            return False
        try:
            url = yield from self.locate()
        except CortexException:
            return False  # The operator does not answer either.
        if url == self.url:
            return False
        self.url = url
        return True

    def submit(
        self,
        value: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
        waits_for_queue: bool = False,
    ) -> Plan[str]:
        """Submits a request and returns its id.

        Every try has the same key, so a lost answer never creates a second request.
        """
        body = payload(value, content_type)
        fields = header_fields(headers or {})
        if body.content_type and not any(name.lower() == "content-type" for name in fields):
            fields.update(header_fields({"Content-Type": body.content_type}))
        given = next((value for name, value in fields.items() if name.lower() == "idempotency-key"), None)
        if given is not None:
            check_key(given)
        else:
            fields["Idempotency-Key"] = uuid.uuid4().hex if idempotency_key is None else check_key(idempotency_key)
        # The limit is on silence: a large payload may take longer.
        call = Call("POST", self.url, fields, body, params or {}, timeout=120)
        check_container(self.url)
        try:
            reply = yield from attempt(call, self.retry, waits_for_queue=waits_for_queue)
        except ConnectionFailed:
            if not (body.is_repeatable and (yield from self._has_moved())):
                raise
            reply = yield from attempt(replace(call, url=self.url), self.retry, waits_for_queue=waits_for_queue)
        document = reply.json()
        if not isinstance(document, dict) or not isinstance(document.get("id"), str):
            raise ConnectionFailed(f"what answers at {self.url} is not a Cortex gateway")
        identifier: str = document["id"]
        return identifier

    def call(
        self,
        path: str,
        method: str,
        value: Any,
        *,
        content_type: Optional[str],
        headers: Optional[Mapping[str, str]],
        params: Optional[Mapping[str, str]],
        timeout: Optional[float],
    ) -> Plan[httpx.Response]:
        """Sends a request and returns the response when its head has arrived (contract R24).

        It is sent again only if it certainly did not arrive: no connection could be made.
        """
        body = payload(value, content_type)
        fields = header_fields(headers or {})
        if body.content_type and not any(name.lower() == "content-type" for name in fields):
            fields.update(header_fields({"Content-Type": body.content_type}))
        call = Call(
            check_method(method),
            self.url,
            fields,
            body,
            {},
            timeout,
            check_suffix(path, params or {}),
            is_streamed=True,
        )
        check_container(self.url)
        failures = 0
        while True:
            try:
                response: httpx.Response = yield call
                return response
            except LinkFailure as failure:
                failures += 1
                if failure.is_final or failure.may_have_arrived or not body.is_repeatable:
                    raise failure.error from None
                if failures >= self.retry.attempts:
                    raise failure.error from None
            if (yield from self._has_moved()):
                call = replace(call, url=self.url)
            else:
                yield Pause(self.retry.pause(failures, None))

    def read(self, request_id: str, wait: float = 0, retry: Optional[Retry] = None) -> Plan[Snapshot]:
        """The state of the request; with `wait`, when it ends or the time is over."""
        seconds = int(min(wait, LONGEST_POLL))
        check_container(self.url)
        call = Call(
            "GET",
            f"{self.url}/{segment(request_id)}",
            {"Prefer": f"wait={seconds}"} if seconds else {},
            timeout=30 + seconds,
        )
        reply = yield from attempt(call, retry or self.retry)
        return snapshot(reply.body, self.url)

    def cancel(self, request_id: str) -> Plan[Snapshot]:
        check_container(self.url)
        call = Call("DELETE", f"{self.url}/{segment(request_id)}", timeout=60)
        try:
            reply = yield from attempt(call, self.retry, Repeat.NEVER_ARRIVED)
        except (ConnectionFailed, TimedOut):
            # The state of the request shows whether the call arrived.
            now = yield from self.read(request_id)
            if now.status == "cancelled":
                return now
            reply = yield from attempt(call, self.retry, Repeat.NEVER_ARRIVED)
        except Conflict:
            now = yield from self.read(request_id)
            if now.status == "cancelled":
                return now
            raise
        return snapshot(reply.body, self.url)

    def wait(self, request_id: str, limit: Optional[float]) -> Plan[Snapshot]:
        """The state of the request when it has ended, or after `limit` seconds (None: waits for the end).

        Uses long polls. If a gateway answers them at once, the delay between polls increases. A gateway that is not
        available for a while is retried, at the address that the operator reports by then.
        """
        deadline = None if limit is None else self.clock() + limit
        pause, away = 0.2, 0
        while True:
            start = self.clock()
            rest = float(LONGEST_POLL) if deadline is None else max(0.0, deadline - start)
            seconds = int(min(rest, LONGEST_POLL))
            try:
                now = yield from self.read(request_id, seconds, retry=_ONCE)
            except (ConnectionFailed, TimedOut, Unavailable) as error:
                away += 1
                if away >= self.retry.attempts or (deadline is not None and self.clock() >= deadline):
                    raise _while_waiting(error, request_id) from error
                pause = self.retry.pause(away, error.retry_after)
                if (yield from self._has_moved()):
                    continue
            else:
                away = 0
                if now.has_ended or (deadline is not None and self.clock() >= deadline):
                    return now
                if seconds and self.clock() - start >= seconds - 0.5:
                    pause = 0.2
                    continue
            yield Pause(pause if deadline is None else min(pause, max(0.0, deadline - self.clock())))
            pause = min(2.0, pause * 2)


def _while_waiting(error: PlatformError, request_id: str) -> PlatformError:
    return type(error)(
        f"{error.message} (while waiting for request {request_id}, which continues)",
        kind=error.kind,
        status=error.status,
    )
