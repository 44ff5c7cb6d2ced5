"""The Python client of Cortex: deploys APIs, submits requests and reads results.

import cortex

client = cortex.client()
request = client.submit("hello", {"name": "Ada"})
print(request.result(wait=30))
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from cortex import environments as _environments
from cortex._addresses import endpoint_url as _endpoint_url
from cortex._arguments import token as _check_token
from cortex._documents import Failure, LogLine, Snapshot
from cortex._drivers import Driver as _Driver
from cortex._http import Retry
from cortex._operator import Deployed
from cortex._operator import Operator as _Operator
from cortex._operator import refuse_older as _refuse_older
from cortex._version import __version__
from cortex.aio import AsyncClient, AsyncEndpoint, AsyncRequest
from cortex.binary import run_cli
from cortex.client import Client
from cortex.endpoint import Endpoint, Request
from cortex.environments import ConfigurationFileError, Environment
from cortex.exceptions import (
    BadRequest,
    CallFailed,
    ConfigurationInvalid,
    Conflict,
    ConnectionFailed,
    CortexBinaryException,
    CortexException,
    DeployFailed,
    Forbidden,
    IdempotencyKeyReused,
    InvalidArgument,
    NotFound,
    NotSupported,
    PayloadTooLarge,
    PlatformError,
    QueueFull,
    RequestCancelled,
    RequestFailed,
    ResultNotRepresentable,
    ResultTimeout,
    TimedOut,
    Unauthorized,
    Unavailable,
    VersionMismatch,
)
from cortex.jobs import AsyncJob, Job
from cortex.response import AsyncResponse, Response

__all__ = [
    "AsyncClient",
    "AsyncEndpoint",
    "AsyncJob",
    "AsyncRequest",
    "AsyncResponse",
    "BadRequest",
    "CallFailed",
    "Client",
    "ConfigurationFileError",
    "ConfigurationInvalid",
    "Conflict",
    "ConnectionFailed",
    "CortexBinaryException",
    "CortexException",
    "DeployFailed",
    "Deployed",
    "Endpoint",
    "Environment",
    "Failure",
    "Forbidden",
    "IdempotencyKeyReused",
    "InvalidArgument",
    "Job",
    "LogLine",
    "NotFound",
    "NotSupported",
    "PayloadTooLarge",
    "PlatformError",
    "QueueFull",
    "Request",
    "RequestCancelled",
    "RequestFailed",
    "Response",
    "ResultNotRepresentable",
    "ResultTimeout",
    "Retry",
    "Snapshot",
    "TimedOut",
    "Unauthorized",
    "Unavailable",
    "VersionMismatch",
    "__version__",
    "async_client",
    "client",
    "env_delete",
    "env_list",
    "new_client",
    "run_cli",
]


def client(env_name: Optional[str] = None, *, retry: Optional[Retry] = None) -> Client:
    """A client for an environment of `cli.yaml`: the named one, or the default.

    Inside a container the default is this cluster, without configuration.

    Raises:
        NotFound: there is no such environment.
    """
    return Client(_environments.load().resolve(env_name), retry=retry)


def async_client(env_name: Optional[str] = None, *, retry: Optional[Retry] = None) -> AsyncClient:
    """A client for an environment of `cli.yaml`: the named one, or the default.

    See `client` for arguments and errors.
    """
    return AsyncClient(_environments.load().resolve(env_name), retry=retry)


def new_client(
    env_name: str,
    operator_endpoint: str = "",
    token: Optional[str] = None,
    *,
    retry: Optional[Retry] = None,
    **older: Any,
) -> Client:
    """Creates or changes an environment, and returns a client for it.

    Args:
        operator_endpoint: the operator's URL. Without a scheme it is `http` for this machine and `https` for others.
        token: the operator's token; white space around it is removed. The default is CORTEX_TOKEN, or the token of a
            stored environment with the same URL.
        older: arguments of the original before version 0.36. They are refused; the error names the migration page.

    Raises:
        ConnectionFailed: no operator answers there; nothing is stored.
        InvalidArgument: the token has a line break inside, or an environment variable for proxies or certificates
            cannot be used.
    """
    _refuse_older(older)
    _environments.check_name(env_name)
    given = _check_token(token) or _check_token(os.environ.get("CORTEX_TOKEN"), "CORTEX_TOKEN")
    url = _endpoint_url(operator_endpoint)
    driver = _Driver(url)
    try:
        driver.run(_Operator(Environment(env_name, url), Retry(attempts=1)).verify())
    finally:
        driver.close()

    def put(file: _environments.EnvironmentFile) -> Environment:
        known = given
        if known is None:
            known = next(
                (each.token for each in file.environments if each.operator_endpoint == url and each.token), None
            )
        present = file.get(env_name)
        environment = Environment(env_name, url, known, present.extra if present else {})
        file.put(environment)
        return environment

    return Client(_environments.update(put), retry=retry)


def env_list() -> Dict[str, Any]:
    """All environments, without their tokens.

    `{"default_environment": …, "environments": [{"name", "operator_endpoint"}]}`.
    """
    file = _environments.load()
    return {
        "default_environment": file.default_environment,
        "environments": [
            {"name": each.name, "operator_endpoint": each.operator_endpoint} for each in file.environments
        ],
    }


def env_delete(name: str) -> None:
    """Removes an environment from `cli.yaml`; its cluster is not changed.

    Raises:
        NotFound: there is no such environment.
    """
    _environments.update(lambda file: file.remove(name))
