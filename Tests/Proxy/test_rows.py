"""Each row of the table: raw bytes, what the container receives, what the caller gets (R1-R9, R14-R16, R27)."""

from __future__ import annotations

import pytest

import compare
import judge
import tables


def name(row) -> str:
    return f"{row.clause}: {row.name}"


def test_the_table_is_large_and_its_names_are_unique():
    names = [name(row) for row in tables.ROWS]
    assert len(names) >= 250
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("row", tables.ROWS, ids=name)
def test_row(row, stand, others):
    run = judge.run(row, stand.address, stand.origin)
    found = judge.faults(row, run)
    if compare.is_comparable(row):
        found += laxer(row, run, others)
    assert not found, "\n".join([f"sent {row.bytes[:500]!r}", *found])


def laxer(row, run, others) -> list[str]:
    """R27: nothing passes here that neither nginx nor haproxy lets pass."""
    if len(others) < 2:
        return []
    ours = compare.accepted(row, run)
    if ours == 0:
        return []
    theirs = {front.name: compare.accepted(row, compare.run_other(row, front, origin)) for front, origin in others}
    if ours > max(theirs.values()) and row.name not in tables.ONLY_HERE:
        return [f"laxer than others: {ours} accepted here, {theirs}"]
    return []
