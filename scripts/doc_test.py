"""Runs the commands of the documentation against a running platform: doc_test.py FILE...

Every block ```sh of a file is run, in the order of the file, in one shell in a copy of examples/hello, with `set -e`.
A block ```sh skip says by its word that it is not run: it needs another machine, a cloud, or a person.
A block ```output after one that was run is what the command prints; … stands for anything within a line, a line … for any lines.
The addresses http://127.0.0.1:8889 and :8888 are replaced by those of the platform under test.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

MARK = "@@@doc-test@@@"
FENCE = re.compile(r"^( *)```(\S*)(?: +(\S+))?\s*$")


def blocks(path):
    """(line, language, word, text) of each fenced block."""
    found, open_block = [], None
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = FENCE.match(line)
            if open_block is None and match:
                open_block = (number, match[2], match[3], len(match[1]), [])
            elif open_block is not None and line.strip() == "```":
                start, language, word, _, lines = open_block
                found.append((start, language, word, "".join(lines)))
                open_block = None
            elif open_block is not None:
                open_block[4].append(line[open_block[3]:] if line.strip() else "\n")
    if open_block is not None:
        sys.exit(f"{path}:{open_block[0]}: the block does not end")
    return found


def pattern(text):
    """A regular expression of what is expected."""
    parts = []
    for line in text.strip("\n").split("\n"):
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ ]*\n")
    return re.compile("".join(parts))


def run(path):
    """Runs a file's blocks; gives the number of those that were run."""
    gateway, operator = os.environ["gateway"], os.environ["operator"]

    def localised(text):
        return text.replace("http://127.0.0.1:8889", gateway).replace("http://127.0.0.1:8888", operator)

    steps, expected = [], {}
    last = None
    for line, language, word, text in blocks(path):
        if language == "sh" and word is None:
            last = len(steps)
            steps.append((line, localised(text)))
        elif language == "sh":
            last = None
            if word != "skip":
                sys.exit(f"{path}:{line}: a block sh is run, or says skip; not {word}")
        elif language == "output" and last is not None:
            expected[last] = (line, localised(text))
    script = "set -euo pipefail\n" + "".join(
        f"echo '{MARK}'{index}\n{text}\n" for index, (_, text) in enumerate(steps))
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir("examples/hello"):
            shutil.copy(os.path.join("examples/hello", name), folder)
        shutil.copy("examples/hello/cortex.sandbox.yaml", os.path.join(folder, "cortex.yaml"))
        result = subprocess.run(
            ["bash", "-c", script], cwd=folder, text=True, capture_output=True, timeout=300,
            env={**os.environ, "NO_COLOR": "1"}, stdin=subprocess.DEVNULL)
    outputs = result.stdout.split(MARK)[1:]
    if result.returncode != 0:
        line = steps[len(outputs) - 1][0] if outputs else 0
        sys.exit(
            f"{path}:{line}: exit status {result.returncode}\n{outputs[-1] if outputs else ''}\n{result.stderr[-2000:]}")
    for index, (line, text) in expected.items():
        output = outputs[index].split("\n", 1)[1]
        if not pattern(text).fullmatch(output if output.endswith("\n") or not output else output + "\n"):
            sys.exit(f"{path}:{line}: expected\n{text}\nbut it is\n{output}")
    return len(steps), len(expected)


for document in sys.argv[1:]:
    ran, compared = run(document)
    print(f"{document}: {ran} blocks run, {compared} outputs compared", flush=True)
