"""Sends the rows to nginx and haproxy, and to the platform, and compares what each forwards.

    python compare.py           prints the rows where they differ, as a table
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace

import judge
from row import Row

# How long to wait for others that do not respond or do not close.
SECONDS = 0.7


def is_comparable(row: Row) -> bool:
    """Rows that wait long, or depend on what only the platform has, are left out."""
    return row.api == "raw" and not any(
        isinstance(step, float) and step > 0.5 for step in row.send)


def run_other(row: Row, front, origin) -> judge.Run:
    return judge.run(replace(row, seconds=SECONDS, fate="any"), front.address, origin, quiet=0.003, linger=0.05)


def accepted(row: Row, run: judge.Run) -> int:
    """How much a proxy accepts: requests forwarded, or complete responses of the container passed on."""
    if any(row.play) and row.seen is None:
        return sum(response.is_complete and response.status < 500 for response in run.outcome.responses)
    return run.forwarded


def main() -> None:
    import fronts
    import tables
    from conftest import PROGRAM
    from origin import Origin
    from stand import Stand

    origin = Origin()
    port = origin.listen()
    others = [fronts.Front(name, port, tempfile.mkdtemp()) for name in fronts.available()]
    stand = None if "--others" in sys.argv else Stand(PROGRAM, with_containers=False)
    names = [front.name for front in others] + ["cortex"] * bool(stand)
    print(f"{'row':<60} " + " ".join(f"{name:<32}" for name in names))
    differing = 0
    try:
        for row in filter(is_comparable, tables.ROWS):
            runs = [run_other(row, front, origin) for front in others]
            if stand:
                runs.append(judge.run(row, stand.address, stand.origin))
            if len({accepted(row, run) for run in runs}) > 1:
                differing += 1
                print(f"{row.name[:60]:<60} " + " ".join(f"{run.summary:<32}" for run in runs), flush=True)
    finally:
        for front in others:
            front.stop()
        if stand:
            stand.stop()
    print(f"{differing} of {sum(map(is_comparable, tables.ROWS))} rows differ")


if __name__ == "__main__":
    main()
