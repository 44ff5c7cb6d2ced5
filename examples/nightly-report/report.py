"""Writes a report of the orders: the program of a task. Standard library only.

Its artifacts are totals.csv and report.md. result.json is the result of the job, progress.json its progress.
"""

import csv
import json
import os
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = Path(os.environ["CORTEX_ARTIFACTS_DIR"])


def progress(done, total):
    """The file is replaced by a rename, so that it is read complete or not at all."""
    new = FOLDER / "progress.json.new"
    new.write_text(json.dumps({"done": done, "total": total, "message": "orders read"}))
    new.rename(FOLDER / "progress.json")


def main():
    config = json.loads(Path("/cortex/spec/job.json").read_text())["config"] or {}
    currency = config.get("currency", "EUR")
    # Only the jobs of the schedule have it. A job that runs later than planned is still about the planned day.
    planned = os.environ.get("CORTEX_SCHEDULED_TIME", "now")
    with open(HERE / config.get("orders", "orders.csv"), newline="") as file:
        orders = list(csv.DictReader(file))
    totals = Counter()
    for number, order in enumerate(orders, 1):
        totals[order["product"]] += int(order["pieces"]) * int(order["cents"])
        progress(number, len(orders))
    with open(FOLDER / "totals.csv", "w", newline="") as file:
        csv.writer(file).writerows([["product", "total"], *sorted(totals.items())])
    lines = [f"# Orders, {planned}", ""]
    lines += [f"- {product}: {cents / 100:.2f} {currency}" for product, cents in totals.most_common()]
    (FOLDER / "report.md").write_text("\n".join(lines) + "\n")
    result = {"planned": planned, "orders": len(orders), "total": f"{sum(totals.values()) / 100:.2f} {currency}"}
    (FOLDER / "result.json").write_text(json.dumps(result))
    print(f"{len(orders)} orders, {result['total']}")


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing")  # Exit code 1: the attempt failed.
