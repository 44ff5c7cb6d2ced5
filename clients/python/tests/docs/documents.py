"""Runs what a document says: its commands in one shell, its Python in one interpreter, its files as they are named; and compares what it shows as output.

A fence's first word is its language. What follows it says what it is:

    ```python app.py     a file of this name
    ```sh                commands, run in order in one shell
    ```sh up             starts the platform: `cortex up`
    ```sh install        `pip install FOLDER`, of which the folder is looked up
    ```sh make           targets of the Makefile, which are looked up but not made
    ```python            run, after the ones before it
    ```text, ```json     directly after one of these: its output; `…` stands for anything
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from platform_under_test import PROGRAM, ROOT, Platform, environment

_FENCE = re.compile(r"^( *)```(.*)$")
#: The addresses that documents show, and their platform's own ones stand for.
GATEWAY, OPERATOR = "http://127.0.0.1:8889", "http://127.0.0.1:8888"


@dataclass
class Block:
    line: int
    language: str
    purpose: str
    text: str
    follows_directly: bool


def blocks(path: Path) -> Iterator[Block]:
    lines = path.read_text().splitlines()
    index, last_end = 0, -10
    while index < len(lines):
        opening = _FENCE.match(lines[index])
        index += 1
        if not opening:
            continue
        start = index
        while lines[index].strip() != "```":
            index += 1
        words = [*opening.group(2).split(maxsplit=1), "", ""]
        body = "\n".join(line[len(opening.group(1)) :] for line in lines[start:index])
        between = "".join(lines[last_end + 1 : start - 1]).strip() if last_end >= 0 else "x"
        yield Block(start + 1, words[0], words[1], body, follows_directly=not between)
        last_end = index
        index += 1


class Shell:
    """One bash for all commands of a document, so that variables and folders stay."""

    def __init__(self, folder: Path, variables: Dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder, env=variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, text: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # `set -e` inside the braces would end the shell itself: the first failure is caught by a trap on ERR.
        script = (
            f"failed=0; trap 'failed=1' ERR; {{\n{text}\n}} </dev/null; printf '\\n\\001%s\\n' $failed; trap - ERR\n"
        )
        self._process.stdin.write(script)
        self._process.stdin.flush()
        output: List[str] = []
        for line in self._process.stdout:
            if line.startswith("\x01"):
                found = "".join(output).rstrip("\n")
                assert line.strip() == "\x010", f"a command failed: {text}\n{found}"
                return found
            output.append(line)
        raise AssertionError(f"the shell ended: {text}\n{''.join(output)}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


class Run:
    """One document, from its first block to its last."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.platform: Optional[Platform] = None
        self.variables = environment(folder)
        programs = f"{PROGRAM.parent}{os.pathsep}{Path(os.environ['VIRTUAL_ENV_BIN'])}"
        self.variables["PATH"] = f"{programs}{os.pathsep}{self.variables['PATH']}"
        self.work = folder / "work"
        self.work.mkdir()
        self.shell = Shell(self.work, self.variables)
        self.names: Dict[str, Any] = {"__name__": "__document__"}

    def all(self) -> None:
        output: Optional[str] = None
        for block in blocks(self.path):
            try:
                output = self._one(block, output)
            except AssertionError as error:
                raise AssertionError(f"{self.path.name}:{block.line}: {error}") from error
            except Exception as error:
                raise AssertionError(f"{self.path.name}:{block.line}: {type(error).__name__}: {error}") from error

    def _one(self, block: Block, output: Optional[str]) -> Optional[str]:
        if block.language in ("text", "json") and not block.purpose:
            if block.follows_directly:
                assert output is not None, "there is no command before this output"
                compare(block.text, output)
            return None
        if block.language == "sh":
            return self._shell(block)
        if block.purpose:
            target = self.work / block.purpose
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text + "\n")
            return None
        if block.language == "python":
            return self._python(block)
        raise AssertionError(f"nobody knows what to do with a block of {block.language!r}")

    def _shell(self, block: Block) -> Optional[str]:
        if block.purpose == "up":
            assert block.text.split("#")[0].strip() == "cortex up"
            self.platform = Platform(self.folder)
            self.names["token"] = self.platform.token
            return self._as_documented((self.folder / "cortex.out").read_text())
        if block.purpose == "install":
            # Done for real by unit/test_package.py.
            words = block.text.split()
            assert words[:2] == ["pip", "install"]
            assert (ROOT / words[2] / "pyproject.toml").exists()
            return None
        if block.purpose == "make":
            for line in block.text.splitlines():
                if line.startswith("make "):
                    target = line.split("#")[0].split()[1:]
                    done = subprocess.run(["make", "-n", *target], cwd=ROOT, capture_output=True, text=True)
                    assert done.returncode == 0, done.stderr
            return None
        assert not block.purpose, f"nobody knows sh {block.purpose}"
        return self._as_documented(self.shell.run(self._as_real(block.text)))

    def _python(self, block: Block) -> str:
        output = io.StringIO()
        code = compile("\n" * (block.line - 1) + self._as_real(block.text), self.path.name, "exec")
        with _chdir(self.work), contextlib.redirect_stdout(output):
            exec(code, self.names)
        return self._as_documented(output.getvalue().rstrip("\n"))

    def _as_real(self, text: str) -> str:
        if self.platform is None:
            return text
        return text.replace(GATEWAY, self.platform.gateway).replace(OPERATOR, self.platform.operator)

    def _as_documented(self, text: str) -> str:
        if self.platform is None:
            return text
        text = text.replace(self.platform.gateway, GATEWAY).replace(self.platform.operator, OPERATOR)
        return text.replace(str(self.folder / "data"), "/home/ada/.cortex/local")

    def close(self) -> None:
        self.shell.close()
        if self.platform is not None:
            self.platform.stop()


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def compare(shown: str, found: str) -> None:
    """Every line that a document shows, in its order; `…` is anything, and a line of nothing else any number of lines."""
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            parts = [re.escape(part) for part in re.split("…", line.rstrip())]
            # Columns are as wide as what stands in them.
            pattern += re.sub(r"(?:\\ ){2,}", r" {2,}", r".*".join(parts)) + r" *\n"
    assert re.fullmatch(pattern, found.strip("\n") + "\n"), f"the document shows\n{shown}\nbut there was\n{found}"
