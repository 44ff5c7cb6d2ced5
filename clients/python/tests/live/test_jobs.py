"""J15: jobs through the built platform, with the client and with its asynchronous twin."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import time
import tracemalloc
from pathlib import Path
from typing import Any, Iterator, List

import pytest

import cortex
import platform_under_test

UNKNOWN = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"
LIMIT = 120
#: What the task does: logs, progress, files in folders, a result, and the exit code in CODE.
SCRIPT = """
echo "worker $CORTEX_WORKER_INDEX says $WORD"
mkdir -p /cortex/artifacts/deep/er && echo "$WORD" > "/cortex/artifacts/deep/er/a b#%.txt"
head -c 300000 /dev/zero > /cortex/artifacts/zeros
echo "{\\"worker\\": $CORTEX_WORKER_INDEX, \\"n\\": 0.10000000000000000000001}" > /cortex/artifacts/result.json
exit ${CODE:-0}
"""


class Blocking:
    """An asynchronous client or job with the methods of the other one, so that one test covers both."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._target, self._loop = target, loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            result = value(*arguments, **options)
            if inspect.isasyncgen(result):
                return self._iterate(result)
            if inspect.isawaitable(result):
                result = self._loop.run_until_complete(result)
            return Blocking(result, self._loop) if isinstance(result, cortex.AsyncJob) else result

        return call

    def _iterate(self, generator: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(generator.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(generator.aclose())


@pytest.fixture(scope="module")
def apis(client: cortex.Client, echo: cortex.Endpoint) -> Iterator[None]:
    pod = {"max_concurrency": 1, "termination_grace_period": "1s"}
    batch = platform_under_test.api("jobs-batch", kind="BatchAPI", command=["python3", "/app/jobs.py"], pod=pod)
    container = {"name": "main", "command": ["sh", "-c", SCRIPT], "env": {"WORD": "yes"}}
    failing = {**container, "env": {"WORD": "no", "CODE": "3"}}
    slow = {"name": "main", "command": ["sh", "-c", "echo begins; exec sleep 600"]}
    tasks = [
        {"name": name, "kind": "TaskAPI", "pod": {"termination_grace_period": "1s", "containers": [each]}}
        for name, each in [("jobs-task", container), ("jobs-failing", failing), ("jobs-slow", slow)]
    ]
    for each in [batch, *tasks]:
        client.deploy(each)
    yield
    for each in [batch, *tasks]:
        client.delete(str(each["name"]))


@pytest.fixture(params=["client", "async_client"])
def twin(request: pytest.FixtureRequest, apis: None, client: cortex.Client) -> Iterator[Any]:
    if request.param == "client":
        yield client
        return
    loop = asyncio.new_event_loop()
    twin = cortex.async_client()
    loop.run_until_complete(twin.__aenter__())
    try:
        yield Blocking(twin, loop)
    finally:
        loop.run_until_complete(twin.__aexit__(None, None, None))
        loop.close()


def status(document: Any) -> str:
    word: str = document["job_status"]["status"]
    return word


def indexes(lines: Any) -> List[int]:
    return sorted(line["index"] for line in lines)


def test_submit_wait_results_and_lists(twin: Any) -> None:
    job = twin.submit_job("jobs-batch", ({"echo": n} for n in range(20)), workers=2, batch_size=3, config={"k": 1.5})
    document = job.wait(LIMIT)
    assert status(document) == job.status() == "succeeded"
    assert document["job_status"]["item_counts"]["succeeded"] == 20
    assert document["job_status"]["config"] == {"k": 1.5}
    results = list(job.results())
    assert indexes(results) == list(range(20))
    assert {line["index"]: line["result"]["echo"] for line in results} == {n: n for n in range(20)}
    assert list(job.failed()) == []
    # The same job by its id, with both names of the call.
    again = twin.job("jobs-batch", job.id)
    assert again.document() == twin.get_job("jobs-batch", job.id) == job.document()
    other = twin.submit_job("jobs-batch", [1])
    other.wait(LIMIT)
    assert [each["job_id"] for each in twin.jobs("jobs-batch", limit=2)] == [other.id, job.id]
    assert all(each["status"] == "running" for each in twin.jobs("jobs-batch", status="running"))


def test_a_wait_with_a_time_limit_returns_the_open_job_and_stop_ends_it(twin: Any) -> None:
    job = twin.submit_job("jobs-batch", [{"sleep": 600}])
    start = time.monotonic()
    assert status(job.wait(0)) in ("pending", "running")
    assert status(job.wait(1.5)) in ("pending", "running")
    assert time.monotonic() - start < 60
    with pytest.raises(cortex.Conflict, match="has not ended"):
        job.retry()
    job.stop()
    document = job.wait(LIMIT)
    assert status(document) == "stopped"
    assert document["job_status"]["item_counts"]["cancelled"] == 1
    with pytest.raises(cortex.Conflict, match="already ended") as caught:
        job.stop()
    assert (caught.value.kind, caught.value.status) == ("job_is_not_in_progress", 409)
    with pytest.raises(cortex.Conflict):
        twin.stop_job("jobs-batch", job.id)
    # What was stopped can be run again.
    again = job.retry()
    assert again.document()["job_status"]["retry_of"] == job.id
    again.stop()
    assert status(again.wait(LIMIT)) == "stopped"


def test_results_are_followed_while_the_job_runs(twin: Any) -> None:
    job = twin.submit_job("jobs-batch", [{"echo": "first"}, {"sleep": 600}])
    lines = job.results(follow=True)
    first = next(lines)
    assert (first["index"], first["status"], first["result"][0]["echo"]) == (0, "succeeded", "first")
    assert job.status() == "running"
    job.stop()
    assert list(lines) == [], "it ends with the job"
    assert status(job.wait(LIMIT)) == "stopped"


def test_failed_items_are_retried_as_a_new_job(twin: Any) -> None:
    job = twin.submit_job("jobs-batch", [{"echo": 0}, {"fail": True}, {"status": 500}, {"echo": 3}])
    document = job.wait(LIMIT)
    assert status(document) == "completed_with_failures"
    assert document["job_status"]["reason"] == "2 of 4 items failed"
    failed = {line["index"]: line["error"] for line in job.failed()}
    assert failed[1]["kind"] == "item_failed"
    assert (failed[2]["kind"], failed[2]["status_code"], failed[2]["body"]) == ("container_status", 500, "no")
    assert indexes(job.results()) == [0, 1, 2, 3]
    again = job.retry()
    assert again.id != job.id
    assert status(again.wait(LIMIT)) == "completed_with_failures"
    assert indexes(again.results()) == [1, 2], "only the failed items, with their indexes"
    done = twin.submit_job("jobs-batch", [1])
    done.wait(LIMIT)
    with pytest.raises(cortex.Conflict, match="nothing to retry"):
        done.retry()


def test_errors_are_typed(twin: Any, tmp_path: Path) -> None:
    unknown = twin.job("jobs-batch", UNKNOWN)
    task = twin.job("jobs-task", UNKNOWN)
    for call in [
        unknown.document, unknown.status, unknown.wait, unknown.stop, unknown.retry,
        lambda: list(unknown.results()), lambda: list(unknown.results(follow=True)), lambda: list(unknown.failed()),
        lambda: list(unknown.logs()), task.artifacts, lambda: task.download(tmp_path),
    ]:  # fmt: skip
        with pytest.raises(cortex.NotFound) as caught:
            call()
        assert caught.value.status == 404
    with pytest.raises(cortex.NotFound):
        twin.submit_job("not-there", [1])
    with pytest.raises(cortex.NotSupported, match="only a BatchAPI or a TaskAPI has jobs"):
        twin.submit_job("echo", [1])
    with pytest.raises(cortex.NotSupported, match="only for a TaskAPI"):
        twin.job("jobs-batch", UNKNOWN).artifacts()
    before = [each["job_id"] for each in twin.jobs("jobs-batch")]
    for options, message in [
        ({"workers": 0}, "workers: must be an integer of at least 1, found 0"),
        ({"batch_size": 0}, "batch_size: must be an integer of at least 1, found 0"),
        ({"timeout": 0}, "timeout: must be an integer from 1 to 9223372036, found 0"),
        ({"timeout": 9223372037}, "timeout: must be an integer from 1 to 9223372036, found 9223372037"),
    ]:
        with pytest.raises(cortex.BadRequest) as refused:
            twin.submit_job("jobs-batch", [1], **options)
        assert (refused.value.kind, refused.value.message) == ("bad_request", message)
    with pytest.raises(cortex.BadRequest, match="the body has no item"):
        twin.submit_job("jobs-batch", [])
    with pytest.raises(cortex.InvalidArgument, match="item 2 cannot be expressed in JSON"):
        twin.submit_job("jobs-batch", [1, 2, {3}])
    with pytest.raises(cortex.InvalidArgument, match="give the items of the job"):
        twin.submit_job("jobs-batch")
    with pytest.raises(cortex.InvalidArgument, match="have no items"):
        twin.submit_job("jobs-task", [1])
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"echo": 1}\n{"echo"\n')
    with pytest.raises(cortex.BadRequest, match="line 2 is not one JSON text"):
        twin.submit_job("jobs-batch", bad)
    assert [each["job_id"] for each in twin.jobs("jobs-batch")] == before, "nothing was stored"


def test_a_key_makes_one_job(twin: Any, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(b'{"echo": 1.50}\n\n{"echo": "b"}\n')
    key = hashlib.sha256(str(tmp_path).encode()).hexdigest()
    job = twin.submit_job("jobs-batch", rows, idempotency_key=key)
    with open(rows, "rb") as file:
        assert twin.submit_job("jobs-batch", file, idempotency_key=key).id == job.id
    with pytest.raises(cortex.IdempotencyKeyReused):
        twin.submit_job("jobs-batch", [7], idempotency_key=key)
    assert status(job.wait(LIMIT)) == "succeeded"
    assert {line["index"]: line["result"][0]["echo"] for line in job.results()} == {0: 1.5, 1: "b"}


def test_a_task_leaves_artifacts_a_result_and_logs(twin: Any, tmp_path: Path) -> None:
    job = twin.submit_job("jobs-task", workers=2)
    document = job.wait(LIMIT)
    assert status(document) == "succeeded"
    results = document["job_status"]["results"]
    assert [result["worker"] for result in results] == [0, 1]
    assert str(results[0]["n"]) == "0.10000000000000000000001", "no digit is lost"
    files = job.artifacts()
    names = ["deep/er/a b#%.txt", "result.json", "zeros"]
    assert [(each["worker"], each["path"]) for each in files] == [(n, name) for n in (0, 1) for name in names]
    folder = tmp_path / "out"
    for _ in range(2):
        paths = job.download(folder)
        assert paths == [folder / str(n) / name for n in (0, 1) for name in names]
        assert (folder / "1/deep/er/a b#%.txt").read_text() == "yes\n"
        assert (folder / "0/zeros").read_bytes() == bytes(300_000)
        (folder / "0/zeros").write_bytes(b"changed")
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(paths), "nothing else is left"
    assert sorted(str(line) for line in job.logs()) == [
        "worker-0/main | worker 0 says yes",
        "worker-1/main | worker 1 says yes",
    ]
    assert [line.worker for line in job.logs(worker=1)] == [1]
    with pytest.raises(cortex.Conflict, match="every worker of the job has succeeded"):
        job.retry()


def test_a_task_that_fails_keeps_its_files_and_is_retried(twin: Any, tmp_path: Path) -> None:
    job = twin.submit_job("jobs-failing")
    document = job.wait(LIMIT)
    assert status(document) == "worker_error"
    assert "exited with code 3" in document["job_status"]["reason"]
    assert document["job_status"]["attempts"][0]["exit_code"] == 3
    (text, *_) = job.download(tmp_path)
    assert text.read_text() == "no\n"
    again = job.retry()
    assert status(again.wait(LIMIT)) == "worker_error"
    assert again.document()["job_status"]["retry_of"] == job.id


def test_a_followed_log_ends_with_the_job(twin: Any) -> None:
    job = twin.submit_job("jobs-slow")
    lines = job.logs(follow=True)
    assert next(lines).text == "begins"
    assert job.status() in ("pending", "running"), "the line may arrive first"
    job.stop()
    assert list(lines) == []
    assert status(job.wait(LIMIT)) == "stopped"


def test_a_timeout_stops_the_job(twin: Any) -> None:
    job = twin.submit_job("jobs-slow", timeout=1)
    document = job.wait(LIMIT)
    assert status(document) == "timed_out"
    assert document["job_status"]["reason"] == "it ran longer than its timeout (1 s)"


def test_a_large_job_passes_in_bounded_memory(twin: Any) -> None:
    """16 MB of items and more of results, sent and read with a few MiB of memory."""
    count, size = 8_000, 2_000
    text = "x" * size
    tracemalloc.start()
    try:
        job = twin.submit_job("jobs-batch", ({"echo": text} for _ in range(count)), workers=2, batch_size=200)
        sent = tracemalloc.get_traced_memory()[1]
        seen, amount = set(), 0
        tracemalloc.reset_peak()
        for line in job.results(follow=True):
            seen.add(line["index"])
            amount += len(line["result"]["echo"])
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status(job.wait(LIMIT)) == "succeeded"
    assert len(seen) == count
    assert amount == count * size
    assert sent < 6 << 20, sent
    assert read < 6 << 20, read
    assert len(list(job.results())) == count, "the same lines once more, without following"


def test_progress_is_shown_only_on_a_terminal(twin: Any, capfd: pytest.CaptureFixture[str]) -> None:
    job = twin.submit_job("jobs-batch", [{"echo": 1}, {"fail": True}])
    assert status(job.wait(LIMIT)) == "completed_with_failures"
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "nothing goes into a pipe"
    job.wait(LIMIT, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "2/2  1 failed" in err
    assert err.endswith("\n")


def test_documents_are_json_again(twin: Any) -> None:
    job = twin.submit_job("jobs-batch", [1], config={"nested": {"list": [1, None, "é"]}})
    job.wait(LIMIT)
    assert json.loads(json.dumps(job.document()))["job_status"]["config"] == {"nested": {"list": [1, None, "é"]}}
