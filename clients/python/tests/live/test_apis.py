"""APIs through the operator (O1, O5, O6), and the environments shared with the CLI."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

import cortex
import cortex._operator
import platform_under_test
from platform_under_test import Platform


def test_deploy_look_refresh_delete(client: cortex.Client) -> None:
    done = client.deploy(platform_under_test.api("one"), wait=True)
    assert done["message"] == "creating one (AsyncAPI)"
    assert done["error"] == ""
    assert done["api"]["status"]["ready"] == 1
    assert "one" in [api["metadata"]["name"] for api in client.list_apis()]
    present = client.get_api("one")
    assert present["endpoint"] == client.endpoint("one").url
    first = present["metadata"]["id"]
    described = client.describe("one")["status"]
    assert [replica["state"] for replica in described["replicas"]] == ["ready"]
    assert client.deploy(platform_under_test.api("one"))["message"] == "one (AsyncAPI) is up to date"
    client.refresh("one", force=True)
    assert client.get_api("one")["metadata"]["id"] != first
    assert client.get_api_by_id("one", first)["spec"]["name"] == "one"
    assert client.info()["cluster_config"]["api_version"] == cortex.__version__
    client.delete("one")
    with pytest.raises(cortex.NotFound, match='no API "one"'):
        client.get_api("one")
    with pytest.raises(cortex.NotFound):
        client.delete("one")


def test_a_file_with_several_apis(client: cortex.Client, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    server = (platform_under_test.SERVER / "server.py").read_text()
    (tmp_path / "app/server.py").write_text(server)
    api = """
- name: {name}
  kind: AsyncAPI
  pod:
    containers:
      - name: main
        command: [python3, /app/server.py]
        volumes: ["./app:/app:ro"]
"""
    file = tmp_path / "cortex.yaml"
    file.write_text(api.format(name="first") + api.format(name="second"))
    done = client.deploy_from_file(file, wait=True)
    assert done["api"]["spec"]["name"] == "first"
    assert [each["api"]["spec"]["name"] for each in done.results] == ["first", "second"]
    assert all(each["api"]["status"]["ready"] == 1 for each in done.results)
    for name in ("first", "second"):
        client.delete(name)


def test_every_problem_of_a_specification_is_told(client: cortex.Client) -> None:
    with pytest.raises(cortex.ConfigurationInvalid) as caught:
        client.deploy({"name": "bad", "kind": "AsyncAPI", "pod": {"port": 0, "containers": [{"nam": "x"}]}})
    paths = {problem["path"] for problem in caught.value.problems}
    assert "pod.port" in paths
    assert len(caught.value.problems) > 1
    assert caught.value.status == 400


def test_a_specification_reaches_the_container_as_it_is(client: cortex.Client) -> None:
    odd = 'ü 😀 \u2028 \x85 \ufeff "q" \\ $HOME # no: comment \n\ttab'
    client.deploy(platform_under_test.api("odd", env={"ODD": odd}), wait=True)
    found = client.submit("odd", headers={"X-Do": "environment"}).result(wait=60)
    assert found["environment"]["ODD"] == odd
    client.delete("odd")


def test_a_container_that_does_not_start_is_told(client: cortex.Client) -> None:
    with pytest.raises(cortex.DeployFailed, match=r"broken does not become ready"):
        client.deploy(platform_under_test.api("broken", command=["false"]), wait=True)
    client.delete("broken")


def test_an_api_that_moves_is_found_again(client: cortex.Client) -> None:
    client.deploy(platform_under_test.api("mover", networking={"endpoint": "/here"}), wait=True)
    assert client.submit("mover", "1", headers={"X-Do": "verbatim"}).result(wait=60) == 1
    client.deploy(platform_under_test.api("mover", networking={"endpoint": "/there"}), wait=True)
    assert client.submit("mover", "2", headers={"X-Do": "verbatim"}).result(wait=60) == 2
    client.delete("mover")


def test_requests_and_retry(client: cortex.Client, echo: cortex.Endpoint) -> None:
    request = echo.submit('{"status": 500}', headers={"X-Do": "answer"})
    with pytest.raises(cortex.RequestFailed):
        request.result(wait=60)
    failed = list(client.requests("echo", status="failed", limit=1))
    assert [each["id"] for each in failed] == [request.id]
    assert failed[0]["error"]["kind"] == "container_status"
    again = client.retry("echo", request.id)
    assert again.id == request.id
    with pytest.raises(cortex.RequestFailed):
        again.result(wait=60)
    later = [echo.submit().id for _ in range(3)]
    assert [each["id"] for each in client.requests("echo", limit=2)] == later[:0:-1]
    with pytest.raises(cortex.BadRequest, match="status"):
        list(client.requests("echo", status="lost"))


def test_logs(client: cortex.Client, echo: cortex.Endpoint) -> None:
    echo.submit().result(wait=60)
    lines = list(client.logs("echo"))
    assert any("POST /" in line.text for line in lines)
    assert lines[0].container == "main"
    assert lines[0].replica.startswith("echo-")
    assert len(list(client.logs("echo", tail=1))) == 1
    with pytest.raises(cortex.NotFound, match="no container"):
        list(client.logs("echo", container="other"))
    following = client.logs("echo", follow=True, tail=0)
    threading.Timer(0.5, lambda: echo.submit().result(wait=60)).start()
    assert "POST /" in next(following).text
    following.close()  # type: ignore[attr-defined]


def test_environments_are_the_clis(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    office = cortex.new_client("office", platform.operator)
    assert office.list_apis() == cortex.client("local").list_apis(), "the token of the same URL is taken"
    assert json.loads(platform.cli("env", "list", "-o", "json").stdout) == cortex.env_list()
    platform.cli("env", "default", "office")
    assert cortex.client().env_name == "office"
    platform.cli("env", "default", "local")
    cortex.env_delete("office")
    assert "office" not in platform.cli("env", "list").stdout
    other = platform.operator.replace("127.0.0.1", "localhost")
    with pytest.raises(cortex.Unauthorized, match="token=TOKEN") as caught:
        cortex.new_client("bare", other).list_apis()
    assert caught.value.status == 401
    monkeypatch.setenv("CORTEX_TOKEN", platform.token)
    assert cortex.new_client("bare", other).list_apis() == cortex.client().list_apis()
    monkeypatch.delenv("CORTEX_TOKEN")
    assert cortex.new_client("given", other, token=platform.token).env_name == "given"
    for name in ("bare", "given"):
        cortex.env_delete(name)


def test_another_version_stops_and_names_both(client: cortex.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cortex._operator, "__version__", "7.3.1")
    with pytest.raises(cortex.VersionMismatch) as caught:
        client.list_apis()
    assert "7.3.1" in str(caught.value)
    assert cortex.__version__ in str(caught.value)
    assert client.info()["cluster_config"]["api_version"] == cortex.__version__, "that much can be asked"


def test_an_api_without_jobs(client: cortex.Client, echo: cortex.Endpoint) -> None:
    with pytest.raises(cortex.NotSupported, match="echo has the kind AsyncAPI; only a BatchAPI or a TaskAPI has jobs"):
        client.get_job("echo", "b")
    with pytest.raises(cortex.NotFound):
        client.stop_job("not-there", "b")


def test_run_cli(platform: Platform, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CORTEX_CLI_PATH", os.fspath(platform_under_test.PROGRAM))
    assert cortex.__version__ in cortex.run_cli(["version"])
    assert cortex.__version__ in capfd.readouterr().out
    with pytest.raises(cortex.CortexBinaryException, match="no API"):
        cortex.run_cli(["get", "not-there"], hide_output=True)
    monkeypatch.setenv("CORTEX_CLI_PATH", "/nowhere")
    with pytest.raises(cortex.CortexBinaryException, match="CORTEX_CLI_PATH"):
        cortex.run_cli(["version"])
