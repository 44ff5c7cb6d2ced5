"""Tests that the user documents are true: doc_test.py [FILE...]

Every block of commands in README.md, docs/*.md and the README.md of the Python client and of each example is run in the
order of its document, on a separate platform for each document. The word after a block's language selects how:

    ```sh              commands, run in one bash for the whole document
    ```sh up           `cortex up`: starts the platform on the sandbox engine, on free ports; without this block the
                       platform starts at the beginning of the document. `--batch-files DIR` may follow: a folder
                       that is made in the working directory
    ```sh image        commands that need Docker or Podman: `docker` is a private Podman, and `cortex` talks to a second
                       platform on it
    ```sh clone        commands that build or test for minutes: only their targets and scripts are checked to exist
    ```sh online       commands that download, such as the build of an image with packages: only `cortex …` is checked
    ```python          run in one interpreter for the whole document
    ```text, ```json   directly after one of these: its whole output; see `compare` for `…`
    ```LANGUAGE FILE   a file of this name; if the repository has it, the contents must be equal
    ```yaml            without a name: `cortex deploy --check` must accept it

Replacements: http://127.0.0.1:8889, :8888 and https://cortex.example.com by the addresses of the platform under test,
TOKEN by its token, ID by the last id in an output, /home/ada/.cortex/local by its data directory. The working directory
is a clone with examples/hello's app.py and cortex.sandbox.yaml (as cortex.yaml) at its top. A command with --follow or
--watch gets Ctrl-C after its first output. `pip install` installs without a network and without dependencies. The base
image python:3.11-slim is created from this machine's Python. Packages of the example whose README.md is tested are
installed.

In the rest of the text every `cortex …` must be an existing command with existing flags, every link must have a
target, and every named Swift file must exist.
"""

import concurrent.futures
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "clients/python/tests")]

from doc_blocks import Untrue, blocks, compare, indented  # noqa: E402
from doc_checks import Checks  # noqa: E402
from doc_images import Images  # noqa: E402
from doc_shell import Shell, make_programs  # noqa: E402
from platform_under_test import PROGRAM, Platform, environment  # noqa: E402

GATEWAY, OPERATOR, ELSEWHERE = "http://127.0.0.1:8889", "http://127.0.0.1:8888", "https://cortex.example.com"
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Place:
    """A platform, and a user's shell."""

    def __init__(self, folder, work, programs, engine="sandbox", socket=None):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.variables = environment(folder)
        paths = [programs, PROGRAM.parent, Path(sys.executable).parent, os.environ["PATH"]]
        self.variables["PATH"] = os.pathsep.join(map(str, paths))
        site = folder / "site"
        self.variables.update(
            PIP_TARGET=str(site),
            PIP_NO_INDEX="1",
            PIP_NO_DEPS="1",
            PIP_NO_BUILD_ISOLATION="0",
            PIP_QUIET="1",
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_ROOT_USER_ACTION="ignore",
            CONTAINER_SOCKET=str(socket or ""),
        )
        self.platform = None
        self._engine = (engine, socket)
        self.shell = Shell(work, self.variables)

    def up(self, flags=()):
        self.platform = Platform(self.folder, engine=self._engine[0], socket=self._engine[1], flags=flags)
        return (self.folder / "cortex.out").read_text()

    def close(self):
        self.shell.close()
        if self.platform is not None:
            self.platform.stop()


class Run:
    """One document."""

    def __init__(self, path, folder):
        self.path, self.folder = path, folder
        self.work = folder / "work"
        example = path.parent.name if path.parent.parent == ROOT / "examples" else None
        if example and (path.parent / "requirements.txt").exists():
            subprocess.run([ROOT / "scripts/example-packages.sh", example], check=True, stdout=subprocess.DEVNULL)
        ignored = shutil.ignore_patterns("packages", "__pycache__", "*.egg-info", "build", "tests")
        for part in ("examples", "clients/python"):
            shutil.copytree(ROOT / part, self.work / part, ignore=ignored)
        if example and (path.parent / "packages").exists():
            shutil.copytree(path.parent / "packages", self.work / "examples" / example / "packages")
        for name, source in (("app.py", "app.py"), ("cortex.yaml", "cortex.sandbox.yaml")):
            shutil.copy(ROOT / "examples/hello" / source, self.work / name)
        self.programs = make_programs(folder / "programs", PROGRAM)
        self.place = Place(folder / "sandbox", self.work, self.programs)
        self.images = self.image_place = None
        self.names = {"__name__": "__document__"}
        self.last_id = None
        self.counts = {"run": 0, "compared": 0, "checked": 0}

    def all(self):
        found = list(blocks(self.path))
        checks = Checks(self.path, ROOT, PROGRAM)
        checks.text()
        if found and not any((each.language, each.purpose) == ("sh", "up") for each in found):
            if any(each.language in ("sh", "python") and each.purpose in ("", "image") for each in found):
                self._up()
        output = None
        for block in found:
            try:
                output = self._one(block, output, checks)
            except Untrue as error:
                raise Untrue(str(error), error.line or block.line) from None
            except Exception as error:
                raise Untrue(f"{type(error).__name__}: {error}", block.line) from error

    def _one(self, block, output, checks):
        if block.language in ("text", "json") and not block.purpose:
            if not block.follows_directly or output is None:
                raise Untrue("there is no command right before this output")
            self.counts["compared"] += 1
            compare(block.text, output, block.line)
            return None
        if block.language == "sh" and block.purpose not in ("clone", "online"):
            self.counts["run"] += 1
            return self._shell(block)
        if block.language == "python" and not block.purpose:
            self.counts["run"] += 1
            return self._python(block)
        self.counts["checked"] += 1
        checks.block(block, self.work)
        return None

    def _up(self, flags=()):
        output = self.place.up(flags)
        self.names["token"] = self.place.platform.token
        os.environ["CORTEX_CLI_CONFIG_DIR"] = self.place.variables["CORTEX_CLI_CONFIG_DIR"]
        return self._as_documented(output, self.place)

    def _shell(self, block):
        if block.purpose == "up":
            command = re.fullmatch(r"cortex up(?: --batch-files ([\w-]+))?", block.text.split("#")[0].strip())
            if not command:
                raise Untrue("a block `sh up` must be `cortex up`, or `cortex up --batch-files DIR`")
            if not command[1]:
                return self._up()
            (self.work / command[1]).mkdir(exist_ok=True)
            return self._up(["--batch-files", str(self.work / command[1])])
        if block.purpose not in ("", "image"):
            raise Untrue(f"a block `sh {block.purpose}` is not supported")
        place = self._image_place() if block.purpose else self.place
        output = self._as_documented(place.shell.run(self._as_real(block.text, place), block), place)
        ids = UUID.findall(output)
        self.last_id = ids[-1] if ids else self.last_id
        return output

    def _image_place(self):
        if self.image_place is None:
            self.images = Images()
            self.image_place = Place(self.folder / "docker", self.work, self.programs, "docker", self.images.socket)
            self.image_place.shell.run(self.images.variables_as_shell, None)
            self.image_place.up()
        return self.image_place

    def _python(self, block):
        site = self.folder / "sandbox/site"
        for path in (ROOT / "clients/python/src", site):
            if path.exists() and str(path) not in sys.path:
                sys.path.insert(0, str(path))
        output = io.StringIO()
        code = compile("\n" * (block.line - 1) + self._as_real(block.text, self.place), self.path.name, "exec")
        before = os.getcwd()
        os.chdir(self.work)
        try:
            with contextlib.redirect_stdout(output):
                exec(code, self.names)
        except Exception as error:
            trace, line = error.__traceback__, block.line
            while trace is not None:
                if trace.tb_frame.f_code.co_filename == self.path.name:
                    line = trace.tb_lineno
                trace = trace.tb_next
            raise Untrue(f"{type(error).__name__}: {error}\nit wrote:\n{indented(output.getvalue())}", line) from error
        finally:
            os.chdir(before)
        return self._as_documented(output.getvalue().rstrip("\n"), self.place)

    def _as_real(self, text, place):
        if place.platform is not None:
            for shown, real in (
                (GATEWAY, place.platform.gateway),
                (OPERATOR, place.platform.operator),
                (ELSEWHERE, place.platform.operator),
            ):
                text = text.replace(shown, real)
            text = re.sub(r"\bTOKEN\b", place.platform.token, text)
        return re.sub(r"\bID\b", self.last_id, text) if self.last_id else text

    def _as_documented(self, text, place):
        if place.platform is None:
            return text
        text = text.replace(place.platform.gateway, GATEWAY).replace(place.platform.operator, OPERATOR)
        return text.replace(str(place.folder / "data"), "/home/ada/.cortex/local")

    def close(self):
        for place in (self.place, self.image_place):
            if place is not None:
                place.close()
        if self.images is not None:
            self.images.close()


def test(path):
    """Tests one document in this process; returns whether it is true."""
    start = time.monotonic()
    name = path.resolve().relative_to(ROOT)
    os.environ.update(NO_COLOR="1", CORTEX_TELEMETRY_DISABLE="true")
    os.environ.pop("CORTEX_ENV", None)
    with tempfile.TemporaryDirectory(prefix="cortex-doc-") as folder:
        run = Run(path.resolve(), Path(folder))
        try:
            run.all()
        except Untrue as error:
            print(f"{name}:{error.line}: {error}", flush=True)
            return False
        finally:
            run.close()
    counts = ", ".join(f"{count} {what}" for what, count in run.counts.items())
    print(f"{name}: blocks: {counts}; {time.monotonic() - start:.0f} s", flush=True)
    return True


def main(names):
    paths = [Path(name) for name in names] or [
        ROOT / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "examples").glob("*/README.md")),
        ROOT / "clients/python/README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
    ]
    if len(paths) == 1:
        return 0 if test(paths[0]) else 1

    def apart(path):
        done = subprocess.run(
            [sys.executable, __file__, path], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        print((done.stdout + done.stderr).rstrip("\n"), flush=True)
        return done.returncode == 0

    # Most of the time is spent waiting for probes and processes.
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        results = list(pool.map(apart, paths))
    failed = [str(path.resolve().relative_to(ROOT)) for path, good in zip(paths, results) if not good]
    print(f"{len(paths) - len(failed)} passed, {len(failed)} failed" + (f": {' '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
