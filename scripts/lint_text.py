#!/usr/bin/env python3
"""Checks text: comment lines of at most 120 columns, and standard terms in comments, docstrings and documents."""
import re
import subprocess
import sys

LIMIT = 120
# The beginning of a comment line, by the ending of the file. Documents are checked for words only.
MARKS = {"swift": "//", "c": "//", "h": "//", "py": "#", "sh": "#", "md": None}
# The clauses have their own wording. The Swift files are rewritten as a whole; remove each when that is done.
EXCLUDED = ("docs/contract", "docs/configuration.md")
# Each word with the standard term to use instead.
WORDS = {
    r"patience|patiently": "timeout, retry delay or interval",
    r"hasten\w*": "reschedule",
    r"(the|hot) road": "hot path",
    r"rooms? of the house|the house": "module, architecture",
    r"is left away|left away|leave it away": "is omitted",
    r"is blind": "lacks data",
    r"whoever|whomever": "the caller, the reader (name the role)",
    r"somebody|everybody": "a caller, every user (name the role)",
    r"(is|are|was|were) told": "gets, returns, reports",
    r"(is|are|to) be had": "is available, cannot be reached",
    r"go(es)? wrong|went wrong": "fails, failed",
    r"gives? back|given back|gave back": "releases, returns",
    r"breaks? off|broken off": "cancels, ends",
    r"lets? go of": "releases",
    r"in vain": "without effect, failed",
    r"stands? still|comes? to rest": "hangs, becomes idle",
    r"mend(s|ed)?": "fix, repair",
    r"anew": "again",
}
PATTERNS = [(re.compile(rf"\b({word})\b", re.IGNORECASE), better) for word, better in WORDS.items()]


def problems(path):
    ending = path.rsplit(".", 1)[-1]
    mark, is_document = MARKS[ending], ending == "md"
    is_text = False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            # Inside a string of several lines nothing is a comment; in Python it is often a docstring.
            if not is_document and line.count('"""') % 2:
                is_text = not is_text
            is_comment = not is_document and line.lstrip().startswith(mark) and not is_text
            if is_comment and len(line) > LIMIT:
                yield f"{path}:{number}: a comment line of {len(line)} columns; {LIMIT} are allowed"
            if is_comment or is_document or (ending == "py" and (is_text or line.lstrip().startswith('"""'))):
                for pattern, better in PATTERNS:
                    if found := pattern.search(line):
                        yield f"{path}:{number}: write {better} instead of \"{found[0]}\""


def main():
    patterns = [f"*.{ending}" for ending in MARKS]
    listed = subprocess.run(["git", "ls-files", *patterns], check=True, capture_output=True, text=True).stdout
    files = [path for path in listed.splitlines() if not path.startswith(EXCLUDED)]
    found = [problem for path in files for problem in problems(path)]
    print("\n".join(found) if found else f"{len(files)} files: the text is fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
