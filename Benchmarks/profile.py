"""Where the processor time of a running platform goes: profile.py PID SECONDS [--stacks]

Samples with `perf` (needs root or perf_event_paranoid <= 1) and prints three tables: by thread, by stage of the request
path, and by kind of work. With --stacks also the functions that are on top most often."""

import collections
import re
import subprocess
import sys
import tempfile

# The first pattern that matches any frame of a stack decides.
STAGES = [
    ("store: writer", r"Committer|WriteTransaction|HotPathStatements"),
    ("store: reader", r"RequestReader"),
    ("dequeuer", r"8Dequeuer"),
    ("gateway", r"7Gateway|11HTTPServing"),
    ("store: body files", r"BodyFile|BodySegments|Segment(Writer|Reader|Remover|File|Table)"),
    ("event loops between them", r"NIO"),
    ("hints, tasks and timers", r"swift_task|swift_job|dispatch"),
]
# The innermost matching frame decides.
KINDS = [
    ("kernel: network", r"^(tcp|inet|sock|__sys_(send|recv)|ip_|__ip|dev_|net_|skb|__skb|loopback|sk_|lock_sock|release_sock|nf_|__tcp|do_(send|recv|writev)|unix_)"),
    ("kernel: files and sync", r"^(ext4|jbd2|vfs_(write|read|fsync)|ksys_p?(write|read)|__x64_sys_p(write|read)|do_fsync|filemap|generic_perform|blk_|submit_bio|virtio|iomap|folio|writeback|file_write|do_writepages)"),
    ("kernel: waiting and waking", r"^(futex|do_futex|__x64_sys_futex|schedule|__schedule|ep_|do_epoll|eventfd|try_to_wake|finish_task_switch|pick_next|dequeue_|enqueue_|hrtimer|nanosleep)"),
    ("SQLite", r"^sqlite3|^(btree|vdbe|pager|wal|moveTo|balance|pcache|memdb|unix|insertCell|dropCell|fillInCell|rebuildPage|accessPayload|pageFind|freePage|clearCell)"),
    ("GRDB", r"\$s4GRDB"),
    ("HTTP parser and encoder", r"llhttp|NIOHTTP1"),
    ("NIO", r"NIOCore|NIOPosix|NIOConcurrency|CNIO"),
    ("Swift concurrency", r"swift_task|swift_continuation|swift_job|swift_async|ScC|_Concurrency"),
    ("Swift reference counts", r"swift_(retain|release|bridge|unknown|initStack|once|begin|end)|RefCount"),
    ("allocator", r"malloc|free|calloc|realloc|swift_(alloc|dealloc|slow)|_int_"),
    ("our code", r"StoreSQLite|Dequeuer|Gateway|HTTPServing|4Core"),
]


def stacks(pid, seconds):
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(
            ["perf", "record", "-q", "-F", "999", "-g", "-p", str(pid), "-o", file.name, "--", "sleep", str(seconds)],
            check=True, stdout=subprocess.DEVNULL)
        text = subprocess.run(
            ["perf", "script", "-i", file.name, "-F", "comm,tid,ip,sym"], capture_output=True, text=True, check=True).stdout
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.strip()]
        frames = [line.split(None, 1)[1] if " " in line.strip() else "?" for line in lines[1:]]
        if frames:
            yield re.sub(r"\s+\d+\s*$", "", lines[0]).strip(), frames


def main():
    pid, seconds = sys.argv[1], sys.argv[2]
    threads, stages, kinds, tops, total = *(collections.Counter() for _ in range(4)), 0
    for thread, frames in stacks(pid, seconds):
        total += 1
        threads[thread] += 1
        stages[next((name for name, pattern in STAGES if any(re.search(pattern, frame) for frame in frames)), "other")] += 1
        kinds[next((name for frame in frames for name, pattern in KINDS if re.search(pattern, frame)), "other")] += 1
        tops[frames[0]] += 1
    for title, counter, limit in (("thread", threads, 8), ("stage", stages, 20), ("kind of work", kinds, 20), ("function", tops, 60 if "--stacks" in sys.argv else 0)):
        if limit:
            print(f"\n| {title} | share |\n|---|---|")
        for name, count in counter.most_common(limit):
            print(f"| {name} | {100 * count / total:.1f} % |")


if __name__ == "__main__":
    main()
