"""The asynchronous twins: the same names, arguments and first docstring lines (a test compares them), with `await`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from types import TracebackType
from typing import (
    Any,
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Deque,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Set,
    Type,
    Union,
)

import httpx

from cortex._addresses import endpoint_url, gateway_url
from cortex._documents import LogLine, Snapshot, log_line
from cortex._drivers import AsyncDriver
from cortex._gateway import Gateway
from cortex._http import Retry, T
from cortex._job_calls import JobCalls
from cortex._operator import (
    Deployed,
    Document,
    Operator,
    configuration_of,
    older_version,
    read_configuration,
    refuse_older,
)
from cortex._payload import NO_PAYLOAD
from cortex._progress import Progress
from cortex.client import environment_of, kind_of
from cortex.endpoint import length_of, outcome, title_of, window_of
from cortex.environments import Environment
from cortex.exceptions import (
    CortexException,
    InvalidArgument,
    NotFound,
    NotSupported,
    RequestCancelled,
    RequestFailed,
)
from cortex.jobs import AsyncJob
from cortex.response import AsyncResponse


class AsyncRequest:
    """One submitted request. Each event loop that uses it has its own connections."""

    def __init__(self, gateway: Gateway, driver: AsyncDriver, request_id: str) -> None:
        self._gateway, self._driver = gateway, driver
        self.id = request_id
        self._ended: Optional[Snapshot] = None

    def __repr__(self) -> str:
        return f"<AsyncRequest {self.id} at {self._gateway.url}>"

    def _seen(self, now: Snapshot) -> Snapshot:
        if now.status in ("completed", "cancelled"):
            self._ended = now
        return now

    async def read(self) -> Snapshot:
        """The current state of the request: asks the gateway."""
        return self._ended or self._seen(await self._driver.run(self._gateway.read(self.id)))

    async def status(self) -> str:
        """`in_queue`, `in_progress`, `completed`, `failed` or `cancelled`: asks the gateway."""
        return (await self.read()).status

    async def wait(self, seconds: Optional[float] = None) -> Snapshot:
        """The state of the request when it has ended, or after this number of seconds (None: waits for the end).

        See `Request.wait` for arguments and errors.
        """
        return self._ended or self._seen(await self._driver.run(self._gateway.wait(self.id, seconds)))

    async def result(self, wait: Optional[float] = None) -> Any:
        """The container's JSON as a Python value.

        See `Request.result` for arguments and errors.
        """
        return outcome(await self.wait(wait))

    async def cancel(self) -> Snapshot:
        """Cancels the request: removes it from the queue, or closes the connection to the container.

        See `Request.cancel` for arguments and errors.
        """
        return self._seen(await self._driver.run(self._gateway.cancel(self.id)))


class AsyncEndpoint:
    """An API by its URL, without an operator and a token.

    Each event loop that uses it has its own connections.
    """

    def __init__(self, url: str, *, retry: Optional[Retry] = None, http: Optional[httpx.AsyncClient] = None) -> None:
        address = endpoint_url(url)
        self._gateway = Gateway(address, retry or Retry())
        self._driver = AsyncDriver(address, http)

    @classmethod
    def _of(cls, gateway: Gateway, driver: AsyncDriver) -> AsyncEndpoint:
        endpoint = cls.__new__(cls)
        endpoint._gateway, endpoint._driver = gateway, driver
        return endpoint

    @property
    def url(self) -> str:
        return self._gateway.url

    def __repr__(self) -> str:
        return f"<AsyncEndpoint {self.url}>"

    async def close(self) -> None:
        """Closes its connections."""
        await self._driver.close()

    async def __aenter__(self) -> AsyncEndpoint:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def submit(
        self,
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> AsyncRequest:
        """Submits a request; returns when it is durable.

        See `Endpoint.submit` for arguments and errors.
        """
        plan = self._gateway.submit(
            payload, content_type=content_type, headers=headers, params=params, idempotency_key=idempotency_key
        )
        return self.request(await self._driver.run(plan))

    async def call(
        self,
        path: str = "/",
        method: str = "POST",
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> AsyncResponse:
        """Calls a RealtimeAPI or a TrafficSplitter; returns when the head of the response has arrived.

        See `Endpoint.call` for arguments and errors.
        """
        plan = self._gateway.call(
            path, method, payload, content_type=content_type, headers=headers, params=params, timeout=timeout
        )
        return await AsyncResponse._of(await self._driver.run(plan))

    def request(self, request_id: str) -> AsyncRequest:
        """A request that was submitted before, by this or another process. Makes no call."""
        return AsyncRequest(self._gateway, self._driver, request_id)

    async def map(
        self,
        inputs: Iterable[Any],
        *,
        concurrency: int = 16,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        return_exceptions: bool = False,
        progress: Optional[bool] = None,
    ) -> AsyncGenerator[Any, None]:
        """Submits every input and yields the results in the order of the inputs.

        See `Endpoint.map` for arguments and errors. Leaving early takes effect when the iterator is closed:
        `await iterator.aclose()` does that at once.
        """
        if concurrency < 1:
            raise InvalidArgument("concurrency must be 1 or more")
        options = dict(content_type=content_type, headers=headers, params=params)
        bar = Progress(title_of(self.url), length_of(inputs), progress)
        waiting: Deque[asyncio.Task[Any]] = deque()
        running: Set[asyncio.Task[Any]] = set()
        rest = iter(inputs)
        has_more = True
        over = asyncio.Event()
        driver = self._driver.sleeping(lambda seconds: _pause(seconds, over))
        try:
            while True:
                while has_more and len(running) < concurrency and len(waiting) < window_of(concurrency):
                    try:
                        value = next(rest)
                    except StopIteration:
                        has_more = False
                        break
                    task = asyncio.ensure_future(self._one(driver, value, options))
                    waiting.append(task)
                    running.add(task)
                if not waiting:
                    return
                if waiting[0] not in running:
                    yield _value(waiting.popleft(), return_exceptions)
                    continue
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    bar.step(failed=task.exception() is not None)
        finally:
            over.set()
            for task in running:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            bar.close()

    async def _one(self, driver: AsyncDriver, value: Any, options: Mapping[str, Any]) -> Any:
        plan = self._gateway.submit(value, waits_for_queue=True, **options)
        submitting = asyncio.ensure_future(driver.run(plan))
        try:
            return await self.request(await asyncio.shield(submitting)).result()
        except asyncio.CancelledError:
            await self._take_back(submitting)
            raise

    async def _take_back(self, submitting: asyncio.Future[str]) -> None:
        """Cancels a request if possible, also one whose id is not known yet: it may have arrived already."""
        await asyncio.wait([submitting], timeout=_GOODBYE)
        if not submitting.done():
            submitting.cancel()
        once = Gateway(self._gateway.url, Retry(attempts=1))
        with contextlib.suppress(CortexException, asyncio.CancelledError):
            await self._driver.run(once.cancel(await submitting))


#: Longest time that leaving early waits for pending answers, in seconds.
_GOODBYE = 10.0


async def _pause(seconds: float, over: asyncio.Event) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(over.wait(), seconds)
        raise RequestCancelled("(given up)")


def _value(task: asyncio.Task[Any], return_exceptions: bool) -> Any:
    error = task.exception()
    if error is None:
        return task.result()
    if return_exceptions and isinstance(error, (RequestFailed, RequestCancelled)):
        return error
    raise error


class AsyncClient:
    """Deploys and manages the APIs of an environment.

    Created by `cortex.async_client()`. Each event loop that uses it has its own connections.
    """

    def __init__(
        self,
        env: Union[Environment, Mapping[str, Any]],
        *,
        retry: Optional[Retry] = None,
        http: Optional[httpx.AsyncClient] = None,
    ) -> None:
        self._environment = environment_of(env)
        self._operator = Operator(self._environment, retry or Retry())
        self._driver = AsyncDriver(self._operator.base, http)
        self._endpoints: Dict[str, Gateway] = {}
        self.env = {"name": self._environment.name, "operator_endpoint": self._environment.operator_endpoint}
        self.env_name = self._environment.name

    def __repr__(self) -> str:
        return f"<AsyncClient of {self.env_name}: {self._operator.base}>"

    async def close(self) -> None:
        """Closes its connections."""
        await self._driver.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    async def deploy(
        self, api_spec: Document, force: bool = True, wait: bool = False, *, timeout: float = 1800, **older: Any
    ) -> Deployed:
        """Deploys or updates one API.

        See `Client.deploy` for arguments and errors.
        """
        refuse_older(older)
        name = str(api_spec.get("name", "api"))
        plan = self._operator.deploy(configuration_of(api_spec), f"{name}.json", os.getcwd(), force, wait, timeout)
        return await self._driver.run(plan)

    async def deploy_from_file(
        self,
        config_file: Union[str, os.PathLike[str]],
        force: bool = False,
        wait: bool = False,
        *,
        timeout: float = 1800,
    ) -> Deployed:
        """Deploys or updates every API of a `cortex.yaml`.

        See `Client.deploy_from_file` for arguments and errors.
        """
        content, name, folder = await asyncio.to_thread(read_configuration, config_file)
        return await self._driver.run(self._operator.deploy(content, name, folder, force, wait, timeout))

    async def get_api(self, api_name: str) -> Document:
        """An API: `spec`, `metadata`, `status`, `endpoint`, `api_versions`."""
        return await self._driver.run(self._operator.api(api_name))

    async def get_api_by_id(self, api_name: str, api_id: str) -> Document:
        """One version of an API; an older version has only its `spec`."""
        return await self._driver.run(self._operator.api(api_name, api_id))

    async def describe(self, api_name: str) -> Document:
        """An API with its replicas: the state of each, and the reason."""
        return await self._driver.run(self._operator.describe(api_name))

    async def list_apis(self) -> List[Document]:
        """All APIs."""
        return await self._driver.run(self._operator.apis())

    async def refresh(self, api_name: str, force: bool = False) -> None:
        """Restarts all replicas of an API without losing a request."""
        await self._driver.run(self._operator.refresh(api_name, force))

    async def delete(self, api_name: str, keep_cache: bool = False) -> None:
        """Removes an API, and its requests and results unless `keep_cache`."""
        await self._driver.run(self._operator.delete(api_name, keep_cache))
        self._endpoints.pop(api_name, None)

    async def logs(
        self,
        api_name: str,
        *,
        follow: bool = False,
        tail: Optional[int] = None,
        replica: Optional[str] = None,
        container: Optional[str] = None,
    ) -> AsyncIterator[LogLine]:
        """The log lines of an API's containers; with `follow`, without end. Leave the loop to stop."""
        async for document in self._driver.lines(self._operator.logs(api_name, follow, tail, replica, container)):
            line = log_line(document)
            if line is not None:
                yield line

    async def info(self) -> Document:
        """The platform: its version, engine and addresses."""
        return await self._driver.run(self._operator.info())

    async def endpoint(self, api_name: str) -> AsyncEndpoint:
        """An API's endpoint, with the URL that reaches it from here. The first call asks the operator."""
        gateway = self._endpoints.get(api_name)
        if gateway is None:
            api = await self._driver.run(self._operator.api(api_name))
            gateway = Gateway(gateway_url(api, self._operator.base), self._operator.retry, kind=kind_of(api))
            self._endpoints[api_name] = gateway
        gateway.locate = lambda: self._operator.endpoint(api_name)
        return AsyncEndpoint._of(gateway, self._driver)

    async def submit(
        self,
        api_name: str,
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> AsyncRequest:
        """Submits a request to an API; see `Endpoint.submit`."""
        return await self._reach(
            api_name,
            True,
            lambda endpoint: endpoint.submit(
                payload, content_type=content_type, headers=headers, params=params, idempotency_key=idempotency_key
            ),
        )

    async def call(
        self,
        api_name: str,
        path: str = "/",
        method: str = "POST",
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> AsyncResponse:
        """Calls a RealtimeAPI or a TrafficSplitter; returns when the head of the response has arrived.

        See `Client.call` for arguments and errors.
        """
        return await self._reach(
            api_name,
            False,
            lambda endpoint: endpoint.call(
                path, method, payload, content_type=content_type, headers=headers, params=params, timeout=timeout
            ),
        )

    async def _reach(self, api_name: str, stores_requests: bool, use: Callable[[AsyncEndpoint], Awaitable[T]]) -> T:
        known = self._endpoints.get(api_name)
        endpoint = await self.endpoint(api_name)
        try:
            endpoint._gateway.expect(stores_requests, api_name)
            return await use(endpoint)
        except (NotFound, NotSupported):
            if known is None:
                raise
            self._endpoints.pop(api_name, None)
            now = await self.endpoint(api_name)
            if (now.url, now._gateway.kind) == (endpoint.url, known.kind):
                raise
        now._gateway.expect(stores_requests, api_name)
        return await use(now)

    async def request(self, api_name: str, request_id: str) -> AsyncRequest:
        """A request that was submitted before, by this or another process."""
        return (await self.endpoint(api_name)).request(request_id)

    async def map(
        self,
        api_name: str,
        inputs: Iterable[Any],
        *,
        concurrency: int = 16,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        return_exceptions: bool = False,
        progress: Optional[bool] = None,
    ) -> AsyncGenerator[Any, None]:
        """Submits every input to an API and yields the results in their order; see `Endpoint.map`."""
        results = (await self.endpoint(api_name)).map(
            inputs,
            concurrency=concurrency,
            content_type=content_type,
            headers=headers,
            params=params,
            return_exceptions=return_exceptions,
            progress=progress,
        )
        try:
            async for result in results:
                yield result
        finally:
            await results.aclose()

    async def requests(
        self, api_name: str, *, status: Optional[str] = None, limit: Optional[int] = None
    ) -> AsyncIterator[Document]:
        """An API's requests, newest first, page by page: `id`, `status`, `attempts`, `submitted_at`, `error`."""
        before: Optional[str] = None
        while limit is None or limit > 0:
            page = await self._driver.run(self._operator.requests(api_name, status, before, min(limit or 100, 100)))
            for document in page["requests"]:
                yield document
            before = page.get("next")
            if before is None:
                return
            if limit is not None:
                limit -= len(page["requests"])

    async def retry(self, api_name: str, request_id: str) -> AsyncRequest:
        """Puts a failed request back into the queue."""
        await self._driver.run(self._operator.retry_request(api_name, request_id))
        return await self.request(api_name, request_id)

    async def submit_job(
        self,
        api_name: str,
        items: Any = None,
        *,
        workers: int = 1,
        batch_size: int = 1,
        config: Optional[Mapping[str, Any]] = None,
        timeout: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> AsyncJob:
        """Submits a job to a BatchAPI or a TaskAPI; returns when it is durable.

        See `Client.submit_job` for arguments and errors. `items` is iterated in a thread.
        """
        calls = await self._driver.run(JobCalls.find(self._operator, api_name))
        plan = calls.submit(items, workers, batch_size, config, timeout, idempotency_key)
        return AsyncJob(calls, self._driver, await self._driver.run(plan))

    async def jobs(
        self, api_name: str, *, status: Optional[str] = None, limit: Optional[int] = None
    ) -> AsyncIterator[Document]:
        """An API's jobs, newest first, page by page: the `job_status` of each."""
        calls = await self._driver.run(JobCalls.find(self._operator, api_name))
        before: Optional[str] = None
        while limit is None or limit > 0:
            page = await self._driver.run(calls.jobs(status, before, min(limit or 100, 100)))
            for document in page["jobs"]:
                yield document
            before = page.get("next")
            if before is None:
                return
            if limit is not None:
                limit -= len(page["jobs"])

    async def job(self, api_name: str, job_id: str) -> AsyncJob:
        """A job that was submitted before, by this or another process."""
        return AsyncJob(await self._driver.run(JobCalls.find(self._operator, api_name)), self._driver, job_id)

    async def get_job(self, api_name: str, job_id: str) -> Document:
        """The document of a job, as `Job.document`."""
        return await (await self.job(api_name, job_id)).document()

    async def stop_job(self, api_name: str, job_id: str, keep_cache: bool = False) -> None:
        """Stops a job, as `Job.stop`. `keep_cache` has no effect, as in the original."""
        await (await self.job(api_name, job_id)).stop()

    # Functions of the original before version 0.36

    async def create_api(self, *arguments: Any, **older: Any) -> Deployed:
        """Replaced by `deploy`: raises NotSupported, which names the migration page."""
        raise older_version("create_api")

    async def delete_api(self, *arguments: Any, **older: Any) -> None:
        """Replaced by `delete`: raises NotSupported, which names the migration page."""
        raise older_version("delete_api")
