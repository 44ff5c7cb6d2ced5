"""Every command and snippet of the documents for users works as it stands there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import documents
import pytest

import cortex
from platform_under_test import ROOT

DOCUMENTS = ["start", "containers", "requests", "python-client"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_true(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV_BIN", os.path.dirname(sys.executable))
    monkeypatch.setenv("CORTEX_CLI_CONFIG_DIR", str(tmp_path / "cli"))
    run = documents.Run(ROOT / "docs" / f"{name}.md", tmp_path)
    try:
        run.all()
    finally:
        run.close()


def test_the_python_of_the_readmes(client: cortex.Client, capsys: pytest.CaptureFixture[str]) -> None:
    client.deploy_from_file(ROOT / "examples/hello/cortex.sandbox.yaml", wait=True)
    for path, greeted in [
        (ROOT / "README.md", ["Ada", "Grace", "Barbara"]),
        (ROOT / "clients/python/README.md", ["Ada"]),
    ]:
        snippets = [block for block in documents.blocks(path) if block.language == "python"]
        assert snippets
        for snippet in snippets:
            exec(compile(snippet.text, path.name, "exec"), {})
        shown = capsys.readouterr().out.splitlines()
        assert [f"Hello, {name}!" in line for name, line in zip(greeted, shown)] == [True] * len(greeted)


def test_the_comparison_can_fail() -> None:
    documents.compare('{"id":"…"}\n…\nlast  column', '{"id":"a b"}\nanything\nelse\nlast      column')
    for found in ('{"id":"a"}', '{"id":"a"}\nlast  colum', '{"ib":"a"}\nlast  column', ""):
        with pytest.raises(AssertionError):
            documents.compare('{"id":"…"}\n…\nlast  column', found)


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "clients/python/README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"
