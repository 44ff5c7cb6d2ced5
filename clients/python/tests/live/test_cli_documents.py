"""O2: every command of the CLI prints documents with `-o json`, and nothing else, on standard output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, List

import pytest

import cortex
import platform_under_test
from platform_under_test import Platform


class CLI:
    def __init__(self, platform: Platform, folder: Path) -> None:
        self.platform, self.folder = platform, folder
        self.seen: List[str] = []

    def __call__(self, *words: str, status: int = 0) -> Any:
        done = self.platform.cli(*words, "--output", "json", check=False)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        self.seen.append(" ".join(words[:2]) if words[0] in ("env", "cluster") else words[0])
        return json.loads(done.stdout)


@pytest.fixture
def cli(platform: Platform, client: cortex.Client, tmp_path: Path) -> Iterator[CLI]:
    client.deploy(platform_under_test.api("documents"), wait=True)
    yield CLI(platform, tmp_path)
    client.delete("documents")


def test_every_command(cli: CLI, client: cortex.Client) -> None:
    file = cli.folder / "cortex.yaml"
    file.write_text(json.dumps([platform_under_test.api("documents")]))
    assert cli("deploy", str(file))[0]["message"] == "documents (AsyncAPI) is up to date"
    assert cli("deploy", str(file), "--wait")[0]["error"] == ""
    assert cli("deploy", str(file), "--check")["problems"] == []
    (cli.folder / "bad.yaml").write_text("- name: x\n  kind: AsyncAPI\n")
    assert cli("deploy", str(cli.folder / "bad.yaml"), "--check", status=1)["problems"][0]["api"] == "x"
    assert "documents" in [api["metadata"]["name"] for api in cli("get")[0]["apis"]]
    assert cli("get", "documents")[0]["metadata"]["name"] == "documents"
    assert cli("describe", "documents")[0]["status"]["replicas"][0]["state"] == "ready"

    verbatim = ["-H", "X-Do: verbatim"]
    identifier = cli("submit", "documents", "-d", "1", *verbatim)["id"]
    assert cli("submit", "documents", "-d", "2", *verbatim, "--wait")["result"] == 2
    assert cli("result", "documents", identifier, "--wait")["result"] == 1
    failed = cli("submit", "documents", "-d", "{", *verbatim, "--wait", status=1)
    assert failed["error"]["kind"] == "container_invalid_json"
    assert cli("retry", "documents", failed["id"])["id"] == failed["id"]
    slow = cli("submit", "documents", "-d", "600", "-H", "X-Do: sleep")["id"]
    assert cli("cancel", "documents", slow)["status"] == "cancelled"
    assert {request["id"] for request in cli("requests", "documents")} >= {identifier, failed["id"], slow}

    assert cli("refresh", "documents", "--force")["message"] == "updating documents (AsyncAPI)"
    changed = platform_under_test.api("documents", pod={"max_concurrency": 2})
    file.write_text(json.dumps([changed]))
    cli("deploy", str(file), "--force", "--wait")
    assert "documents" in json.dumps(cli("rollback", "documents", "--force"))
    lines = cli.platform.cli("logs", "documents", "-o", "json").stdout.splitlines()
    assert all(json.loads(line)["replica"] for line in lines)
    cli.seen.append("logs")

    endpoint = cli.platform.operator
    cli("env", "configure", "second", "--operator-endpoint", endpoint)
    assert len(cli("env", "list")["environments"]) >= 2
    cli("env", "rename", "second", "third")
    cli("env", "default")
    cli("env", "delete", "third")
    assert cli("version")["cli_version"] == cortex.__version__
    assert cli("cluster", "info")["cluster_config"]["api_version"] == cortex.__version__
    assert cli("cluster", "health")["status"] == "healthy"
    cli("cluster", "export", str(cli.folder / "export"))
    assert (cli.folder / "export/documents.yaml").exists()
    doctor = cli.platform.cli("doctor", "-o", "json", check=False)
    assert json.loads(doctor.stdout)["checks"]
    cli.seen.append("doctor")
    assert cli("schema")["$schema"].endswith("2020-12/schema")
    shares = {"name": "shares", "kind": "TrafficSplitter", "apis": [{"name": "target", "weight": 100}]}
    file.write_text(json.dumps([platform_under_test.api("target", kind="RealtimeAPI"), shares]))
    cli("deploy", str(file), "--wait")
    assert cli("split", "shares", "target=100")["message"] == "shares now: target 100"
    # The output of `call` is the response.
    assert cli.platform.cli("call", "shares", "-d", "1", *verbatim).stdout == "1"
    cli.seen.append("call")
    cli("delete", "shares", "--force")
    cli("delete", "target", "--force")
    every_command_of_jobs(cli, file)
    client.deploy(platform_under_test.api("gone"), wait=True)
    assert cli("delete", "gone", "--force")["message"] == "deleting gone"

    help_of_all = json.loads(cli.platform.cli("--experimental-dump-help").stdout)["command"]["subcommands"]
    verbs = set()
    for verb in help_of_all:
        below = [each for each in verb.get("subcommands", []) if each["shouldDisplay"]]
        verbs.update(f"{verb['commandName']} {each['commandName']}" for each in below)
        verbs.update([] if below else [verb["commandName"]])
    # `up` runs until it is stopped; programs read its addresses from addresses.json.
    assert verbs - set(cli.seen) - {"help", "completion", "up"} == set()


def every_command_of_jobs(cli: CLI, file: Path) -> None:
    shell = ["sh", "-c", "echo hello; echo 1 > /cortex/artifacts/result.json; echo text > /cortex/artifacts/a.txt"]
    task = {
        "name": "task",
        "kind": "TaskAPI",
        "schedules": [{"name": "yearly", "cron": "0 0 1 1 *"}],
        "pod": {"containers": [{"name": "main", "command": shell}]},
    }
    server = "import http.server as h\n" "class H(h.BaseHTTPRequestHandler):\n"
    server += " def do_POST(s):\n  s.rfile.read(int(s.headers['Content-Length']))\n"
    server += "  s.send_response(200); s.send_header('Content-Length', '1'); s.end_headers(); s.wfile.write(b'1')\n"
    server += "h.HTTPServer(('', 8080), H).serve_forever()"
    batch = {
        "name": "batch",
        "kind": "BatchAPI",
        "pod": {"containers": [{"name": "main", "command": ["python3", "-c", server]}]},
    }
    file.write_text(json.dumps([task, batch]))
    cli("deploy", str(file))
    done = cli("submit", "task", "-d", "{}", "--wait")
    job = done["job_status"]["job_id"]
    assert done["job_status"]["result"] == 1
    assert [each["job_id"] for each in cli("jobs", "task")["jobs"]] == [job]
    assert cli("result", "task", job)["job_status"]["status"] == "succeeded"
    listed = cli.platform.cli("artifacts", "task", job, "--json").stdout
    assert [each["path"] for each in json.loads(listed)["artifacts"]] == ["a.txt", "result.json"]
    cli.seen.append("artifacts")
    assert cli("schedules", "task")["schedules"][0]["name"] == "yearly"
    cli.seen += ["schedule run", "schedule suspend", "schedule resume"]
    assert cli("schedule", "suspend", "task", "yearly")["message"] == "suspended schedule yearly of task"
    assert cli("schedule", "resume", "task", "yearly")["message"] == "resumed schedule yearly of task"
    assert cli("schedule", "run", "task", "yearly")["schedule"]["manual"] is True
    lines = cli.folder / "lines"
    lines.write_text("1\n2\n")
    done = cli("submit", "batch", "--items", str(lines), "--workers", "1", "--batch-size", "1", "--wait")
    results = cli.platform.cli("results", "batch", done["job_status"]["job_id"]).stdout.splitlines()
    assert [json.loads(line)["result"] for line in results] == [1, 1]
    cli.seen.append("results")
    cli("delete", "task", "--force")
    cli("delete", "batch", "--force")


def test_an_error_leaves_standard_output_empty(platform: Platform, client: cortex.Client) -> None:
    done = platform.cli("get", "not-there", "-o", "json", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'error: no API "not-there" is deployed: see cortex get for those that are\n'
