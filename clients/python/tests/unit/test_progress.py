"""Progress is shown only on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from cortex._progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, total: int = 100, count: int = 60) -> str:
    now = [0.0]
    bar = Progress("ocr", total, stream=stream, clock=lambda: now[0])
    for number in range(count):
        now[0] += 0.05
        bar.step(failed=number < 2)
    bar.close()
    return stream.getvalue()


def test_nothing_goes_into_a_pipe_or_a_notebook() -> None:
    assert run(io.StringIO()) == ""


def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = run(Terminal())
    last = text.split("\r")[-1]
    assert "\x1b[32m" in text
    assert text.count("\r") < 40, "it is not drawn for every request"
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", last)
    assert plain.startswith("ocr  ━")
    assert plain.endswith("60/100  2 failed  20/s  2 s left\n")
    assert len(plain) <= 80


def test_no_color_and_narrow_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    for columns in (8, 20, 30, 40, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = run(Terminal())
        assert not re.search(r"\x1b\[[0-9;]*m", text)
    monkeypatch.setenv("TERM", "dumb")
    assert run(Terminal()) == ""


def test_a_total_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    bar = Progress("ocr", None, stream=Terminal(), clock=lambda: 0.0)
    bar.step()
    assert "1 done" in bar.line(2.0, 80)
