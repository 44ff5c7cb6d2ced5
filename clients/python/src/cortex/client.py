"""The client of an environment: deploys and manages APIs, and submits requests to them."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Type, Union

import httpx

from cortex._addresses import gateway_url
from cortex._documents import LogLine, log_line
from cortex._drivers import Driver
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
from cortex.endpoint import Endpoint, Request
from cortex.environments import Environment
from cortex.exceptions import NotFound, NotSupported
from cortex.jobs import Job
from cortex.response import Response


def environment_of(env: Union[Environment, Mapping[str, Any]]) -> Environment:
    """An environment, also from the dict that the original's constructor accepted."""
    if isinstance(env, Environment):
        return env
    return Environment(env["name"], env["operator_endpoint"], env.get("token"))


def kind_of(api: Document) -> Optional[str]:
    """The kind of an API, such as `AsyncAPI`."""
    kind = (api.get("metadata") or api.get("spec") or {}).get("kind")
    return kind if isinstance(kind, str) else None


class Client:
    """Deploys and manages the APIs of an environment. Created by `cortex.client()` or `cortex.new_client()`.

    May be used from any thread.
    """

    def __init__(
        self,
        env: Union[Environment, Mapping[str, Any]],
        *,
        retry: Optional[Retry] = None,
        http: Optional[httpx.Client] = None,
    ) -> None:
        self._environment = environment_of(env)
        self._operator = Operator(self._environment, retry or Retry())
        self._driver = Driver(self._operator.base, http)
        self._endpoints: Dict[str, Gateway] = {}
        self.env = {"name": self._environment.name, "operator_endpoint": self._environment.operator_endpoint}
        self.env_name = self._environment.name

    def __repr__(self) -> str:
        return f"<Client of {self.env_name}: {self._operator.base}>"

    def close(self) -> None:
        """Closes its connections."""
        self._driver.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    # APIs

    def deploy(
        self, api_spec: Document, force: bool = True, wait: bool = False, *, timeout: float = 1800, **older: Any
    ) -> Deployed:
        """Deploys or updates one API.

        Args:
            api_spec: the API of a `cortex.yaml` as a dict. Relative volumes are resolved against the working directory.
            force: deploys even while the API is being updated.
            wait: returns only when its replicas are ready.
            timeout: with `wait`, the longest time in seconds.
            older: arguments of the original before version 0.36. They are refused; the error names the migration page.

        Raises:
            ConfigurationInvalid: it has problems, all of which are listed; nothing was deployed.
            DeployFailed: its replicas do not become ready.
            TimedOut: with `wait`, after `timeout`.
        """
        refuse_older(older)
        name = str(api_spec.get("name", "api"))
        plan = self._operator.deploy(configuration_of(api_spec), f"{name}.json", os.getcwd(), force, wait, timeout)
        return self._driver.run(plan)

    def deploy_from_file(
        self,
        config_file: Union[str, os.PathLike[str]],
        force: bool = False,
        wait: bool = False,
        *,
        timeout: float = 1800,
    ) -> Deployed:
        """Deploys or updates every API of a `cortex.yaml`.

        Returns the result of the first API; its `results` has all. Raises the errors of `deploy`.
        """
        content, name, folder = read_configuration(config_file)
        return self._driver.run(self._operator.deploy(content, name, folder, force, wait, timeout))

    def get_api(self, api_name: str) -> Document:
        """An API: `spec`, `metadata`, `status`, `endpoint`, `api_versions`."""
        return self._driver.run(self._operator.api(api_name))

    def get_api_by_id(self, api_name: str, api_id: str) -> Document:
        """One version of an API; an older version has only its `spec`."""
        return self._driver.run(self._operator.api(api_name, api_id))

    def describe(self, api_name: str) -> Document:
        """An API with its replicas: the state of each, and the reason."""
        return self._driver.run(self._operator.describe(api_name))

    def list_apis(self) -> List[Document]:
        """All APIs."""
        return self._driver.run(self._operator.apis())

    def refresh(self, api_name: str, force: bool = False) -> None:
        """Restarts all replicas of an API without losing a request."""
        self._driver.run(self._operator.refresh(api_name, force))

    def delete(self, api_name: str, keep_cache: bool = False) -> None:
        """Removes an API, and its requests and results unless `keep_cache`."""
        self._driver.run(self._operator.delete(api_name, keep_cache))
        self._endpoints.pop(api_name, None)

    def logs(
        self,
        api_name: str,
        *,
        follow: bool = False,
        tail: Optional[int] = None,
        replica: Optional[str] = None,
        container: Optional[str] = None,
    ) -> Iterator[LogLine]:
        """The log lines of an API's containers; with `follow`, without end. Leave the loop to stop."""
        for document in self._driver.lines(self._operator.logs(api_name, follow, tail, replica, container)):
            line = log_line(document)
            if line is not None:
                yield line

    def info(self) -> Document:
        """The platform: its version, engine and addresses."""
        return self._driver.run(self._operator.info())

    # Requests

    def endpoint(self, api_name: str) -> Endpoint:
        """An API's endpoint, with the URL that reaches it from here. The first call asks the operator."""
        gateway = self._endpoints.get(api_name)
        if gateway is None:
            api = self._driver.run(self._operator.api(api_name))
            gateway = Gateway(gateway_url(api, self._operator.base), self._operator.retry, kind=kind_of(api))
            self._endpoints[api_name] = gateway
        gateway.locate = lambda: self._operator.endpoint(api_name)
        return Endpoint._of(gateway, self._driver)

    def submit(
        self,
        api_name: str,
        payload: Any = NO_PAYLOAD,
        *,
        content_type: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        params: Optional[Mapping[str, str]] = None,
        idempotency_key: Optional[str] = None,
    ) -> Request:
        """Submits a request to an API; see `Endpoint.submit`."""
        return self._reach(
            api_name,
            True,
            lambda endpoint: endpoint.submit(
                payload, content_type=content_type, headers=headers, params=params, idempotency_key=idempotency_key
            ),
        )

    def call(
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
    ) -> Response:
        """Calls a RealtimeAPI or a TrafficSplitter; returns when the head of the response has arrived.

        See `Endpoint.call` for arguments and errors.

        Raises:
            NotFound: no such API is deployed.
            NotSupported: it is an AsyncAPI.
        """
        return self._reach(
            api_name,
            False,
            lambda endpoint: endpoint.call(
                path, method, payload, content_type=content_type, headers=headers, params=params, timeout=timeout
            ),
        )

    def _reach(self, api_name: str, stores_requests: bool, use: Callable[[Endpoint], T]) -> T:
        """Uses an API's endpoint. If that fails, it may be because the API has moved since its address was read, or is
        of another kind now; if it has not, the answer is final."""
        known = self._endpoints.get(api_name)
        endpoint = self.endpoint(api_name)
        try:
            endpoint._gateway.expect(stores_requests, api_name)
            return use(endpoint)
        except (NotFound, NotSupported):
            if known is None:
                raise
            self._endpoints.pop(api_name, None)
            now = self.endpoint(api_name)
            if (now.url, now._gateway.kind) == (endpoint.url, known.kind):
                raise
        now._gateway.expect(stores_requests, api_name)
        return use(now)

    def request(self, api_name: str, request_id: str) -> Request:
        """A request that was submitted before, by this or another process."""
        return self.endpoint(api_name).request(request_id)

    def map(
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
    ) -> Iterator[Any]:
        """Submits every input to an API and yields the results in their order; see `Endpoint.map`."""
        return self.endpoint(api_name).map(
            inputs,
            concurrency=concurrency,
            content_type=content_type,
            headers=headers,
            params=params,
            return_exceptions=return_exceptions,
            progress=progress,
        )

    def requests(
        self, api_name: str, *, status: Optional[str] = None, limit: Optional[int] = None
    ) -> Iterator[Document]:
        """An API's requests, newest first, page by page: `id`, `status`, `attempts`, `submitted_at`, `error`."""
        before: Optional[str] = None
        while limit is None or limit > 0:
            page = self._driver.run(self._operator.requests(api_name, status, before, min(limit or 100, 100)))
            yield from page["requests"]
            before = page.get("next")
            if before is None:
                return
            if limit is not None:
                limit -= len(page["requests"])

    def retry(self, api_name: str, request_id: str) -> Request:
        """Puts a failed request back into the queue."""
        self._driver.run(self._operator.retry_request(api_name, request_id))
        return self.request(api_name, request_id)

    # Jobs

    def submit_job(
        self,
        api_name: str,
        items: Any = None,
        *,
        workers: int = 1,
        batch_size: int = 1,
        config: Optional[Mapping[str, Any]] = None,
        timeout: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Job:
        """Submits a job to a BatchAPI or a TaskAPI; returns when it is durable.

        Args:
            items: of a Batch job: any iterable with one value for each item, which is sent as it is iterated, or a
                `pathlib.Path` or an open binary file with JSON Lines. A Task job has none.
            workers: the number of workers.
            batch_size: the number of items that are delivered together.
            config: values that the containers find in `/cortex/spec/job.json`.
            timeout: the job is stopped after this number of seconds.
            idempotency_key: the same key never creates a second job. By default every call has its own key, which makes
                its retries safe.

        Raises:
            BadRequest: the submission has problems, all of which are listed; nothing was stored.
            NotSupported: the API has no jobs.
        """
        calls = self._driver.run(JobCalls.find(self._operator, api_name))
        plan = calls.submit(items, workers, batch_size, config, timeout, idempotency_key)
        return Job(calls, self._driver, self._driver.run(plan))

    def jobs(self, api_name: str, *, status: Optional[str] = None, limit: Optional[int] = None) -> Iterator[Document]:
        """An API's jobs, newest first, page by page: the `job_status` of each."""
        calls = self._driver.run(JobCalls.find(self._operator, api_name))
        before: Optional[str] = None
        while limit is None or limit > 0:
            page = self._driver.run(calls.jobs(status, before, min(limit or 100, 100)))
            yield from page["jobs"]
            before = page.get("next")
            if before is None:
                return
            if limit is not None:
                limit -= len(page["jobs"])

    def job(self, api_name: str, job_id: str) -> Job:
        """A job that was submitted before, by this or another process."""
        return Job(self._driver.run(JobCalls.find(self._operator, api_name)), self._driver, job_id)

    def get_job(self, api_name: str, job_id: str) -> Document:
        """The document of a job, as `Job.document`."""
        return self.job(api_name, job_id).document()

    def stop_job(self, api_name: str, job_id: str, keep_cache: bool = False) -> None:
        """Stops a job, as `Job.stop`. `keep_cache` has no effect, as in the original."""
        self.job(api_name, job_id).stop()

    # Functions of the original before version 0.36

    def create_api(self, *arguments: Any, **older: Any) -> Deployed:
        """Replaced by `deploy`: raises NotSupported, which names the migration page."""
        raise older_version("create_api")

    def delete_api(self, *arguments: Any, **older: Any) -> None:
        """Replaced by `delete`: raises NotSupported, which names the migration page."""
        raise older_version("delete_api")
