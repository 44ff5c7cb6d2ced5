"""An API's endpoint, and the requests submitted to it."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Deque, Iterable, Iterator, Mapping, Optional, Set, Type, Union

import httpx

from cortex._addresses import endpoint_url
from cortex._documents import Snapshot
from cortex._drivers import Driver
from cortex._gateway import Gateway
from cortex._http import Retry
from cortex._payload import NO_PAYLOAD
from cortex._progress import Progress
from cortex.exceptions import CortexException, InvalidArgument, RequestCancelled, RequestFailed, ResultTimeout
from cortex.response import Response


def outcome(now: Snapshot) -> Any:
    """The result of a request, from its state at the end of the wait."""
    if not now.has_ended:
        raise ResultTimeout(now.id, now.status)
    return now.json()


class Request:
    """One submitted request. May be used from any thread."""

    def __init__(self, gateway: Gateway, driver: Driver, request_id: str) -> None:
        self._gateway, self._driver = gateway, driver
        #: Its id. `client.request(api, id)` creates this object again, also in another process.
        self.id = request_id
        self._ended: Optional[Snapshot] = None

    def __repr__(self) -> str:
        return f"<Request {self.id} at {self._gateway.url}>"

    def _seen(self, now: Snapshot) -> Snapshot:
        # A failed request can be put back into the queue; the others do not change any more.
        if now.status in ("completed", "cancelled"):
            self._ended = now
        return now

    def read(self) -> Snapshot:
        """The current state of the request: asks the gateway."""
        return self._ended or self._seen(self._driver.run(self._gateway.read(self.id)))

    @property
    def status(self) -> str:
        """`in_queue`, `in_progress`, `completed`, `failed` or `cancelled`: asks the gateway."""
        return self.read().status

    def wait(self, seconds: Optional[float] = None) -> Snapshot:
        """The state of the request when it has ended, or after this number of seconds (None: waits for the end).

        Raises:
            NotFound: its result has expired, or its API was deleted.
            ConnectionFailed, Unavailable: the platform was not available for longer than the retries last.
        """
        return self._ended or self._seen(self._driver.run(self._gateway.wait(self.id, seconds)))

    def result(self, wait: Optional[float] = None) -> Any:
        """The container's JSON as a Python value.

        Integers are exact. A decimal is a `float` if a float represents it exactly, otherwise a `decimal.Decimal`.
        `wait(…).raw` has the bytes.

        Args:
            wait: seconds to wait for it; None waits for the end, 0 does not wait.

        Raises:
            ResultTimeout: it has not ended yet.
            RequestFailed: it failed; `kind` is the reason.
            RequestCancelled: it was cancelled.
            ResultNotRepresentable: Python cannot represent the result; the error's `raw` has its bytes.
        """
        return outcome(self.wait(wait))

    def cancel(self) -> Snapshot:
        """Cancels the request: removes it from the queue, or closes the connection to the container.

        Raises:
            Conflict: it had already ended in another way.
        """
        return self._seen(self._driver.run(self._gateway.cancel(self.id)))


class Endpoint:
    """An API by its URL, without an operator and a token.

    May be used from any thread.

    Args:
        url: such as `http://127.0.0.1:8889/hello`.
        retry: how often and after which delays a call is retried.
        http: an `httpx.Client` to use, for example with certificates; the caller must close it.
    """

    def __init__(self, url: str, *, retry: Optional[Retry] = None, http: Optional[httpx.Client] = None) -> None:
        address = endpoint_url(url)
        self._gateway = Gateway(address, retry or Retry())
        self._driver = Driver(address, http)

    @classmethod
    def _of(cls, gateway: Gateway, driver: Driver) -> Endpoint:
        endpoint = cls.__new__(cls)
        endpoint._gateway, endpoint._driver = gateway, driver
        return endpoint

    @property
    def url(self) -> str:
        return self._gateway.url

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}>"

    def close(self) -> None:
        """Closes its connections."""
        self._driver.close()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def submit(
        self,
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> Request:
        """Submits a request; returns when it is durable.

        Args:
            payload: bytes and text are sent unchanged, a `pathlib.Path` or an open binary file is streamed, any other
                value is sent as JSON. The default is an empty body.
            content_type: replaces the one that follows from the payload.
            headers, params: are forwarded to the container.
            idempotency_key: the same key never creates a second request. By default every call has its own key, which
                makes its retries safe.

        Raises:
            PlatformError: the gateway refused the request, also after retries.
        """
        plan = self._gateway.submit(
            payload, content_type=content_type, headers=headers, params=params, idempotency_key=idempotency_key
        )
        return self.request(self._driver.run(plan))

    def call(
        self,
        path: str = "/",
        method: str = "POST",
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> Response:
        """Calls a RealtimeAPI or a TrafficSplitter; returns when the head of the response has arrived.

        A response with any status is returned if a container sent it; `raise_for_status` raises for those that are not
        2xx. An answer of the platform itself, such as 503 when the queue is full, is raised. Cookies are not kept.

        Args:
            path: path and query below the endpoint; sent byte for byte.
            method: the HTTP method.
            payload: as `submit` takes it.
            content_type: replaces the one that follows from the payload.
            headers: are sent to the container.
            params: are appended to the query.
            timeout: longest silence of the other side, in seconds; None for no limit but those of the API.

        Raises:
            PlatformError: the platform answered instead of a container (NotFound, QueueFull, Unavailable, TimedOut …),
                or there was no response (ConnectionFailed, TimedOut).
        """
        plan = self._gateway.call(
            path, method, payload, content_type=content_type, headers=headers, params=params, timeout=timeout
        )
        return Response._of(self._driver.run(plan))

    def request(self, request_id: str) -> Request:
        """A request that was submitted before, by this or another process. Makes no call."""
        return Request(self._gateway, self._driver, request_id)

    def map(
        self,
        inputs: Iterable[Any],
        *,
        concurrency: int = 16,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        return_exceptions: bool = False,
        progress: Optional[bool] = None,
    ) -> Iterator[Any]:
        """Submits every input and yields the results in the order of the inputs.

        At most `concurrency` requests are under way at a time, so the inputs may be endless. It waits for a full queue.
        Leaving early, by `break` or an error, cancels the requests under way.

        Args:
            inputs: payloads as `submit` takes them.
            return_exceptions: yields the error of a failed request in the place of its result instead of raising it.
            progress: whether to show a progress line on standard error; the default is only on a terminal.
        """
        if concurrency < 1:
            raise InvalidArgument("concurrency must be 1 or more")
        mapping = _Mapping(self, dict(content_type=content_type, headers=headers, params=params))
        return mapping.run(inputs, concurrency, return_exceptions, progress)


def title_of(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def length_of(inputs: Iterable[Any]) -> Optional[int]:
    try:
        return len(inputs)  # type: ignore[arg-type]
    except TypeError:
        return None


def window_of(concurrency: int) -> int:
    """How many results may wait for an earlier one."""
    return max(64, 4 * concurrency)


class _Mapping:
    """One run of `map`: threads that submit and wait."""

    def __init__(self, endpoint: Endpoint, options: Mapping[str, Any]) -> None:
        self._endpoint, self._options = endpoint, options
        self._gateway = endpoint._gateway
        self._driver = endpoint._driver.sleeping(self._sleep)
        self._lock = threading.Lock()
        self._live: Set[str] = set()
        self._over = threading.Event()

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise RequestCancelled("(given up)")

    def _one(self, value: Any) -> Any:
        if self._over.is_set():
            raise RequestCancelled("(not submitted)")
        request_id = self._driver.run(self._gateway.submit(value, waits_for_queue=True, **self._options))
        with self._lock:
            self._live.add(request_id)
        try:
            if self._over.is_set():
                self._cancel(request_id)
            return outcome(self._driver.run(self._gateway.wait(request_id, None)))
        finally:
            with self._lock:
                self._live.discard(request_id)

    def _cancel(self, request_id: str) -> None:
        """Cancels without retries, so that leaving early does not wait for a platform that does not answer."""
        once = Gateway(self._gateway.url, Retry(attempts=1))
        with contextlib.suppress(CortexException):
            self._driver.run(once.cancel(request_id))

    def run(
        self, inputs: Iterable[Any], concurrency: int, return_exceptions: bool, progress: Optional[bool]
    ) -> Iterator[Any]:
        bar = Progress(title_of(self._endpoint.url), length_of(inputs), progress)
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="cortex-map")
        waiting: Deque[Future[Any]] = deque()
        running: Set[Future[Any]] = set()
        rest = iter(inputs)
        has_more = True
        try:
            while True:
                while has_more and len(running) < concurrency and len(waiting) < window_of(concurrency):
                    try:
                        value = next(rest)
                    except StopIteration:
                        has_more = False
                        break
                    future = pool.submit(self._one, value)
                    waiting.append(future)
                    running.add(future)
                if not waiting:
                    return
                if waiting[0].done() and waiting[0] not in running:
                    yield _value(waiting.popleft(), return_exceptions)
                    continue
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    bar.step(failed=future.exception() is not None)
        finally:
            self._over.set()
            for future in running:
                future.cancel()
            with self._lock:
                left = list(self._live)
            for request_id in left:
                self._cancel(request_id)
            pool.shutdown(wait=True)
            bar.close()


def _value(future: Future[Any], return_exceptions: bool) -> Any:
    error: Union[BaseException, None] = future.exception()
    if error is None:
        return future.result()
    if return_exceptions and isinstance(error, (RequestFailed, RequestCancelled)):
        return error
    raise error
