"""Jobs of Batch and Task APIs, and their asynchronous twins (J2, J5, J15, B2, B8, T6)."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List
from urllib.parse import parse_qs, urlsplit

import pytest

import cortex
from stub_platform import TIMEOUT, Exchange, StubPlatform

JOB = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"
BATCH, TASK = f"/batch/sum/{JOB}", f"/tasks/train/{JOB}"


@pytest.fixture
def stub() -> Iterator[StubPlatform]:
    stub = StubPlatform()
    stub.deploy("sum", "BatchAPI")
    stub.deploy("train", "TaskAPI")
    stub.deploy("hello", "AsyncAPI")
    yield stub
    stub.stop()


@pytest.fixture
def client(stub: StubPlatform) -> Iterator[cortex.Client]:
    with stub.client() as client:
        yield client


def document(status: str, **more: Any) -> Dict[str, Any]:
    return {"api_spec": {}, "job_status": {"job_id": JOB, "status": status, **more}, "endpoint": "http://x"}


class Answers:
    """Answers with each of these in turn, then with the last one; keeps the bodies and queries."""

    def __init__(self, *answers: Any, status: int = 200, **fields: str) -> None:
        self._answers = list(answers)
        self._status, self._fields = status, fields
        self.bodies: List[bytes] = []
        self.queries: List[Dict[str, List[str]]] = []
        self.headers: List[Any] = []

    def __call__(self, exchange: Exchange) -> None:
        self.bodies.append(exchange.read())
        self.queries.append(parse_qs(urlsplit(exchange.target).query))
        self.headers.append(exchange.headers)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            return answer(exchange)
        exchange.answer(self._status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        return None


def accepted() -> Answers:
    return Answers({"job_id": JOB})


def test_b2_any_iterable_is_streamed_as_json_lines(stub: StubPlatform, client: cortex.Client) -> None:
    route = stub.routes["POST", "/batch/sum"] = accepted()
    job = client.submit_job("sum", (number for number in (1, "ä\n", {"a": [None, 2.5]})), workers=3, batch_size=2)
    assert (job.id, repr(job)) == (JOB, f"<Job {JOB} of sum>")
    assert route.bodies == ['1\n"ä\\n"\n{"a":[null,2.5]}\n'.encode()]
    assert route.queries == [{"workers": ["3"], "batch_size": ["2"]}]
    sent = route.headers[0]
    assert (sent["Content-Type"], sent["Transfer-Encoding"]) == ("application/jsonl", "chunked")
    assert sent["Authorization"] == "Bearer secret"
    assert sent["Idempotency-Key"]


def test_b2_items_are_sent_while_they_are_made(stub: StubPlatform, client: cortex.Client) -> None:
    arrived = threading.Event()

    def route(exchange: Exchange) -> None:
        assert exchange.read_chunk()
        arrived.set()
        exchange.read()
        exchange.answer(200, json.dumps({"job_id": JOB}).encode())

    def items() -> Iterator[str]:
        yield "x" * 100_000
        assert arrived.wait(TIMEOUT), "the first item arrives before the second one is made"
        yield "y"

    stub.routes["POST", "/batch/sum"] = route
    assert client.submit_job("sum", items()).id == JOB


def test_b2_options_and_files(stub: StubPlatform, client: cortex.Client, tmp_path: Path) -> None:
    route = stub.routes["POST", "/batch/sum"] = accepted()
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"1\n\n2")
    client.submit_job("sum", file, config={"k": 1.0}, timeout=60, idempotency_key="mine")
    client.submit_job("sum", io.BytesIO(b"3\n"))
    assert route.bodies == [b"1\n\n2", b"3\n"]
    assert route.queries[0] == {"workers": ["1"], "batch_size": ["1"], "timeout": ["60"], "config": ['{"k": 1.0}']}
    assert route.headers[0]["Idempotency-Key"] == "mine"


def test_j2_a_submission_is_repeated_with_the_same_key(stub: StubPlatform, client: cortex.Client) -> None:
    away = {"error": {"kind": "unavailable", "message": "later"}}
    route = Answers(lambda exchange: exchange.answer(503, json.dumps(away).encode()), {"job_id": JOB})
    stub.routes["POST", "/batch/sum"] = route
    assert client.submit_job("sum", [1, 2]).id == JOB
    assert route.bodies == [b"1\n2\n"] * 2
    assert route.headers[0]["Idempotency-Key"] == route.headers[1]["Idempotency-Key"]
    # What an iterator has given is gone, so it is not sent a second time.
    stub.routes["POST", "/batch/sum"] = Answers(
        lambda exchange: exchange.answer(503, json.dumps(away).encode()), {"job_id": JOB}
    )
    with pytest.raises(cortex.Unavailable):
        client.submit_job("sum", iter([1, 2]))


@pytest.mark.parametrize("items", ["text", b"bytes", {"a": 1}, 5, None, io.StringIO("1\n")])
def test_b2_what_is_no_sequence_of_items(client: cortex.Client, items: Any) -> None:
    with pytest.raises(cortex.InvalidArgument):
        client.submit_job("sum", items)


def test_b2_an_item_that_json_does_not_have(stub: StubPlatform, client: cortex.Client) -> None:
    stub.routes["POST", "/batch/sum"] = lambda exchange: exchange.cut()
    with pytest.raises(cortex.InvalidArgument, match="item 1 cannot be expressed in JSON"):
        client.submit_job("sum", [1, {2}])


def test_t1_a_task_gets_a_json_object(stub: StubPlatform, client: cortex.Client) -> None:
    route = stub.routes["POST", "/tasks/train"] = accepted()
    assert client.submit_job("train", workers=2, config={"epochs": 3}, timeout=5).id == JOB
    assert json.loads(route.bodies[0]) == {"workers": 2, "config": {"epochs": 3}, "timeout": 5}
    assert route.headers[0]["Content-Type"] == "application/json"
    with pytest.raises(cortex.InvalidArgument, match="have no items"):
        client.submit_job("train", [1])


def test_j1_other_kinds_have_no_jobs(client: cortex.Client) -> None:
    with pytest.raises(cortex.NotSupported, match="hello has the kind AsyncAPI"):
        client.submit_job("hello", [1])
    with pytest.raises(cortex.NotSupported, match=r"client\.submit_job\('sum'"):
        client.submit("sum", {})


def test_j3_documents_and_lists(stub: StubPlatform, client: cortex.Client) -> None:
    text = (
        json.dumps(document("running"))
        .encode()
        .replace(b'"running"', b'"running","config":{"n":0.1000000000000000000001}')
    )
    stub.routes["GET", BATCH] = Answers(text)
    job = client.job("sum", JOB)
    assert job.status() == "running"
    assert str(job.document()["job_status"]["config"]["n"]) == "0.1000000000000000000001", "no digit is lost"
    assert client.get_job("sum", JOB) == job.document()
    pages = stub.routes["GET", "/batch/sum"] = Answers(
        {"jobs": [{"job_id": "c"}, {"job_id": "b"}], "next": "b"}, {"jobs": [{"job_id": "a"}]}
    )
    assert [each["job_id"] for each in client.jobs("sum", status="running")] == ["c", "b", "a"]
    assert pages.queries == [
        {"limit": ["100"], "status": ["running"]},
        {"limit": ["100"], "status": ["running"], "before": ["b"]},
    ]


def test_j5_stop(stub: StubPlatform, client: cortex.Client) -> None:
    route = stub.routes["DELETE", BATCH] = Answers({"message": f"stopped job {JOB}"})
    client.job("sum", JOB).stop()
    client.stop_job("sum", JOB)
    assert len(route.bodies) == 2
    ended = {"error": {"kind": "job_is_not_in_progress", "message": "it has ended"}}
    stub.routes["DELETE", BATCH] = Answers(ended, status=409)
    with pytest.raises(cortex.Conflict, match="it has ended"):
        client.stop_job("sum", JOB)


def test_a5_wait_returns_at_the_end_whatever_it_is(stub: StubPlatform, client: cortex.Client) -> None:
    route = stub.routes["GET", BATCH] = Answers(document("pending"), document("running"), document("worker_error"))
    assert client.job("sum", JOB).wait()["job_status"]["status"] == "worker_error"
    assert [each.get("Prefer") for each in route.headers] == [None, "wait=50", "wait=50"]
    stub.routes["GET", BATCH] = Answers(document("running"))
    assert client.job("sum", JOB).wait(0)["job_status"]["status"] == "running"


def test_wait_shows_progress_on_a_terminal(
    stub: StubPlatform, client: cortex.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"total": 16, "succeeded": 8, "failed": 1, "cancelled": 0, "in_queue": 4, "in_progress": 3}
    route = stub.routes["GET", BATCH] = Answers(
        document("running", item_counts=counts), document("succeeded", item_counts={**counts, "succeeded": 15})
    )
    client.job("sum", JOB).wait(progress=True)
    shown = capsys.readouterr().err
    assert "9/16  1 failed" in shown
    assert shown.endswith("\n")
    assert "16/16  1 failed" in shown
    assert route.headers[1]["Prefer"] == "wait=1"
    client.job("sum", JOB).wait()
    assert capsys.readouterr().err == "", "nothing goes into a pipe"


def lines(*indexes: int) -> bytes:
    return b"".join(b'{"index":%d,"status":"succeeded","attempts":1,"result":%d}\n' % (each, each) for each in indexes)


def sending(text: bytes, *, cut: bool = False, **fields: str) -> Any:
    def route(exchange: Exchange) -> None:
        exchange.begin(**fields)
        if text:
            exchange.write(text)
        if cut:
            exchange.cut()
        else:
            exchange.end()

    return route


def test_b8_results_are_dictionaries(stub: StubPlatform, client: cortex.Client) -> None:
    text = b'{"index":0,"status":"succeeded","attempts":1,"result":{"sum": 12345678901234567890}}\n'
    route = stub.routes["GET", f"{BATCH}/results"] = Answers(sending(text, X_Cortex_Next="c1"))
    results = list(client.job("sum", JOB).results())
    assert results == [{"index": 0, "status": "succeeded", "attempts": 1, "result": {"sum": 12345678901234567890}}]
    list(client.job("sum", JOB).failed())
    assert route.queries == [{}, {"status": ["failed"]}]


def test_b8_a_lost_connection_is_made_again_and_no_line_comes_twice(stub: StubPlatform, client: cortex.Client) -> None:
    three = lines(0, 1, 2)
    route = stub.routes["GET", f"{BATCH}/results"] = Answers(
        sending(three[:70], cut=True),
        sending(three, X_Cortex_Next="c1"),
        sending(lines(3) + b'{"index":4,"sta', cut=True),
        sending(lines(3, 4), X_Cortex_Next="c2"),
        sending(lines(5)),
        sending(lines(5, 6), X_Cortex_Next="c3"),
    )
    stub.routes["GET", BATCH] = Answers(document("succeeded"))
    assert [each["index"] for each in client.job("sum", JOB).results(follow=True)] == [0, 1, 2, 3, 4, 5, 6]
    follow = {"follow": ["true"]}
    assert route.queries == [
        {}, {}, {**follow, "after": ["c1"]}, {"after": ["c1"]}, {**follow, "after": ["c2"]}, {"after": ["c2"]},
    ]  # fmt: skip


def test_b8_followed_lines_come_as_they_are_recorded(stub: StubPlatform, client: cortex.Client) -> None:
    written = threading.Semaphore(0)

    def follow(exchange: Exchange) -> None:
        exchange.begin()
        for index in (0, 1):
            assert written.acquire(timeout=TIMEOUT)
            exchange.write(lines(index))
        exchange.end()

    stub.routes["GET", f"{BATCH}/results"] = Answers(
        sending(b"", X_Cortex_Next="c1"), follow, sending(lines(0, 1), X_Cortex_Next="c2")
    )
    stub.routes["GET", BATCH] = Answers(document("succeeded"))
    results = client.job("sum", JOB).results(follow=True)
    for index in (0, 1):
        written.release()
        assert next(results)["index"] == index
    assert list(results) == []


def test_b10_retry_is_a_new_job(stub: StubPlatform, client: cortex.Client) -> None:
    stub.routes["POST", f"{BATCH}/retry"] = Answers({"job_id": "new"})
    assert client.job("sum", JOB).retry().id == "new"


def test_j12_logs(stub: StubPlatform, client: cortex.Client) -> None:
    line = {"replica": "r", "container": "c", "worker": 1, "attempt": 2, "text": "hello"}
    route = stub.routes["GET", "/logs/train"] = Answers(json.dumps(line).encode() + b"\n\n")
    found = list(client.job("train", JOB).logs(worker=1, attempt=2, tail=5))
    assert found == [cortex.LogLine("r", "c", "hello", 1, 2)]
    assert str(found[0]) == "worker-1/c | hello"
    assert route.queries == [{"follow": ["false"], "tail": ["5"], "jobID": [JOB], "worker": ["1"], "attempt": ["2"]}]


def artifacts(*files: Any) -> Answers:
    return Answers(
        {
            "artifacts": [
                {
                    "worker": worker,
                    "attempt": 1,
                    "path": path,
                    "size": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for worker, path, content in files
            ]
        }
    )


def test_t6_download(stub: StubPlatform, client: cortex.Client, tmp_path: Path) -> None:
    stub.routes["GET", f"{TASK}/artifacts"] = artifacts((0, "a b/x#.txt", b"one"), (1, "result.json", b"{}"))
    stub.routes["GET", f"{TASK}/artifacts/0/a%20b/x%23.txt"] = Answers(b"one")
    stub.routes["GET", f"{TASK}/artifacts/1/result.json"] = Answers(b"{}")
    job = client.job("train", JOB)
    assert [each["path"] for each in job.artifacts()] == ["a b/x#.txt", "result.json"]
    folder = tmp_path / "out"
    assert job.download(folder) == [folder / "0/a b/x#.txt", folder / "1/result.json"]
    assert (folder / "0/a b/x#.txt").read_bytes() == b"one"
    assert sorted(each.name for each in folder.rglob("*") if each.is_file()) == ["result.json", "x#.txt"]
    stub.routes["GET", f"{TASK}/artifacts/1/result.json"] = Answers(b"[]")
    with pytest.raises(cortex.ConnectionFailed, match="did not arrive as a whole"):
        job.download(folder)
    assert (folder / "1/result.json").read_bytes() == b"{}", "the file of before is unchanged"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../../x", "a//b", "", "."])
def test_t6_no_name_leaves_the_folder(stub: StubPlatform, client: cortex.Client, tmp_path: Path, path: str) -> None:
    stub.routes["GET", f"{TASK}/artifacts"] = artifacts((0, "good", b"x"), (0, path, b"x"))
    with pytest.raises(cortex.InvalidArgument, match="would leave"):
        client.job("train", JOB).download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_t6_no_link_in_the_folder_is_followed(stub: StubPlatform, client: cortex.Client, tmp_path: Path) -> None:
    stub.routes["GET", f"{TASK}/artifacts"] = artifacts((0, "a/x", b"x"))
    (tmp_path / "out/0").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/0/a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(cortex.InvalidArgument, match="symbolic link"):
        client.job("train", JOB).download(tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_asynchronous_twin(stub: StubPlatform, tmp_path: Path) -> None:
    submitted = stub.routes["POST", "/batch/sum"] = accepted()
    stub.routes["GET", BATCH] = Answers(document("running"), document("succeeded"))
    stub.routes["GET", f"{BATCH}/results"] = Answers(
        sending(lines(0), X_Cortex_Next="c1"), sending(lines(1)), sending(lines(1, 2), X_Cortex_Next="c2")
    )
    stub.routes["POST", f"{BATCH}/retry"] = Answers({"job_id": "new"})
    stub.routes["DELETE", BATCH] = Answers({"message": "stopped"})
    stub.routes["GET", "/batch/sum"] = Answers({"jobs": [{"job_id": "a"}]})
    stub.routes["GET", f"{TASK}/artifacts"] = artifacts((0, "x", b"one"))
    stub.routes["GET", f"{TASK}/artifacts/0/x"] = Answers(b"one")
    stub.routes["GET", "/logs/sum"] = Answers(b'{"replica":"r","container":"c","worker":0,"text":"hello"}\n')

    async def main() -> None:
        async with cortex.AsyncClient(stub.environment(), retry=cortex.Retry(attempts=2, initial=0.0)) as client:
            job = await client.submit_job("sum", (each for each in range(3)), batch_size=2)
            assert submitted.bodies == [b"0\n1\n2\n"]
            assert (await job.wait())["job_status"]["status"] == "succeeded"
            assert await job.status() == "succeeded"
            assert [each["index"] async for each in job.results(follow=True)] == [0, 1, 2]
            assert [each async for each in job.failed()]
            assert (await job.retry()).id == "new"
            assert [each.text async for each in job.logs()] == ["hello"]
            await job.stop()
            await client.stop_job("sum", JOB)
            assert (await client.get_job("sum", JOB))["job_status"]["job_id"] == JOB
            assert [each["job_id"] async for each in client.jobs("sum")] == ["a"]
            task = await client.job("train", JOB)
            assert await task.download(tmp_path) == [tmp_path / "0/x"]
            assert (await task.artifacts())[0]["path"] == "x"

    asyncio.run(main())
