"""`cli.yaml` is shared with the CLI and with containers (C9, U3, O1)."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
import yaml

import cortex
from cortex import environments
from cortex._addresses import endpoint_url, gateway_url
from cortex.environments import ConfigurationFileError, Environment

FILE = """
default_environment: office
telemetry: false
environments:
- {name: local, operator_endpoint: "http://127.0.0.1:8888", token: secret}
- {name: office, operator_endpoint: https://cortex.example.com, provider: aws, colour: blue}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORTEX_CLI_CONFIG_DIR", str(tmp_path))
    return tmp_path


def test_the_default_the_named_and_the_only_environment(folder: Path) -> None:
    (folder / "cli.yaml").write_text(FILE)
    assert cortex.client().env == {"name": "office", "operator_endpoint": "https://cortex.example.com"}
    assert cortex.client("local").env_name == "local"
    assert cortex.env_list()["default_environment"] == "office"
    with pytest.raises(cortex.NotFound, match="there are: local, office"):
        cortex.client("home")
    cortex.env_delete("office")
    assert cortex.client().env_name == "local"
    with pytest.raises(cortex.NotFound, match="there is no environment 'office'"):
        cortex.env_delete("office")
    cortex.env_delete("local")
    with pytest.raises(cortex.NotFound, match="cortex up"):
        cortex.client()


def test_a_change_keeps_what_others_wrote_and_is_private(folder: Path) -> None:
    (folder / "cli.yaml").write_text(FILE)
    environments.update(lambda file: file.put(Environment("third", "http://localhost:1", "t")))
    content = yaml.safe_load((folder / "cli.yaml").read_text())
    assert content["telemetry"] is False
    assert content["environments"][1]["colour"] == "blue"
    assert content["environments"][0]["token"] == "secret"
    assert content["environments"][2]["name"] == "third"
    assert stat.S_IMODE((folder / "cli.yaml").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["cli.yaml"]


def test_tokens_are_not_shown(folder: Path) -> None:
    (folder / "cli.yaml").write_text(FILE)
    client = cortex.client("local")
    assert "secret" not in f"{client!r} {client.env} {cortex.env_list()} {environments.load()!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "not YAML"),
        ("[]", "must be a map"),
        ("colour: blue", "unknown key 'colour'"),
        ("environments: [{operator_endpoint: x}]", "name is missing"),
        ("environments: [{name: x}]", "operator_endpoint is missing"),
        ("environments: [{name: x, operator_endpoint: y}, {name: x, operator_endpoint: y}]", "two environments 'x'"),
        ("default_environment: x", "not one of its environments"),
    ],
)
def test_a_damaged_file_says_what_is_wrong_and_stays(folder: Path, text: str, message: str) -> None:
    (folder / "cli.yaml").write_text(text)
    with pytest.raises(ConfigurationFileError, match=message):
        cortex.env_list()
    with pytest.raises(ConfigurationFileError, match=message):
        cortex.env_delete("x")
    assert (folder / "cli.yaml").read_text() == text


def _add(numbers: range) -> None:
    for number in numbers:
        environments.update(lambda file, number=number: file.put(Environment(f"e{number}", "http://localhost:1")))


def test_two_programs_do_not_lose_each_others_change(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(range(start, start + 15),)) for start in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(environments.load().environments) == 30


def test_urls_as_people_type_them() -> None:
    assert endpoint_url("localhost:8888") == "http://localhost:8888"
    assert endpoint_url("127.0.0.1:8888/") == "http://127.0.0.1:8888"
    assert endpoint_url("cortex.example.com") == "https://cortex.example.com"
    assert endpoint_url("http://[::1]:1/a/") == "http://[::1]:1/a"
    for wrong in ("", "ftp://x", "http://", "http://x:99999", "http://u:p@x", "http://x?a=1", "http://a b"):
        with pytest.raises(cortex.BadRequest):
            endpoint_url(wrong)


def test_where_an_api_is_reached_from() -> None:
    api = {"endpoint": "http://127.0.0.1:8889/hello"}
    inside = "http://ingressgateway-apis.istio-system.svc.cluster.local/hello"
    assert gateway_url(api, "http://127.0.0.1:8888") == "http://127.0.0.1:8889/hello"
    assert gateway_url(api, "http://big.example.com:8888") == "http://big.example.com:8889/hello"
    assert gateway_url(api, "http://operator.default.svc.cluster.local:8888") == inside
    with pytest.raises(cortex.NotFound):
        gateway_url({}, "http://127.0.0.1:8888")


def test_a_mistaken_name_is_refused() -> None:
    for name in ("", "a b", "-x", "x" * 64):
        with pytest.raises(ConfigurationFileError, match="cannot be an environment's name"):
            cortex.new_client(name, "http://127.0.0.1:1")


def test_nothing_is_stored_where_nothing_answers(folder: Path) -> None:
    with pytest.raises(cortex.ConnectionFailed, match="nothing answers at http://127.0.0.1:1"):
        cortex.new_client("x", "127.0.0.1:1")
    assert cortex.env_list()["environments"] == []


def test_a_url_with_a_password_is_never_shown_with_it() -> None:
    for wrong in ("http://ada:hidden@x", "ada:hidden@x:99999", "http://x?token=hidden", "http://ada:hid@hidden@x#a"):
        with pytest.raises(cortex.BadRequest) as caught:
            endpoint_url(wrong)
        assert "hid" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o602])
def test_a_file_that_others_could_have_written_is_refused_as_it_is(folder: Path, mode: int) -> None:
    path = folder / "cli.yaml"
    path.write_text(FILE)
    path.chmod(mode)
    with pytest.raises(ConfigurationFileError, match=f"chmod 600 {path}"):
        cortex.client("local")
    with pytest.raises(ConfigurationFileError, match="can be written by other users"):
        cortex.env_delete("local")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == FILE


def test_a_token_that_others_can_read_is_hidden_from_them(folder: Path) -> None:
    path = folder / "cli.yaml"
    for text, mode in ((FILE, 0o600), ("environments: []\n", 0o644)):
        path.write_text(text)
        path.chmod(0o644)
        cortex.env_list()
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_is_written_through_and_a_broken_one_is_refused(folder: Path, tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    target, link = dotfiles / "cortex.yaml", folder / "cli.yaml"
    target.write_text(FILE)
    link.symlink_to(target)
    cortex.env_delete("office")
    assert link.is_symlink()
    assert "office" not in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in dotfiles.iterdir()] == ["cortex.yaml"]
    dotfiles.chmod(0o777)
    with pytest.raises(ConfigurationFileError, match="where other users can write"):
        cortex.env_delete("local")
    target.unlink()
    with pytest.raises(ConfigurationFileError, match="cannot be read"):
        cortex.env_list()
    assert link.is_symlink()
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    path = folder / "cli.yaml"
    path.write_text(FILE)
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigurationFileError, match="belongs to another user"):
        cortex.env_list()
    path.unlink()
    (folder / "own.yaml").write_text(FILE)
    path.symlink_to(folder / "own.yaml")
    os.chown(path, 65534, 65534, follow_symlinks=False)
    with pytest.raises(ConfigurationFileError, match="another user made"):
        cortex.env_list()
