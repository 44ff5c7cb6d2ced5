"""The package itself: its version, its types, and that it installs from a clone without a network."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cortex
from platform_under_test import ROOT

PROJECT = ROOT / "clients/python"


def test_its_version_is_the_platforms() -> None:
    assert cortex.__version__ == (ROOT / "VERSION").read_text().strip()


def test_the_names_of_the_original_are_there() -> None:
    for name in ("client", "new_client", "env_list", "env_delete", "run_cli", "Client", "NotFound", "__version__"):
        assert hasattr(cortex, name)
    from cortex.binary import get_cli_path, run_cli  # noqa: F401
    from cortex.client import Client
    from cortex.exceptions import CortexBinaryException, CortexException, NotFound  # noqa: F401

    original = {
        "deploy": ["api_spec", "force", "wait"],
        "deploy_from_file": ["config_file", "force", "wait"],
        "get_api": ["api_name"],
        "list_apis": [],
        "get_job": ["api_name", "job_id"],
        "refresh": ["api_name", "force"],
        "delete": ["api_name", "keep_cache"],
        "stop_job": ["api_name", "job_id", "keep_cache"],
    }
    for name, arguments in original.items():
        found = list(inspect.signature(getattr(Client, name)).parameters)
        assert found[1 : len(arguments) + 1] == arguments, name


TWINS = [
    (cortex.Client, cortex.AsyncClient),
    (cortex.Endpoint, cortex.AsyncEndpoint),
    (cortex.Request, cortex.AsyncRequest),
    (cortex.Job, cortex.AsyncJob),
    (cortex.Response, cortex.AsyncResponse),
]


def test_the_asynchronous_twins_have_the_same_names_and_arguments() -> None:
    for one, other in TWINS:
        names = {name for name in vars(one) if not name.startswith("_")}
        assert names == {name for name in vars(other) if not name.startswith("_")}
        for name in names - {"url", "status"}:
            ours, theirs = (inspect.signature(getattr(each, name)) for each in (one, other))
            assert list(ours.parameters.values()) == list(theirs.parameters.values()), name
        ours, theirs = (inspect.signature(each) for each in (one, other))
        assert [(each.name, each.kind, each.default) for each in ours.parameters.values()] == [
            (each.name, each.kind, each.default) for each in theirs.parameters.values()
        ], one
    assert inspect.signature(cortex.client).parameters == inspect.signature(cortex.async_client).parameters


def test_the_asynchronous_twins_return_the_same_types() -> None:
    def of_twin(text: str) -> str:
        for one, other in TWINS:
            text = re.sub(rf"\b{one.__name__}\b", other.__name__, text)
        return text.replace("Iterator[", "AsyncIterator[")

    for one, other in TWINS:
        for name, method in inspect.getmembers(one, inspect.isfunction):
            if not name.startswith("_"):
                expected = of_twin(str(inspect.signature(method).return_annotation))
                found = str(inspect.signature(getattr(other, name)).return_annotation)
                generator = re.sub(r"AsyncIterator\[(.*)\]", r"AsyncGenerator[\1, None]", expected)
                assert found in (expected, generator), f"{other.__name__}.{name}"


def test_the_asynchronous_twins_have_the_same_first_docstring_lines() -> None:
    def first_line(item: object) -> str:
        return (inspect.getdoc(item) or "").split("\n", 1)[0]

    for one, other in TWINS:
        for name in {name for name in vars(one) if not name.startswith("_")} - {"url"}:
            mine = first_line(getattr(one, name))
            assert mine, f"{one.__name__}.{name} has no docstring"
            assert mine == first_line(getattr(other, name)), name
    assert first_line(cortex.client) == first_line(cortex.async_client)


def test_it_installs_from_a_clone_without_a_network(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(PROJECT, clone, ignore=ignored)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--no-index",
            "--no-deps",
            "--no-build-isolation",
            "--quiet",
            "--target",
            tmp_path / "site",
            clone,
        ],  # fmt: skip
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "site/cortex"
    assert (installed / "py.typed").exists()
    assert {path.name for path in installed.glob("*.py")} == {
        path.name for path in (PROJECT / "src/cortex").glob("*.py")
    }
    metadata = next((tmp_path / "site").glob("cortex-*.dist-info")) / "METADATA"
    assert "Requires-Dist: httpx" in metadata.read_text()


def test_it_needs_no_python_newer_than_it_says(tmp_path: Path) -> None:
    """Checks syntax and library calls of every file, also those that this machine's interpreter accepts."""

    def judged(path: Path) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "vermin", "--target=3.9-", "--violations", "--no-tips", path]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    assert 'requires-python = ">=3.9"' in (PROJECT / "pyproject.toml").read_text()
    for folder in ("src", "tests"):
        done = judged(PROJECT / folder)
        assert done.returncode == 0, done.stdout + done.stderr
    for newer in ("match 1:\n    case 1:\n        pass\n", "import contextlib\ncontextlib.aclosing(1)\n"):
        (tmp_path / "newer.py").write_text(newer)
        assert judged(tmp_path).returncode != 0, newer


def test_types_hold() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_style_holds() -> None:
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "."], cwd=PROJECT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
