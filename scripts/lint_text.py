#!/usr/bin/env python3
"""Fails on comment lines that are too long, and on words that the glossary of the project's style replaces."""
import re
import subprocess
import sys

LIMIT = 120
# How a comment line begins, by the ending of the file.
MARKS = {"swift": "//", "c": "//", "h": "//", "py": "#", "sh": "#"}
# Each word with the standard term to use instead.
WORDS = {
    r"patience": "timeout, retry delay or interval",
    r"hasten\w*": "reschedule",
    r"(the|hot) road": "hot path",
    r"rooms? of the house|the house": "module, architecture",
    r"is left away|left away": "is omitted",
    r"is blind": "lacks data",
}


def problems(path):
    is_text = False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            # Inside a string of several lines nothing is a comment.
            if line.count('"""') % 2:
                is_text = not is_text
            comment = line.lstrip().startswith(MARKS[path.rsplit(".", 1)[-1]]) and not is_text
            if comment and len(line) > LIMIT:
                yield f"{path}:{number}: a comment line of {len(line)} columns; {LIMIT} are allowed"
            if comment:
                for word, better in WORDS.items():
                    if found := re.search(rf"\b({word})\b", line, re.IGNORECASE):
                        yield f"{path}:{number}: write {better} instead of \"{found[0]}\""


def main():
    patterns = [f"*.{ending}" for ending in MARKS]
    files = subprocess.run(["git", "ls-files", *patterns], check=True, capture_output=True, text=True).stdout.split("\n")
    found = [problem for path in files if path for problem in problems(path)]
    print("\n".join(found) if found else f"{len(files) - 1} files: comments are fine")
    return 1 if found else 0


sys.exit(main())
