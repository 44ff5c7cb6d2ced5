"""Draws a flame graph of a running platform: flame.py PID SECONDS FILE.svg [TITLE]

The width of a box is the share of processor time spent in the function and its callees; callers are below. The
scheduler resumes the functions of a request after each wait, so a request appears as several stacks. It has the
requirements of `profile.py`."""

import html
import re
import subprocess
import sys

from profile import stacks

WIDTH, ROW, LEFT, TOP = 1200, 17, 10, 60
# Boxes below this share of the width have no label.
SMALLEST = 0.004
THREADS = [("event loops", r"^NIO"), ("store", r"overcommit"), ("pool for tasks", r"default-qos|qos")]
# Frames that only forward a call.
PASSED = re.compile(
    r"^(closure #|partial apply|thunk for|protocol witness|implicit closure|specialized closure|static ThreadOps|start_thread|_?dispatch_|swift_job_run"
    r"|swift::runJob|DispatchQueue|entry_SYSCALL|do_syscall|x64_sys_call|__x64|SelectableEventLoop\.(run\(|handleEvent)|_?NIO.*thread|MultiThreadedEventLoopGroup"
    r"|ChannelHandlerContext|SerializedDatabase|\[unknown|\?$|0x)")
KERNEL = re.compile(r"^[a-z_0-9.]+$")
COLORS = [
    (r"^(sqlite|Road|Direct|Write|Database|Committer|RequestReader|BodyFile|Segment)", "#f58518"),
    (r"^(Replica|Container|Dispatch|Verdict|ResultReader|Worker)", "#54a24b"),
    (r"^(Gateway|Connection|Responder|Endpoint|Payload|RequestText|RequestDocument|Incoming|Header|WaitingCaller|AnswerForm)", "#4c78a8"),
    (r"^(HTTP|ByteToMessage|BetterHTTP|c_nio)", "#9ecae9"),
    (r"^(swift|Swift|_swift|Checked|_int|malloc|free|__libc|cfree)", "#d67195"),
    (r"^[a-z_0-9.]+$", "#bab0ac"),
]


def short(name):
    return re.sub(r"\(.*", "", name.replace("specialized ", ""))


def demangled(names):
    names = sorted(names)
    text = subprocess.run(
        ["swift", "demangle", "--simplified", "--compact"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, text.splitlines()))


def tree(pid, seconds):
    samples = list(stacks(pid, seconds))
    names = demangled({frame for _, frames in samples for frame in frames})
    root = [0, {}]
    for thread, frames in samples:
        kind = next((kind for kind, pattern in THREADS if re.search(pattern, thread)), "other")
        path = [kind] + [short(names[frame]) for frame in reversed(frames) if not PASSED.search(names[frame])]
        node = root
        node[0] += 1
        for step in whole(path):
            # A function that waits and continues appears several times; one is enough.
            if step == "" or (node is not root and step == last):
                continue
            node, last = node[1].setdefault(step, [0, {}]), step
            node[0] += 1
    return root


def whole(path):
    """The path without the frames deeper in the kernel than its first functions."""
    depth = 0
    for step in path:
        depth = depth + 1 if KERNEL.search(step) else 0
        if depth <= 3:
            yield step


def depth(node, total):
    return 1 + max((depth(child, total) for child in node[1].values() if child[0] / total >= SMALLEST), default=0)


def draw(root, title):
    total, boxes = root[0], []
    rows = depth(root, total) - 1
    height = TOP + rows * ROW + 10

    def place(node, x, row):
        for name, child in sorted(node[1].items(), key=lambda item: -item[1][0]):
            width = child[0] / total * (WIDTH - 2 * LEFT)
            if child[0] / total >= SMALLEST:
                color = "#eeeeee" if row == 0 else next((color for pattern, color in COLORS if re.search(pattern, name)), "#eeca3b")
                y = height - 10 - (row + 1) * ROW
                label = name if len(name) * 6.6 < width - 6 else name[: max(0, int((width - 12) / 6.6))] + "…" if width > 30 else ""
                boxes.append(
                    f'<g><title>{html.escape(name)}: {100 * child[0] / total:.1f} %</title>'
                    f'<rect x="{x:.1f}" y="{y}" width="{max(0.3, width - 0.6):.1f}" height="{ROW - 1}" fill="{color}" rx="1"/>'
                    f'<text x="{x + 3:.1f}" y="{y + 12}">{html.escape(label)}</text></g>')
                place(child, x, row + 1)
            x += width

    place(root, LEFT, 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/><text x="{LEFT}" y="24" font-size="16">{html.escape(title)}</text>'
        f'<text x="{LEFT}" y="44" fill="#555">{total:,} samples; orange: store, green: dequeuer, blue: gateway and HTTP, pink: memory and Swift itself, grey: kernel and C</text>'
        + "".join(boxes) + "</svg>\n")


def main():
    pid, seconds, file = sys.argv[1:4]
    title = sys.argv[4] if len(sys.argv) > 4 else "Where the processor time of the platform goes"
    with open(file, "w") as out:
        out.write(draw(tree(pid, seconds), title))


main()
