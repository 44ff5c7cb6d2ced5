#!/usr/bin/env python3
"""Fails when too few of the types and functions that other modules use have a documentation comment.

Operators and functions that a protocol declares do not count, because their documentation is elsewhere.
`scripts/lint_docs.py --missing` lists the undocumented ones."""
import re
import subprocess
import sys

WANTED = 0.9
# Modules of tests.
OUTSIDE = ("TestSupport", "PodmanSupport")
DECLARATION = re.compile(
    r"\s*(?:@\w+(?:\([^)]*\))?\s+)*package\s+(?:(?:static|final|mutating|consuming|indirect|convenience|"
    r"nonisolated(?:\(nonsending\))?)\s+)*(struct|enum|class|actor|protocol|typealias|func|subscript)\b\s*(\w*)")
# Functions of protocols of the standard library and of packages.
FOREIGN = {
    "encode", "hash", "log", "makeAsyncIterator", "next", "enqueue", "checkIsolated", "run", "handlerAdded",
    "handlerRemoved", "channelRead", "channelReadComplete", "errorCaught", "userInboundEventTriggered", "channelInactive",
}


def sources():
    listed = subprocess.run(["git", "ls-files", "Sources/*.swift"], check=True, capture_output=True, text=True).stdout
    for path in listed.split():
        if path.split("/")[1] not in OUTSIDE:
            with open(path, encoding="utf-8") as file:
                yield path, file.read().split("\n")


def requirements(files):
    """Names of the functions that protocols of this project declare."""
    names = set()
    for _, lines in files:
        inside = False
        for line in lines:
            if re.match(r"\s*(package |public )?protocol ", line):
                inside = True
            elif line.startswith("}"):
                inside = False
            elif inside and (found := re.match(r"\s+(?:\w+\s+)*func (\w+)", line)):
                names.add(found[1])
    return names


def main():
    files = list(sources())
    elsewhere = requirements(files) | FOREIGN
    total, missing = 0, []
    for path, lines in files:
        for index, line in enumerate(lines):
            found = DECLARATION.match(line)
            if not found:
                continue
            kind, name = found.groups()
            # The name of an operator has no letters.
            if kind == "func" and (not name or name in elsewhere):
                continue
            total += 1
            above = index - 1
            while lines[above].strip().startswith("@"):
                above -= 1
            if not lines[above].strip().startswith("///"):
                missing.append(f"{path}:{index + 1}: {line.strip()}")
    share = 1 - len(missing) / total
    if "--missing" in sys.argv or share < WANTED:
        print("\n".join(missing))
    print(f"{total - len(missing)} of {total} types and functions that other modules use are documented ({share:.0%}; at least {WANTED:.0%} are required)")
    return 0 if share >= WANTED else 1


sys.exit(main())
