"""Counts the instructions that the platform executes for a request, with Callgrind:

  instructions.py async|realtime|splitter PROGRAM [PROGRAM ...] [--top N] [--seconds S]

Unlike times, the figures repeat within a percent on a busy machine; they do not include the kernel. The programs take
turns. PROGRAM must have its symbols, as .build/release-static/release/cortex has. Needs valgrind."""

import argparse
import glob
import os
import re
import statistics
import subprocess
import tempfile

import realtime
from bench_platform import CONTAINER, ROOT, Platform

ROUNDS = 3


def control(*arguments):
    subprocess.run(["callgrind_control", *arguments], check=True, capture_output=True)


def deploy(platform, path):
    """Deploys what a path needs; returns the load for some seconds, which returns the number of requests."""
    if path == "async":
        platform.deploy_text(CONTAINER.format(
            name="constant", command='["/bench/constant"]', programs=f"{ROOT}/.build/bench", gate=platform.gate))

        def load(seconds):
            count = int(600 * seconds)
            platform.load("complete", "/constant", 100, 16, count, platform.pid)
            return count
    else:
        realtime.write_files(f"{platform.work}/files")
        constant = '["/bench/constant"]'
        text = realtime.declaration(platform, "nginx", constant)
        if path == "splitter":
            text += realtime.declaration(platform, "other", constant) + realtime.SPLITTER.format(name="split", shadow="")
        platform.deploy_text(text)

        def load(seconds):
            return platform.load("requests", "/split/" if path == "splitter" else "/nginx/", 16, seconds)["count"]
    return load


def measure(program, path, seconds, folder):
    """Instructions for each request in each round, and the file of the last one."""
    out = f"{folder}/callgrind.out"
    prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", f"--callgrind-out-file={out}"]
    found = []
    with Platform(program, prefix) as platform:
        load, process = deploy(platform, path), str(platform.pid)
        load(seconds / 2)
        for _ in range(ROUNDS):
            control("-z", process)
            control("-i", "on", process)
            count = load(seconds)
            control("-i", "off", process)
            control("-d", process)
            dump = max(glob.glob(f"{out}*"), key=os.path.getmtime)
            total = next(int(line.split()[1]) for line in open(dump) if line.startswith("totals:"))
            found.append(total / count)
    return found, dump, count


def functions(dump, count, top, *flags):
    """The functions with the most instructions, as instructions for each request."""
    text = subprocess.run(
        ["callgrind_annotate", "--threshold=100", *flags, dump], capture_output=True, text=True, check=True).stdout
    text = subprocess.run(
        ["swift", "demangle", "--simplified"], input=text, capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^ *([\d,]+) \([^)]*\) +(.*)$", text, re.MULTILINE)
    # The first row is the total.
    for number, name in rows[1:top + 1]:
        yield int(number.replace(",", "")) / count, re.sub(r"\[[^]]*\]$|^[^ ]*\?\?\?:", "", name).strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", choices=["async", "realtime", "splitter"])
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--top", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    for program in arguments.programs:
        with tempfile.TemporaryDirectory() as folder:
            found, dump, count = measure(os.path.abspath(program), arguments.path, arguments.seconds, folder)
            rounds = ", ".join(f"{value:,.0f}" for value in found)
            print(f"{program}: {statistics.median(found):,.0f} instructions for each request ({rounds})")
            for title, flags in (("in the function itself", ()), ("with what it calls", ("--inclusive=yes",))):
                print(f"\n{title}:")
                for value, name in functions(dump, count, arguments.top, *flags):
                    print(f"{value:12,.0f}  {name[:200]}")


if __name__ == "__main__":
    main()
