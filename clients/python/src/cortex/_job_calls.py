"""The calls about jobs as plans (contract J1, J15), and what the two clients share."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import quote

from cortex._arguments import idempotency_key as check_key
from cortex._documents import decode
from cortex._gateway import LONGEST_POLL
from cortex._http import Call, Pause, Plan, Repeat, Retry, attempt
from cortex._operator import Document, Operator, segment
from cortex._payload import Payload
from cortex.exceptions import (
    ConnectionFailed,
    CortexException,
    InvalidArgument,
    NotSupported,
    PlatformError,
    TimedOut,
    Unavailable,
)

_BASES = {"BatchAPI": "batch", "TaskAPI": "tasks"}
#: Statuses of a job that has not ended.
_OPEN = {"pending", "enqueuing", "running"}
#: The operator sends results as they are recorded. After this silence, in seconds, the call is made again.
_SILENCE = 300.0
#: Lines are sent in pieces of at least this many bytes, except the last one.
_PIECE = 64 * 1024
#: Errors after which the platform is asked again.
PASSING = (ConnectionFailed, TimedOut, Unavailable)


def has_ended(document: Document) -> bool:
    return document["job_status"]["status"] not in _OPEN


class JobLines(Payload):
    """The items of a Batch job as JSON Lines, made while they are sent."""

    def __init__(self, items: Iterable[Any]) -> None:
        super().__init__("application/jsonl")
        self._items = items
        self._iterator = iter(items)

    @property
    def is_streamed(self) -> bool:
        return True

    @property
    def is_repeatable(self) -> bool:
        """Whether it can be sent again; an iterator or a generator cannot."""
        return self._iterator is not self._items

    def open(self) -> Tuple[Optional[int], Iterator[bytes]]:
        return None, _lines(iter(self._items) if self.is_repeatable else self._iterator)


def _lines(items: Iterator[Any]) -> Iterator[bytes]:
    piece = bytearray()
    for index, item in enumerate(items):
        try:
            text = json.dumps(item, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            piece += text.encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(f"item {index} cannot be expressed in JSON: {error}") from error
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _payload_of(items: Any) -> Payload:
    """The payload of a Batch job: a file of JSON Lines is sent unchanged."""
    if isinstance(items, Path):
        return Payload("application/jsonl", path=os.fspath(items))
    if hasattr(items, "read"):
        file: IO[bytes] = items
        if not isinstance(file.read(0), bytes):
            raise InvalidArgument("the file of items must be open in binary mode")
        return Payload("application/jsonl", file=file)
    if isinstance(items, (str, bytes, bytearray, memoryview, Mapping)):
        raise InvalidArgument(
            f"items must be an iterable with one value for each item, not {type(items).__name__};"
            " for a file of JSON Lines give a pathlib.Path or an open file"
        )
    try:
        return JobLines(items)
    except TypeError:
        raise InvalidArgument(f"items must be iterable, not {type(items).__name__}") from None


@dataclass
class JobCalls:
    """Creates plans for the jobs of one API."""

    operator: Operator
    api_name: str
    kind: str
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def find(cls, operator: Operator, api_name: str) -> Plan[JobCalls]:
        """Asks the operator for the kind of the API.

        Raises:
            NotSupported: its kind has no jobs.
        """
        api = yield from operator.api(api_name)
        kind = (api.get("metadata") or api.get("spec") or {}).get("kind")
        if kind not in _BASES:
            raise NotSupported(f"{api_name} has the kind {kind}; only a BatchAPI or a TaskAPI has jobs", status=400)
        return cls(operator, api_name, kind)

    @property
    def base(self) -> str:
        return f"/{_BASES[self.kind]}/{segment(self.api_name)}"

    def _path(self, job_id: str, *parts: str) -> str:
        return "/".join((self.base, segment(job_id), *parts))

    def submit(
        self,
        items: Any,
        workers: int,
        batch_size: int,
        config: Optional[Mapping[str, Any]],
        timeout: Optional[int],
        key: Optional[str],
    ) -> Plan[str]:
        """Submits a job and returns its id. Every try has the same key, so a lost answer never creates a second job."""
        given = {"workers": workers, "config": config, "timeout": timeout}
        given = {name: value for name, value in given.items() if value is not None}
        params: Dict[str, str] = {}
        if self.kind == "TaskAPI":
            if items is not None:
                raise InvalidArgument(f"{self.api_name} is a TaskAPI, whose jobs have no items; pass data in config")
            body = Payload("application/json", data=_json(given))
        else:
            if items is None:
                raise InvalidArgument(f"{self.api_name} is a BatchAPI: give the items of the job")
            body = _payload_of(items)
            params = {"workers": str(workers), "batch_size": str(batch_size)}
            if timeout is not None:
                params["timeout"] = str(timeout)
            if config is not None:
                params["config"] = _json(config).decode()
        # The limit is on silence: many items may take longer.
        call = _with(
            self.operator.call("POST", self.base, params, body, timeout=600),
            "Idempotency-Key",
            uuid.uuid4().hex if key is None else check_key(key),
        )
        return _job_id((yield from self.operator.ask(call)), self.operator)

    def read(self, job_id: str, wait: float = 0, retry: Optional[Retry] = None) -> Plan[Document]:
        """The document of the job; with `wait`, when it ends or the time is over."""
        seconds = int(min(wait, LONGEST_POLL))
        call = self.operator.call("GET", self._path(job_id), timeout=30 + seconds)
        if seconds:
            call = _with(call, "Prefer", f"wait={seconds}")
        reply = yield from attempt(call, retry or self.operator.retry)
        try:
            document = decode(reply.body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("job_status"), dict):
            raise ConnectionFailed(f"what answers at {self.operator.base} is not a Cortex operator")
        return document

    def wait(
        self, job_id: str, limit: Optional[float], poll: float, show: Callable[[Document], None]
    ) -> Plan[Document]:
        """The document of the job when it has ended, or after `limit` seconds (None: waits for the end).

        Args:
            poll: longest time between two calls of `show`, in seconds.
        """
        deadline = None if limit is None else self.clock() + limit
        pause, away = 0.2, 0
        seconds = 0
        while True:
            start = self.clock()
            try:
                now = yield from self.read(job_id, seconds, retry=Retry(attempts=1))
            except PASSING as error:
                away += 1
                if away >= self.operator.retry.attempts or (deadline is not None and self.clock() >= deadline):
                    raise type(error)(
                        f"{error.message} (while waiting for job {job_id}, which continues)",
                        kind=error.kind,
                        status=error.status,
                    ) from error
                pause = self.operator.retry.pause(away, error.retry_after)
                yield from self._move()
            else:
                away = 0
                show(now)
                if has_ended(now) or (deadline is not None and self.clock() >= deadline):
                    return now
                if seconds and self.clock() - start >= seconds - 0.5:
                    pause = 0.2
                    seconds = self._seconds(poll, deadline)
                    continue
            yield Pause(pause if deadline is None else min(pause, max(0.0, deadline - self.clock())))
            pause = min(2.0, pause * 2)
            seconds = self._seconds(poll, deadline)

    def _seconds(self, poll: float, deadline: Optional[float]) -> int:
        rest = poll if deadline is None else max(0.0, deadline - self.clock())
        return int(min(rest, poll, LONGEST_POLL))

    def _move(self) -> Plan[None]:
        """A platform that was started again may listen on another port."""
        try:
            yield from self.operator.endpoint(self.api_name)
        except CortexException:
            return

    def stop(self, job_id: str) -> Plan[None]:
        yield from self.operator.ask(self.operator.call("DELETE", self._path(job_id), timeout=600))

    def retry(self, job_id: str) -> Plan[str]:
        call = self.operator.call("POST", self._path(job_id, "retry"), timeout=600)
        return _job_id((yield from self.operator.ask(call, Repeat.NEVER_ARRIVED)), self.operator)

    def jobs(self, status: Optional[str], before: Optional[str], limit: int) -> Plan[Document]:
        params = {"limit": str(limit)}
        if status is not None:
            params["status"] = status
        if before is not None:
            params["before"] = before
        document: Document = yield from self.operator.ask(self.operator.call("GET", self.base, params))
        return document

    def artifacts(self, job_id: str) -> Plan[Document]:
        document: Document = yield from self.operator.ask(
            self.operator.call("GET", self._path(job_id, "artifacts"), timeout=60)
        )
        return document

    def artifact(self, job_id: str, artifact: Document) -> Call:
        path = quote(artifact["path"])
        return self.operator.call("GET", self._path(job_id, "artifacts", str(artifact["worker"]), path), timeout=60)

    def logs(
        self,
        job_id: str,
        follow: bool,
        tail: Optional[int],
        worker: Optional[int],
        attempt: Optional[int],
        container: Optional[str],
    ) -> Call:
        call = self.operator.logs(self.api_name, follow, tail, None, container)
        params = {**call.params, "jobID": job_id}
        for name, value in (("worker", worker), ("attempt", attempt)):
            if value is not None:
                params[name] = str(value)
        return self.operator.call("GET", f"/logs/{segment(self.api_name)}", params)

    def results(self, job_id: str, status: Optional[str]) -> ResultsPlace:
        return ResultsPlace(self, job_id, status)


@dataclass
class ResultsPlace:
    """The place up to which the results of a job were read: a cursor, and the bytes that were read behind it.

    What was sent once is a prefix of what is sent later (contract B8), so a read that was interrupted is repeated from
    the cursor, and the bytes that are known are skipped.
    """

    calls: JobCalls
    job_id: str
    status: Optional[str]
    cursor: Optional[str] = None
    received: int = 0
    failures: int = 0

    def call(self, follow: bool) -> Call:
        params = {"follow": "true"} if follow else {}
        if self.cursor is not None:
            params["after"] = self.cursor
        if self.status is not None:
            params["status"] = self.status
        path = f"{self.calls.base}/{segment(self.job_id)}/results"
        return self.calls.operator.call("GET", path, params, timeout=_SILENCE)

    def reader(self) -> LineCutter:
        return LineCutter(self)

    def ended(self, follow: bool, headers: Mapping[str, str]) -> None:
        """Notes that an answer was read to its end."""
        self.failures = 0
        if not follow and headers.get("x-cortex-next"):
            self.cursor, self.received = headers["x-cortex-next"], 0

    def failed(self, error: PlatformError) -> float:
        """Seconds until the next try.

        Raises:
            PlatformError: the platform was away for too long.
        """
        self.failures += 1
        if self.failures >= self.calls.operator.retry.attempts:
            raise error
        return self.calls.operator.retry.pause(self.failures, error.retry_after)


class LineCutter:
    """Cuts an answer into lines, without those that are known."""

    def __init__(self, place: ResultsPlace) -> None:
        self._place = place
        self._known = place.received
        self._pieces: List[bytes] = []

    def feed(self, piece: bytes) -> Iterator[Document]:
        known = min(self._known, len(piece))
        self._known -= known
        piece = piece[known:]
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = b"".join((*self._pieces, line))
            self._pieces.clear()
            self._place.received += len(whole) + 1
            if whole:
                yield _line(whole)
        if rest:
            self._pieces.append(rest)

    def finish(self) -> Iterator[Document]:
        """The last line, if no line feed stands behind it."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._place.received += len(whole)
        if whole:
            yield _line(whole)


def _line(text: bytes) -> Document:
    try:
        document = decode(text)
    except json.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise PlatformError("the results have a line that is not a JSON object; look for a proxy that changes answers")
    return document


def destination(folder: Union[str, os.PathLike[str]], artifact: Document) -> Path:
    """Where an artifact is written to: `<folder>/<worker>/<path>`.

    Raises:
        InvalidArgument: the name leaves the folder.
    """
    parts = [str(artifact["worker"]), *str(artifact["path"]).split("/")]
    if any(part in ("", ".", "..") or "\0" in part or (os.sep != "/" and os.sep in part) for part in parts):
        raise InvalidArgument(f"the artifact {artifact['path']!r} would leave {os.fspath(folder)}; nothing was written")
    return Path(folder, *parts)


def make_parents(folder: Union[str, os.PathLike[str]], file: Path) -> None:
    """Makes the folders of a file below `folder`; refuses to pass a symbolic link."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    parents = itertools.takewhile(lambda parent: parent != root, file.parents)
    for parent in reversed(list(parents)):
        if parent.is_symlink():
            raise InvalidArgument(f"{parent} is a symbolic link; remove it, or name another folder")
        parent.mkdir(exist_ok=True)


def _with(call: Call, name: str, value: str) -> Call:
    return replace(call, headers={**call.headers, name: value})


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"config cannot be expressed in JSON: {error}") from error


def _job_id(document: Any, operator: Operator) -> str:
    if not isinstance(document, dict) or not isinstance(document.get("job_id"), str):
        raise ConnectionFailed(f"what answers at {operator.base} is not a Cortex operator")
    identifier: str = document["job_id"]
    return identifier
