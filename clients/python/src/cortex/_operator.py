"""The operator's calls as plans (reference: cortex.md §8)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Union
from urllib.parse import quote

from cortex import environments
from cortex._addresses import endpoint_url, gateway_url
from cortex._arguments import token as check_token
from cortex._http import Call, Pause, Plan, Repeat, Retry, attempt, json_of
from cortex._payload import Payload
from cortex._version import __version__
from cortex.environments import Environment
from cortex.exceptions import (
    BadRequest,
    ConnectionFailed,
    CortexException,
    DeployFailed,
    InvalidArgument,
    NotFound,
    NotSupported,
    TimedOut,
    Unauthorized,
)

Document = Dict[str, Any]

_NOT_PLAIN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
#: Arguments of `deploy`, `create_api` and `new_client` in the original before version 0.36.
_OLDER_ARGUMENTS = {
    "aws_access_key_id",
    "aws_secret_access_key",
    "conda_packages",
    "predictor",
    "project_dir",
    "requirements",
}
_FAILING = ("err_image_pull", "failed", "killed", "killed_oom", "stalled")


class Deployed(Dict[str, Any]):
    """The result for the first API of a deployed file: a dict with `api`, `message` and `error`, as in the original.

    Attributes:
        results: the same for every API of the file.
    """

    results: List[Document]

    def __init__(self, results: List[Document]) -> None:
        super().__init__(results[0] if results else {})
        self.results = results


@dataclass
class Operator:
    """Creates plans for one operator."""

    environment: Environment
    retry: Retry = field(default_factory=Retry)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.base = endpoint_url(self.environment.operator_endpoint)
        self._token = check_token(self.environment.token, f"the token of the environment {self.environment.name!r}")

    def call(
        self,
        method: str,
        path: str,
        params: Optional[Mapping[str, str]] = None,
        payload: Optional[Payload] = None,
        timeout: float = 30.0,
    ) -> Call:
        """A call with the token, and with the version that the operator compares with its own (contract O6)."""
        headers = {"CortexAPIVersion": __version__, "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if payload is not None and payload.content_type:
            headers["Content-Type"] = payload.content_type
        return Call(method, self.base + path, headers, payload, params or {}, timeout)

    def ask(self, call: Call, repeat: Repeat = Repeat.ALWAYS) -> Plan[Any]:
        try:
            return json_of((yield from attempt(call, self.retry, repeat)))
        except Unauthorized as error:
            name = self.environment.name
            raise Unauthorized(
                f"{error.message}; give the token with: cortex.new_client({name!r}, {self.base!r}, token=TOKEN)",
                status=error.status,
            ) from None

    def verify(self) -> Plan[None]:
        """Checks that an operator answers there; needs no token."""
        try:
            answer = yield from self.ask(self.call("GET", "/verifycortex", timeout=10))
        except NotFound:
            answer = None
        if not isinstance(answer, dict):
            raise ConnectionFailed(
                f"what answers at {self.base} is not a Cortex operator; check the URL: the operator's port is 8888"
                " unless another was chosen, 8889 is the gateway's"
            )

    def info(self) -> Plan[Document]:
        document: Document = yield from self.ask(self.call("GET", "/info", timeout=10))
        return document

    def apis(self) -> Plan[List[Document]]:
        documents: List[Document] = yield from self.ask(self.call("GET", "/get"))
        return documents

    def api(self, name: str, api_id: Optional[str] = None) -> Plan[Document]:
        path = f"/get/{segment(name)}" + (f"/{segment(api_id)}" if api_id is not None else "")
        return (yield from self._one(path, name))

    def endpoint(self, name: str) -> Plan[str]:
        """The URL of an API's endpoint, with one short call.

        Works also after a restart of the platform on other ports, which are then in `cli.yaml`.
        """
        stored = None
        socket = self.environment.extra.get("operator_socket")
        if socket is not None:
            with contextlib.suppress(CortexException):
                stored = environments.load().get(self.environment.name)
            if stored is not None and stored.extra.get("operator_socket") != socket:
                stored = None  # Another platform has that name now.
        now = Operator(stored or self.environment, Retry(attempts=1))
        documents = json_of((yield from attempt(now.call("GET", f"/get/{segment(name)}", timeout=5), now.retry)))
        if not documents:
            raise NotFound(f"no API {name!r} is deployed")
        if stored is not None and now.base != self.base:
            self.environment, self.base, self._token = stored, now.base, now._token
        return gateway_url(documents[0], now.base)

    def describe(self, name: str) -> Plan[Document]:
        return (yield from self._one(f"/describe/{segment(name)}", name))

    def _one(self, path: str, name: str) -> Plan[Document]:
        documents = yield from self.ask(self.call("GET", path))
        if not documents:
            raise NotFound(f"no API {name!r} is deployed")
        document: Document = documents[0]
        return document

    def refresh(self, name: str, force: bool) -> Plan[Document]:
        call = self.call("POST", f"/refresh/{segment(name)}", {"force": _flag(force)}, timeout=600)
        document: Document = yield from self.ask(call, Repeat.NEVER_ARRIVED)
        return document

    def delete(self, name: str, keep_cache: bool) -> Plan[Document]:
        call = self.call("DELETE", f"/delete/{segment(name)}", {"keepCache": _flag(keep_cache)}, timeout=600)
        document: Document = yield from self.ask(call, Repeat.NEVER_ARRIVED)
        return document

    def requests(self, name: str, status: Optional[str], before: Optional[str], limit: int) -> Plan[Document]:
        params = {"limit": str(limit)}
        if status is not None:
            params["status"] = status
        if before is not None:
            params["before"] = before
        document: Document = yield from self.ask(self.call("GET", f"/requests/{segment(name)}", params))
        return document

    def retry_request(self, name: str, request_id: str) -> Plan[Document]:
        call = self.call("POST", f"/retry/{segment(name)}/{segment(request_id)}", timeout=60)
        document: Document = yield from self.ask(call, Repeat.NEVER_ARRIVED)
        return document

    def logs(
        self, name: str, follow: bool, tail: Optional[int], replica: Optional[str], container: Optional[str]
    ) -> Call:
        params = {"follow": _flag(follow)}
        for key, value in (("tail", tail), ("replica", replica), ("container", container)):
            if value is not None:
                params[key] = str(value)
        return self.call("GET", f"/logs/{segment(name)}", params)

    # Deploying

    def deploy(
        self, content: bytes, file_name: str, folder: str, force: bool, wait: bool, timeout: float
    ) -> Plan[Deployed]:
        """Deploys every API of a file; with `wait`, returns when all of them are ready."""
        call = self.call(
            "POST",
            "/deploy",
            {"configFileName": file_name, "configDir": folder, "force": _flag(force)},
            Payload("application/yaml", data=content),
            timeout=600,
        )
        # The same file deployed twice is "up to date" the second time.
        results: List[Document] = yield from self.ask(call)
        errors = [str(result["error"]) for result in results if result.get("error")]
        if errors:
            raise DeployFailed("\n".join(errors), results=results, kind="conflict" if len(errors) == 1 else None)
        if wait:
            deadline = self.clock() + timeout
            for result in results:
                result["api"] = yield from self._ready(result["api"]["spec"]["name"], deadline, results)
        return Deployed(results)

    def _ready(self, name: str, deadline: float, results: List[Document]) -> Plan[Document]:
        watch = DeployWatch(name)
        pause = 0.1
        while True:
            problem = watch.look((yield from self.describe(name)), self.clock())
            if problem is not None:
                raise DeployFailed(problem, results=results)
            if watch.is_ready:
                return (yield from self.api(name))
            if self.clock() >= deadline:
                raise TimedOut(f"{name} is not ready yet: {watch.progress}; see why with client.describe({name!r})")
            yield Pause(pause)
            pause = min(1.0, pause * 1.5)


class DeployWatch:
    """Whether an API is ready, or waiting must end.

    A failed replica is restarted, so a failure counts only when it lasts.
    """

    failing_time = 20.0
    restarts = 3

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ready = False
        self.progress = "waiting for its status"
        self._failing_since: Optional[float] = None

    def look(self, api: Document, now: float) -> Optional[str]:
        """Processes an answer of `describe`; returns a text when waiting must end."""
        if (api.get("metadata") or {}).get("kind") in ("BatchAPI", "TaskAPI"):
            self.is_ready = True  # Its pods belong to jobs.
            return None
        status = api.get("status")
        if not status:
            return None
        self.is_ready = status["up_to_date"] >= status["requested"]
        replicas = status.get("replicas") or []
        reasons = [each["reason"] for each in replicas if each.get("reason")] + [status.get("reason") or ""]
        self.progress = f"{status['up_to_date']} of {status['requested']} replicas are ready" + (
            f" ({reasons[0]})" if reasons[0] else ""
        )
        failing = [each for each in replicas if each.get("state") in _FAILING]
        if self.is_ready or not failing:
            self._failing_since = None
            return None
        if self._failing_since is None:
            self._failing_since = now
        worst = max(failing, key=lambda each: int(each.get("restarts", 0)))
        if worst.get("restarts", 0) < self.restarts and now - self._failing_since < self.failing_time:
            return None
        reason = f": {worst['reason']}" if worst.get("reason") else ""
        return f"{self.name} does not become ready: replica {worst['id']} is {worst['state']}{reason}"


def configuration_of(api_spec: Union[Document, List[Document]]) -> bytes:
    """One API as the text of a file.

    JSON is YAML and keeps every value. The few characters that YAML reads as line ends or refuses are escaped.
    """
    apis = api_spec if isinstance(api_spec, list) else [api_spec]
    try:
        text = json.dumps(apis, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the API's specification cannot be expressed in JSON: {error}") from error
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found.group()):04x}", text).encode()


def read_configuration(path: Union[str, os.PathLike[str]]) -> tuple[bytes, str, str]:
    """A file's bytes, its name, and the absolute folder that its relative volumes are resolved against."""
    file = Path(path)
    return file.read_bytes(), file.name, str(file.absolute().parent)


def older_version(what: str) -> NotSupported:
    """The error for a name that only the original's versions before 0.36 had."""
    return NotSupported(
        f"{what} belongs to Cortex before version 0.36; docs/moving-from-cortex.md says how to migrate an API",
        status=400,
    )


def refuse_older(arguments: Mapping[str, Any]) -> None:
    """Refuses unknown arguments; for those of older versions the error names the migration page."""
    for name in arguments:
        if name in _OLDER_ARGUMENTS:
            raise older_version(f"the argument {name!r}")
        raise InvalidArgument(f"there is no argument {name!r}")


def segment(text: str) -> str:
    if not text:
        raise BadRequest("a name or id cannot be empty")
    return quote(text, safe="")


def _flag(value: bool) -> str:
    return "true" if value else "false"
