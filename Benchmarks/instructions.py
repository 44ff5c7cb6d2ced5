"""Counts the instructions that the platform executes for a request, with Callgrind:

  instructions.py async|realtime|splitter PROGRAM [PROGRAM ...] [--top N] [--seconds S] [--dump FILE]

Unlike times, the figures repeat within a few percent on a busy machine; they do not include the kernel, nor what the
platform does without requests (the tables of functions do). --dump keeps the data of the last round, for
`callgrind_annotate --tree=caller`. PROGRAM must have its symbols, as .build/release-static/release/cortex has, and
cortex-pod-init beside it. Needs valgrind."""

import argparse
import contextlib
import glob
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

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
    """Instructions for each request in each round, the file of the last one, and its number of requests."""
    # Valgrind does not understand all of the debug information; it needs only the symbols.
    copy = f"{folder}/cortex"
    subprocess.run(["objcopy", "--strip-debug", program, copy], check=True)
    shutil.copy(os.path.join(os.path.dirname(program), "cortex-pod-init"), folder)
    out = f"{folder}/callgrind.out"
    prefix = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=yes", f"--callgrind-out-file={out}"]
    found = []
    with Platform(copy, prefix) as platform:
        load, process = deploy(platform, path), str(platform.pid)
        load(seconds)
        control("-i", "on", process)
        # From now on each function is translated at its first call, which is slow.
        for _ in range(10):
            with contextlib.suppress(subprocess.CalledProcessError, SystemExit):
                load(seconds)
                break

        def counted(action):
            """The result of an action, the instructions meanwhile, the seconds, and the file."""
            control("-z", process)
            began = time.monotonic()
            result = action()
            took = time.monotonic() - began
            control("-d", process)
            dump = max(glob.glob(f"{out}*"), key=os.path.getmtime)
            return result, sum(int(line.split()[1]) for line in open(dump) if line.startswith("totals:")), took, dump

        # What the platform does each second without a request weighs more than usual, because the program is slow.
        _, idle, took, _ = counted(lambda: time.sleep(seconds))
        for _ in range(ROUNDS):
            count, total, lasted, dump = counted(lambda: load(seconds))
            found.append((total - idle / took * lasted) / count)
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
    parser.add_argument("--dump")
    arguments = parser.parse_args()
    for program in arguments.programs:
        with tempfile.TemporaryDirectory() as folder:
            found, dump, count = measure(os.path.abspath(program), arguments.path, arguments.seconds, folder)
            if arguments.dump:
                shutil.copy(dump, arguments.dump)
            rounds = ", ".join(f"{value:,.0f}" for value in found)
            print(f"{program}: {statistics.median(found):,.0f} instructions for each request ({rounds})")
            for title, flags in (("in the function itself", ()), ("with what it calls", ("--inclusive=yes",))):
                print(f"\n{title}:")
                for value, name in functions(dump, count, arguments.top, *flags):
                    print(f"{value:12,.0f}  {name[:200]}")


if __name__ == "__main__":
    main()
