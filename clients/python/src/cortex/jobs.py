"""The jobs of a BatchAPI or a TaskAPI, and their asynchronous twins."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any, AsyncIterator, BinaryIO, Callable, Iterator, List, Optional, Union

from cortex._documents import LogLine, log_line
from cortex._drivers import AsyncDriver, Driver
from cortex._gateway import LONGEST_POLL
from cortex._http import Pause, Plan
from cortex._job_calls import PASSING, JobCalls, ResultsPlace, destination, has_ended, make_parents
from cortex._operator import Document
from cortex._progress import Progress
from cortex.exceptions import ConnectionFailed


class Job:
    """One submitted job. May be used from any thread."""

    def __init__(self, calls: JobCalls, driver: Driver, job_id: str) -> None:
        self._calls, self._driver = calls, driver
        #: Its id. `client.job(api, id)` creates this object again, also in another process.
        self.id = job_id

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self._calls.api_name}>"

    def status(self) -> str:
        """One word, such as `running` or `succeeded`: asks the operator."""
        status: str = self.document()["job_status"]["status"]
        return status

    def document(self) -> Document:
        """The document of the job: `api_spec`, `job_status`, `endpoint`, and of a Batch job `metrics`."""
        return self._driver.run(self._calls.read(self.id))

    def wait(self, seconds: Optional[float] = None, *, progress: Optional[bool] = None) -> Document:
        """The document of the job when it has ended, or after this number of seconds (None: waits for the end).

        Args:
            progress: whether to show a progress line on standard error; the default is only on a terminal.

        Raises:
            NotFound: its retention is over, or its API was deleted.
            ConnectionFailed, Unavailable: the platform was not available for longer than the retries last.
        """
        bar = Progress(self._calls.api_name, None, progress)
        try:
            return self._driver.run(self._calls.wait(self.id, seconds, _poll(bar), _drawing(bar)))
        finally:
            bar.close()

    def results(self, follow: bool = False) -> Iterator[Document]:
        """The results of a Batch job, one dict for each line: `index`, `status`, `attempts`, `result` or `error`.

        They come in the order in which they were recorded. A connection that is lost is made again, and no line comes
        twice.

        Args:
            follow: waits for further lines until the job has ended.
        """
        return self._results(None, follow)

    def failed(self) -> Iterator[Document]:
        """The results of the items that failed, as `results`."""
        return self._results("failed", False)

    def _results(self, status: Optional[str], follow: bool) -> Iterator[Document]:
        place = self._calls.results(self.id, status)
        while True:
            try:
                yield from self._read(place, False)
                if not follow:
                    return
                yield from self._read(place, True)
                # A platform that is shutting down ends its answers, too.
                if has_ended(self.document()):
                    yield from self._read(place, False)
                    return
                pause = 0.2
            except PASSING as error:
                pause = place.failed(error)
            self._driver.run(_pause(pause))

    def _read(self, place: ResultsPlace, follow: bool) -> Iterator[Document]:
        with self._driver.opened(place.call(follow)) as response:
            reader = place.reader()
            for piece in response.iter_bytes():
                yield from reader.feed(piece)
            yield from reader.finish()
            place.ended(follow, response.headers)

    def retry(self) -> Job:
        """Submits a new job of the items or workers of this one that did not succeed.

        Raises:
            Conflict: this one has not ended, all succeeded, or the items are no longer kept.
        """
        return Job(self._calls, self._driver, self._driver.run(self._calls.retry(self.id)))

    def stop(self) -> None:
        """Stops the job; what was recorded stays readable.

        Raises:
            Conflict: it had already ended.
        """
        self._driver.run(self._calls.stop(self.id))

    def logs(
        self,
        *,
        follow: bool = False,
        tail: Optional[int] = None,
        worker: Optional[int] = None,
        attempt: Optional[int] = None,
        container: Optional[str] = None,
    ) -> Iterator[LogLine]:
        """The log lines of the job's containers; with `follow`, until the job has ended. Leave the loop to stop."""
        call = self._calls.logs(self.id, follow, tail, worker, attempt, container)
        for document in self._driver.lines(call):
            line = log_line(document)
            if line is not None:
                yield line

    def artifacts(self) -> List[Document]:
        """The files that a Task job left: `worker`, `attempt`, `path`, `size` and `sha256` of each."""
        files: List[Document] = self._driver.run(self._calls.artifacts(self.id))["artifacts"]
        return files

    def download(self, folder: Union[str, os.PathLike[str]]) -> List[Path]:
        """Writes all artifacts to a folder, as `<worker>/<path>`; returns the paths of the files.

        Raises:
            InvalidArgument: a name would leave the folder; nothing was written.
            ConnectionFailed: a file did not arrive as a whole.
        """
        files = [(destination(folder, artifact), artifact) for artifact in self.artifacts()]
        for path, artifact in files:
            make_parents(folder, path)
            with (
                _Download(path, artifact) as download,
                self._driver.opened(self._calls.artifact(self.id, artifact)) as response,
            ):
                for piece in response.iter_bytes():
                    download.write(piece)
        return [path for path, _ in files]


class AsyncJob:
    """One submitted job. Each event loop that uses it has its own connections."""

    def __init__(self, calls: JobCalls, driver: AsyncDriver, job_id: str) -> None:
        self._calls, self._driver = calls, driver
        self.id = job_id

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id} of {self._calls.api_name}>"

    async def status(self) -> str:
        """One word, such as `running` or `succeeded`: asks the operator."""
        status: str = (await self.document())["job_status"]["status"]
        return status

    async def document(self) -> Document:
        """The document of the job: `api_spec`, `job_status`, `endpoint`, and of a Batch job `metrics`."""
        return await self._driver.run(self._calls.read(self.id))

    async def wait(self, seconds: Optional[float] = None, *, progress: Optional[bool] = None) -> Document:
        """The document of the job when it has ended, or after this number of seconds (None: waits for the end).

        See `Job.wait` for arguments and errors.
        """
        bar = Progress(self._calls.api_name, None, progress)
        try:
            return await self._driver.run(self._calls.wait(self.id, seconds, _poll(bar), _drawing(bar)))
        finally:
            bar.close()

    async def results(self, follow: bool = False) -> AsyncIterator[Document]:
        """The results of a Batch job, one dict for each line: `index`, `status`, `attempts`, `result` or `error`.

        See `Job.results` for arguments and errors.
        """
        async for line in self._results(None, follow):
            yield line

    async def failed(self) -> AsyncIterator[Document]:
        """The results of the items that failed, as `results`."""
        async for line in self._results("failed", False):
            yield line

    async def _results(self, status: Optional[str], follow: bool) -> AsyncIterator[Document]:
        place = self._calls.results(self.id, status)
        while True:
            try:
                async for line in self._read(place, False):
                    yield line
                if not follow:
                    return
                async for line in self._read(place, True):
                    yield line
                # A platform that is shutting down ends its answers, too.
                if has_ended(await self.document()):
                    async for line in self._read(place, False):
                        yield line
                    return
                pause = 0.2
            except PASSING as error:
                pause = place.failed(error)
            await self._driver.run(_pause(pause))

    async def _read(self, place: ResultsPlace, follow: bool) -> AsyncIterator[Document]:
        async with self._driver.opened(place.call(follow)) as response:
            reader = place.reader()
            async for piece in response.aiter_bytes():
                for line in reader.feed(piece):
                    yield line
            for line in reader.finish():
                yield line
            place.ended(follow, response.headers)

    async def retry(self) -> AsyncJob:
        """Submits a new job of the items or workers of this one that did not succeed.

        See `Job.retry` for errors.
        """
        return AsyncJob(self._calls, self._driver, await self._driver.run(self._calls.retry(self.id)))

    async def stop(self) -> None:
        """Stops the job; what was recorded stays readable.

        See `Job.stop` for errors.
        """
        await self._driver.run(self._calls.stop(self.id))

    async def logs(
        self,
        *,
        follow: bool = False,
        tail: Optional[int] = None,
        worker: Optional[int] = None,
        attempt: Optional[int] = None,
        container: Optional[str] = None,
    ) -> AsyncIterator[LogLine]:
        """The log lines of the job's containers; with `follow`, until the job has ended. Leave the loop to stop."""
        call = self._calls.logs(self.id, follow, tail, worker, attempt, container)
        async for document in self._driver.lines(call):
            line = log_line(document)
            if line is not None:
                yield line

    async def artifacts(self) -> List[Document]:
        """The files that a Task job left: `worker`, `attempt`, `path`, `size` and `sha256` of each."""
        files: List[Document] = (await self._driver.run(self._calls.artifacts(self.id)))["artifacts"]
        return files

    async def download(self, folder: Union[str, os.PathLike[str]]) -> List[Path]:
        """Writes all artifacts to a folder, as `<worker>/<path>`; returns the paths of the files.

        See `Job.download` for errors.
        """
        files = [(destination(folder, artifact), artifact) for artifact in await self.artifacts()]
        for path, artifact in files:
            await asyncio.to_thread(make_parents, folder, path)
            with _Download(path, artifact) as download:
                async with self._driver.opened(self._calls.artifact(self.id, artifact)) as response:
                    async for piece in response.aiter_bytes():
                        await asyncio.to_thread(download.write, piece)
        return [path for path, _ in files]


def _pause(seconds: float) -> Plan[None]:
    yield Pause(seconds)


def _poll(bar: Progress) -> float:
    """Longest time between two states of a job, in seconds."""
    return 1.0 if bar.is_shown else LONGEST_POLL


def _drawing(bar: Progress) -> Callable[[Document], None]:
    def draw(document: Document) -> None:
        status = document["job_status"]
        counts = status.get("item_counts")
        if counts is not None:
            done = counts["succeeded"] + counts["failed"] + counts["cancelled"]
            bar.show(done, None if status.get("is_enqueuing") else counts["total"], counts["failed"])
            return
        progress = status.get("progress")
        if isinstance(progress, dict) and isinstance(progress.get("done"), int):
            total = progress.get("total")
            bar.show(progress["done"], total if isinstance(total, int) else None, 0)

    return draw


class _Download(contextlib.AbstractContextManager["_Download"]):
    """A file while it arrives. It gets its name when it is complete."""

    def __init__(self, path: Path, artifact: Document) -> None:
        self._path, self._artifact = path, artifact
        self._temporary = path.with_name(f".cortex-download-{os.getpid()}")
        self._temporary.unlink(missing_ok=True)
        self._file: BinaryIO = open(self._temporary, "xb")  # noqa: SIM115
        self._digest = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._file.write(piece)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._file.close()
        if kind is None and self._digest.hexdigest() == self._artifact["sha256"]:
            os.replace(self._temporary, self._path)
            return
        self._temporary.unlink(missing_ok=True)
        if kind is None:
            raise ConnectionFailed(f"the artifact {self._artifact['path']!r} did not arrive as a whole; try again")
