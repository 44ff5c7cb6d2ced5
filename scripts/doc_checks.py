"""Checks of a document without running it."""

import json
import os
import re
import shlex
import subprocess

import yaml

from doc_blocks import FENCE, Untrue

CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)]*))?\)")


class Checks:
    def __init__(self, path, root, program):
        self.path, self.root, self.program = path, root, program
        self._verbs = None

    def text(self):
        """Checks links and commands outside of blocks."""
        fenced = False
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            if FENCE.match(line):
                fenced = not fenced
            if fenced:
                continue
            for target, anchor in LINK.findall(line):
                self._link(target, anchor, number)
            for code in CODE.findall(line):
                if re.fullmatch(r"\w+(/[\w+]+)+\.swift", code) and not self._has_source(code):
                    raise Untrue(f"there is no file {code}", number)
                if code.startswith("cortex ") and not code.startswith("cortex 0."):
                    self._command(code.replace("\\|", "|"), number)

    def _has_source(self, path):
        """Whether a file is there, by its path from the root or from the folder of the modules or tests."""
        return any((self.root / folder / path).exists() for folder in ("", "Sources", "Tests"))

    def _link(self, target, anchor, line):
        if "://" in target or target.startswith("mailto:"):
            return
        file = self.path.parent / target
        if not file.exists():
            raise Untrue(f"this link has no target: {target}", line)
        if anchor and file.suffix == ".md" and anchor not in _anchors(file):
            raise Untrue(f"{target} has no heading #{anchor}", line)

    def _command(self, code, line):
        """Checks that a command and its flags exist."""
        code = re.split(r" [|>&;] ?|[|]| \\", code)[0]
        try:
            words = shlex.split(code.replace("[", " ").replace("]", " ").replace("…", "").replace("'", '"'))
        except ValueError:
            words = code.split()
        node, names = self.verbs(), set()
        for word in words[1:]:
            if word.startswith("-") and word != "-":
                flag = word.split("=")[0]
                names = names or _flags(node)
                if flag not in names and not re.fullmatch(r"-[0-9]+", flag):
                    raise Untrue(f"`{code}`: there is no flag {flag}", line)
                continue
            below = {each["commandName"]: each for each in node.get("subcommands", [])}
            if word not in below:
                # Unambiguous prefixes are allowed.
                word = next((each for each in below if each.startswith(word)), word)
            if word in below:
                node, names = below[word], set()
            elif below and re.fullmatch(r"[a-z]+", word) and not node.get("defaultSubcommand"):
                raise Untrue(f"`{code}`: there is no command {word}", line)

    def verbs(self):
        if self._verbs is None:
            done = subprocess.run(
                [self.program, "--experimental-dump-help"], capture_output=True, text=True, check=True
            )
            self._verbs = json.loads(done.stdout)["command"]
        return self._verbs

    # Blocks that are not run

    def block(self, block, work):
        name = block.purpose
        if block.language == "sh":
            return self._clone(block) if block.purpose == "clone" else self._online(block)
        if name and "/" in name and (self.root / name).exists():
            return self._same_as(block, self.root / name)
        if name:
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text + "\n")
            if block.language == "yaml":
                self._configuration(block, block.text, good=name != "mistakes.yaml")
        elif block.language == "yaml":
            self._fragment(block)
        elif block.language == "ini":
            for command in re.findall(r"^ExecStart=\S*/(cortex .*)$", block.text, re.M):
                self._command(command, block.line)
        elif block.language == "swift":
            self._compiled(block)
        elif block.language not in ("", "nginx", "mermaid"):
            raise Untrue(f"blocks of {block.language!r} are not supported")
        elif re.search(r"^\s*(\$ |cortex [a-z]+(?! ─)|curl |make )(?!.*─)", block.text, re.M):
            raise Untrue("commands belong in a block `sh`")

    def _same_as(self, block, file):
        def bare(text):
            lines = [line.rstrip() for line in text.splitlines() if not line.lstrip().startswith("#")]
            return [line for line in lines if line]

        if bare(block.text) != bare(file.read_text()):
            raise Untrue(f"{file.relative_to(self.root)} has another content")

    def _fragment(self, block):
        """Checks a whole list of APIs, a part of a container, or only a comment."""
        value = yaml.safe_load(block.text)
        if isinstance(value, dict):
            container = {"name": "main", "image": "x", **value}
            pod = {"port": 9000, "containers": [container]}
            return self._configuration(block, yaml.safe_dump([{"name": "part", "kind": "AsyncAPI", "pod": pod}]))
        if value is not None:
            self._configuration(block, block.text)

    def _configuration(self, block, text, good=True):
        done = subprocess.run(
            [self.program, "deploy", "--check", "-"],
            input=text,
            capture_output=True,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
        if done.returncode != (0 if good else 1):
            raise Untrue(f"cortex deploy --check says:\n{done.stdout}{done.stderr}")

    def _compiled(self, block):
        """Swift code of a document is a part of a test's source, so that it compiles."""
        lines = [line.strip() for line in block.text.splitlines()]
        for path in sorted((self.root / "Tests/ExampleAdapterTests").glob("*.swift")):
            source = [line.strip() for line in path.read_text().splitlines()]
            if any(source[start : start + len(lines)] == lines for start in range(len(source))):
                return
        raise Untrue("this Swift code is in no file of Tests/ExampleAdapterTests")

    def _online(self, block):
        for number, line in enumerate(block.text.splitlines(), block.line):
            if line.startswith("cortex "):
                self._command(line, number)

    def _clone(self, block):
        for number, line in enumerate(block.text.splitlines(), block.line):
            words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
            if not words or words[0] == "export":
                continue
            if words[0] == "make":
                # Without the variables of a make that started the tests.
                variables = {name: value for name, value in os.environ.items() if not re.match("MAKE|MFLAGS", name)}
                command = ["make", "-n", *words[1:]]
                done = subprocess.run(command, cwd=self.root, env=variables, capture_output=True, text=True)
                if done.returncode != 0:
                    raise Untrue(done.stderr.strip(), number)
            elif words[0] == "cd":
                if not (self.root / words[1]).is_dir():
                    raise Untrue(f"there is no folder {words[1]}", number)
            elif not os.access(self.root / words[0], os.X_OK):
                raise Untrue(f"there is no script {words[0]}", number)
            elif "--filter" in words and not (self.root / "Tests" / words[words.index("--filter") + 1]).is_dir():
                raise Untrue(f"there are no tests {words[words.index('--filter') + 1]}", number)


def _flags(node):
    names = {"-h", "--help", "--version"}
    for argument in node.get("arguments", []):
        for name in argument.get("names", []):
            names.add(("--" if name["kind"] == "long" else "-") + name["name"])
    return names


def _anchors(file):
    """The anchors that a hosting service derives from headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", file.read_text(), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return found
