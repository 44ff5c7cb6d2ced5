"""The blocks of a document, and whether an output is the one that a document shows."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^( *)```(.*)$")


class Untrue(Exception):
    """A document says something that does not hold: at its line, or at the block's when that is None."""

    def __init__(self, message, line=None):
        super().__init__(message)
        self.line = line


@dataclass
class Block:
    #: Of its first line of text.
    line: int
    language: str
    #: What stands behind the language.
    purpose: str
    text: str
    #: Whether nothing stands between it and the block before.
    follows_directly: bool


def blocks(path: Path):
    """Every fenced block of a file, in its order."""
    lines = path.read_text().splitlines()
    index, last_end = 0, None
    while index < len(lines):
        opening = FENCE.match(lines[index])
        index += 1
        if not opening:
            continue
        start = index
        while index < len(lines) and lines[index].strip() != "```":
            index += 1
        if index == len(lines):
            raise Untrue("this block does not end", start)
        words = [*opening[2].split(maxsplit=1), "", ""]
        text = "\n".join(line[len(opening[1]) :] for line in lines[start:index])
        follows = last_end is not None and not "".join(lines[last_end + 1 : start - 1]).strip()
        yield Block(start + 1, words[0], words[1], text, follows)
        last_end = index
        index += 1


def compare(shown: str, found: str, line: int) -> None:
    """Every line that a document shows, in its order. `…` is anything within a line, a line of nothing else any number of lines; columns are as wide as what stands in them.

    `line` is the line of the document with the first line shown.
    """
    # What stands around it in a document has no empty lines.
    lines, found = shown.rstrip().split("\n"), found.strip("\n") + "\n"
    patterns = [_pattern(each) for each in lines]
    if re.fullmatch("".join(patterns), found):
        return
    # How far it goes well: that line is the one to look at.
    good = max(count for count in range(len(lines) + 1) if re.match("".join(patterns[:count]), found))
    wrong = min(good, len(lines) - 1)
    expected = lines[wrong] if good < len(lines) else "nothing more"
    raise Untrue(f"expected: {expected}\nthe output was:\n{indented(found)}", line + wrong)


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    parts = [re.escape(part) for part in line.rstrip().split("…")]
    return re.sub(r"(?:\\ ){2,}", r" {2,}", r".*".join(parts)) + r" *\n"


def indented(text: str) -> str:
    return "\n".join("    " + each for each in text.rstrip("\n").split("\n"))
