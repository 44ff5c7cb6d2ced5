import Core
import Foundation
import TestSupport
import Testing

/// What no container may do, whichever way a process came into it (N3).
extension EngineCheck {
    static let isolation: [EngineCheck] = [
        EngineCheck(
            "N3: system calls that Docker's default profile refuses fail, at start and in exec",
            needs: .systemCallFilter
        ) {
            fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let script = forbiddenCalls + "\nresult = found"
                #expect(try await Agent.run(script, in: plan.id, of: fixture.engine) == [])
                let executed = try await fixture.engine.exec(
                    ["python3", "-c", forbiddenCalls + "\nprint(found)"], container: "api", pod: plan.id,
                    timeout: .seconds(30))
                #expect(executed == ExecResult(exitCode: 0, output: "[]\n"))
            }
        },
        EngineCheck("N3: no file in a volume can get the setuid or setgid bit", needs: .systemCallFilter) { fixture in
            let folder = fixture.folder.appendingPathComponent("volume-\(UInt32.random(in: .min ... .max))")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
            var container = fixture.agent()
            container.volumes = [.init(source: folder.path, target: "/data")]
            try await fixture.withPod([container]) { (plan) async throws in
                #expect(try await Agent.run(specialModes, in: plan.id, of: fixture.engine) == [])
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            #expect(Set(names) == ["program", "folder", "plain", "sticky", "fifo"])
            for name in names {
                let found = try FileManager.default.attributesOfItem(atPath: folder.path + "/" + name)
                let mode = try #require(found[.posixPermissions] as? NSNumber).intValue
                #expect(mode & 0o6000 == 0, "\(name): \(String(mode, radix: 8))")
            }
        },
        EngineCheck("N3: calls that programs need work under the filter", needs: .systemCallFilter) { fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let script = """
                    import multiprocessing, os, socket, subprocess, tempfile, threading, mmap
                    thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
                    result = [subprocess.run(["true"]).returncode]
                    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
                        socket.socket(family, socket.SOCK_DGRAM).close()
                    child = os.fork()
                    if child == 0: os._exit(7)
                    result.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                    with tempfile.NamedTemporaryFile() as file: file.write(b"x"); file.flush(); os.fsync(file.fileno())
                    mmap.mmap(-1, 4096).close()
                    os.memfd_create("x")
                    os.sched_getaffinity(0)
                    """
                #expect(try await Agent.run(script, in: plan.id, of: fixture.engine) == [0, 7])
            }
        },
        EngineCheck(
            "N3: a command in a container has three descriptors, no capability, a filter and the container's user"
        ) {
            fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let script = """
                    import json, os
                    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
                    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid")
                    open_files = [int(name) for name in os.listdir("/proc/self/fd")]
                    kinds = []
                    for number in sorted(open_files):
                        try: kinds.append(os.readlink(f"/proc/self/fd/{number}").split(":")[0])
                        except OSError: pass
                    result = [status[name].split()[0] for name in names] + [os.getcwd()]
                    """
                let inside = try await Agent.run(script, in: plan.id, of: fixture.engine)
                let executed = try await fixture.engine.exec(
                    [
                        "python3", "-c",
                        script + "\nprint(json.dumps([result, kinds, dict(os.environ).get('PWD', '')]))",
                    ],
                    container: "api", pod: plan.id, timeout: .seconds(30))
                #expect(executed.exitCode == 0)
                guard case .list(let answer) = try JSONDecoder().decode(JSON.self, from: Data(executed.output.utf8)),
                    answer.count == 3, case .list(let kinds) = answer[1], case .list(let own) = inside
                else {
                    Issue.record("\(executed)")
                    return
                }
                #expect(answer[0] == inside)
                let none: JSON = "0000000000000000"
                #expect(own.prefix(7) == [none, none, none, none, none, "1", "2"])
                // Standard input (/dev/null) and output (a pipe, twice). The listing of the folder is gone by then.
                #expect(kinds.count == 3)
            }
        },
        EngineCheck("N3: the first process of a container has no descriptor of the platform") { fixture in
            let script = """
                import os, sys
                kinds = []
                for name in os.listdir("/proc/self/fd"):
                    try: kinds.append(os.readlink("/proc/self/fd/" + name))
                    except OSError: pass
                print(len(kinds), [kind for kind in kinds if not kind.startswith(("pipe:", "/dev/"))], flush=True)
                """
            try await fixture.withPod([fixture.container("api", ["python3", "-c", script])]) { (plan) async throws in
                var lines: [String] = []
                for try await line in try await fixture.engine.logs(
                    container: "api", pod: plan.id, follow: true, tail: nil
                ).lines {
                    lines.append(line)
                    break
                }
                #expect(lines == ["3 []"])
            }
        },
    ]

    /// Python that makes files in `/data`, and collects in `result` what a container must not be able to do, and what
    /// it must be and is not.
    private static let specialModes = """
        import ctypes, errno, os, platform, stat
        os.umask(0)
        os.close(os.open("/data/program", os.O_CREAT | os.O_WRONLY, 0o755))
        os.close(os.open("/data/plain", os.O_CREAT | os.O_WRONLY, 0o1644))
        os.mkdir("/data/folder", 0o6777)
        os.mkdir("/data/sticky"); os.chmod("/data/sticky", 0o1777); os.chmod("/data/program", 0o777)
        os.mknod("/data/fifo", stat.S_IFIFO | 0o600)
        libc = ctypes.CDLL(None, use_errno=True)
        index = 0 if platform.machine() == "x86_64" else 1
        program, new, here = b"/data/program", b"/data/new", -100
        file, folder = os.open(program, os.O_RDONLY), os.open("/data", os.O_RDONLY)
        how = (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
        result = []
        for bits in (0o4755, 0o2755, 0o6755):
            # Numbers on x86-64 and on arm64, then arguments.
            calls = {
                "chmod": (90, None, program, bits), "fchmod": (91, 52, file, bits), "fchmodat": (268, 53, here, program, bits),
                "fchmodat2": (452, 452, here, program, bits, 0), "creat": (85, None, new, bits),
                "open": (2, None, new, os.O_CREAT | os.O_WRONLY, bits), "openat": (257, 56, folder, b"new", os.O_CREAT | os.O_WRONLY, bits),
                "openat of no name": (257, 56, folder, b".", os.O_TMPFILE | os.O_WRONLY, bits),
                "mknod": (133, None, new, stat.S_IFREG | bits, 0), "mknodat": (259, 33, folder, b"new", stat.S_IFREG | bits, 0),
                "openat2": (437, 437, here, new, how, 24),
            }
            for name, call in calls.items():
                if call[index] is None: continue
                ctypes.set_errno(0)
                answer = libc.syscall(call[index], *[ctypes.c_long(a) if isinstance(a, int) else a for a in call[2:]])
                if answer != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS): result.append(f"{name} {oct(bits)}: {answer} {ctypes.get_errno()}")
        # Where no file is made, the mode is not looked at.
        answer = libc.syscall((257, 56)[index], here, program, os.O_RDONLY, ctypes.c_long(0o6777))
        if answer < 0: result.append(f"openat: {ctypes.get_errno()}")
        """

    /// Python that collects in `found` the forbidden calls that did not fail with EPERM (ENOSYS for `clone3`).
    private static let forbiddenCalls = """
        import ctypes, errno, os, platform
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(4096)
        # Name: number on x86-64, on arm64, then arguments.
        calls = {
            "acct": (163, 89, 0), "add_key": (248, 217, b"user", b"mine", b"x", 1, -3), "request_key": (249, 218, b"user", b"x", 0, -3),
            "keyctl": (250, 219, 0, -3, 0), "bpf": (321, 280, 0, buffer, 128), "chroot": (161, 51, b"/"),
            "io_uring_setup": (425, 425, 4, buffer), "io_uring_enter": (426, 426, -1, 0, 0, 0),
            "io_uring_register": (427, 427, -1, 0, 0, 0), "userfaultfd": (323, 282, 1),
            "perf_event_open": (298, 241, buffer, 0, -1, -1, 0), "kcmp": (312, 272, os.getpid(), os.getpid(), 0, 0, 0),
            "open_by_handle_at": (304, 265, -1, buffer, 0), "mount": (165, 40, b"none", b"/tmp", b"tmpfs", 0, 0),
            "umount2": (166, 39, b"/tmp", 0), "pivot_root": (155, 41, b"/", b"/tmp"), "fsopen": (430, 430, b"tmpfs", 0),
            "fspick": (433, 433, -100, b"/", 0), "open_tree": (428, 428, -100, b"/", 1), "move_mount": (429, 429, -1, b"", -1, b"", 0),
            "mount_setattr": (442, 442, -100, b"/", 0, buffer, 32), "unshare": (272, 97, 0x10000000), "setns": (308, 268, -1, 0),
            "clone(CLONE_NEWUSER)": (56, 220, 0x10000011, 0, 0, 0, 0), "socket(AF_ALG)": (41, 198, 38, 5, 0),
            "socket(AF_VSOCK)": (41, 198, 40, 1, 0), "pidfd_getfd": (438, 438, -1, 0, 0), "syslog": (103, 116, 10, 0, 0),
            "init_module": (175, 105, 0, 0, 0), "finit_module": (313, 273, -1, b"", 0), "kexec_load": (246, 104, 0, 0, 0, 0),
            "reboot": (169, 142, 0, 0, 0), "swapon": (167, 224, b"/", 0), "quotactl": (179, 60, 0, 0, 0, 0),
            "fanotify_init": (300, 262, 0, 0), "sethostname": (170, 161, b"x", 1), "settimeofday": (164, 170, 0, 0),
            "personality(ADDR_NO_RANDOMIZE)": (135, 92, 0x40000), "process_madvise": (440, 440, -1, 0, 0, 0, 0),
            "move_pages": (279, 239, 0, 0, 0, 0, 0, 0), "set_mempolicy": (238, 237, 0, 0, 0), "name space by clone3": (435, 435, 0, 0),
        }
        found = []
        index = 0 if platform.machine() == "x86_64" else 1
        for name, call in calls.items():
            ctypes.set_errno(0)
            answer = libc.syscall(call[index], *[ctypes.c_long(a) if isinstance(a, int) else a for a in call[2:]])
            if answer == 0 and name.startswith("clone("): os._exit(0)
            expected = errno.ENOSYS if "clone3" in name else errno.EPERM
            if answer != -1 or ctypes.get_errno() != expected: found.append(f"{name}: {answer} {os.strerror(ctypes.get_errno())}")
        """
}
