"""The blocks of a document, and the comparison of an output with the one that a document shows."""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^( *)```(.*)$")


class Untrue(Exception):
    """A document contains a false statement, in `line`, or in the line of its block if that is None."""

    def __init__(self, message, line=None):
        super().__init__(message)
        self.line = line


@dataclass
class Block:
    #: The number of its first line of text.
    line: int
    language: str
    #: The text after the language.
    purpose: str
    text: str
    #: Whether there is no text between it and the previous block.
    follows_directly: bool


def blocks(path: Path):
    """Every fenced block of a file, in order."""
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
    """Compares an output with the lines that a document shows, in order.

    `…` matches any text within a line; a line with only `…` matches any number of lines. The width of columns may
    differ.
    `line` is the line of the document with the first line shown.
    """
    # A block in a document has no empty lines around its text.
    # The lines of an HTTP head end with CR LF.
    lines, found = shown.rstrip().split("\n"), found.replace("\r\n", "\n").strip("\n") + "\n"
    patterns = [_pattern(each) for each in lines]
    if re.fullmatch("".join(patterns), found):
        return
    # The first line that does not match is reported.
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
