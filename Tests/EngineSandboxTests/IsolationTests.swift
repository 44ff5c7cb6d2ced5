import CLinux
import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Subprocess
import TestSupport
import Testing

@testable import EngineSandbox

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// Also run as an ordinary user (SandboxOrdinaryUserTests).
@Suite("What a container of the sandbox cannot reach", .timeLimit(.minutes(5)))
struct SandboxIsolationTests {
    private static var isRoot: Bool { geteuid() == 0 && PodUsers.areAvailable() }

    /// The output of Python in a running pod.
    private func python(_ script: String, in pod: PodPlan, of fixture: SandboxFixture) async throws -> String {
        let result = try await fixture.engine().exec(
            ["python3", "-c", script], container: "api", pod: pod.id, timeout: .seconds(60))
        #expect(result.exitCode == 0, "\(result.output)")
        return result.output
    }

    private func running(
        _ fixture: SandboxFixture, volumes: [ContainerSpecification.Volume] = [], script: String = "exec sleep 1000"
    ) async throws -> PodPlan {
        var container = fixture.shell(script)
        container.volumes = volumes
        let plan = fixture.plan([container])
        try await fixture.engine().start(plan)
        return plan
    }

    private func status(_ path: String) throws -> stat {
        var found = stat()
        try #require(lstat(path, &found) == 0, "\(path)")
        return found
    }

    @Test("N3: a pod of root runs as a user id that owns nothing, in exec too; a pod of another user as that user")
    func users() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            let record = try #require(fixture.folder(plan.id).read())
            let expected = record.user ?? geteuid()
            #expect(Self.isRoot == (record.user != nil))
            let report = try await PodInitClient(socketPath: fixture.folder(plan.id).socket).status()
            let bubblewrap = try #require(report.containers.first?.processID)
            let text = try String(contentsOfFile: "/proc/\(bubblewrap)/status", encoding: .utf8)
            #expect(text.contains("Uid:\t\(expected)\t\(expected)\t\(expected)\t\(expected)\n"))
            // In its own view it is user 1000 and knows no other.
            let inside = """
                import os
                print(os.getuid(), os.getgid(), os.getresuid(), open("/proc/self/uid_map").read().split()[0])
                open("/mnt/exec", "w").close()
                """
            #expect(try await python(inside, in: plan, of: fixture) == "1000 1000 (1000, 1000, 1000) 1000\n")
            #expect(try status(fixture.folder(plan.id).shared + "/exec").st_uid == expected)
            #expect(try status(fixture.folder(plan.id).shared + "/exec").st_gid == record.user ?? getegid())
        }
    }

    @Test("N3: no file that only some users may read is readable, and private keys are not even visible")
    func privateFiles() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            let script = """
                import os
                for folder in ("/etc/ssl/private", "/etc/pki/tls/private", "/root", "/var"):
                    if os.path.lexists(folder): print(folder)
                for top in ("/etc", "/usr", "/nix"):
                    for folder, folders, files in os.walk(top):
                        for name in files:
                            path = os.path.join(folder, name)
                            try: mode = os.stat(path).st_mode
                            except OSError: continue
                            if not mode & 4 and os.access(path, os.R_OK): print(path)
                """
            #expect(try await python(script, in: plan, of: fixture) == "")
        }
    }

    @Test(
        "N3: a program in a volume is nobody's on the host and not setuid, and the next replica can use what is there")
    func programInVolume() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let share = fixture.root.appendingPathComponent("share").path
            try FileManager.default.createDirectory(atPath: share, withIntermediateDirectories: true)
            chmod(share, 0o777)
            let volumes = [ContainerSpecification.Volume(source: share, target: "/share")]
            let first = try await running(fixture, volumes: volumes)
            let script = """
                import os, shutil
                shutil.copy("/usr/bin/id", "/share/program"); os.chmod("/share/program", 0o1755)
                os.mkdir("/share/models", 0o700); open("/share/models/model", "w").write("weights")
                for make in (lambda: os.mknod("/share/device", 0o20666, os.makedev(1, 1)), lambda: os.chown("/share/program", 0, 0),
                             lambda: os.setxattr("/share/program", "security.capability", bytes(20)),
                             lambda: os.chmod("/share/program", 0o4755), lambda: os.chmod("/share/program", 0o2755)):
                    try: make(); print("made")
                    except OSError: pass
                """
            #expect(try await python(script, in: first, of: fixture) == "")
            let program = try status(share + "/program")
            #expect(program.st_mode & 0o7777 == 0o1755)
            // Where the file system can map owners, it is the number for volumes; else the pod's own. Never root.
            let owners = Self.isRoot ? [PodInitLimits.volumeUser] : [geteuid()]
            #expect(owners.contains(program.st_uid) && program.st_uid == program.st_gid || !Self.isRoot)
            if Self.isRoot { #expect(program.st_uid != 0 && program.st_gid != 0) }
            try await fixture.engine().stop(pod: first.id, grace: .zero)
            let second = try await running(fixture, volumes: volumes)
            let again = "print(open('/share/models/model').read()); open('/share/models/model', 'a').write('+')"
            #expect(try await python(again, in: second, of: fixture) == "weights\n")
        }
    }

    @Test("N3: a volume does not give away what root keeps to itself on the host")
    func rootsFiles() async throws {
        guard Self.isRoot else { return }
        try await SandboxFixture.with { (fixture) async throws in
            let share = fixture.root.appendingPathComponent("share").path
            try FileManager.default.createDirectory(atPath: share, withIntermediateDirectories: true)
            for (name, mode) in [("public", 0o644), ("private", 0o600)] {
                try PodFolder.write("text", to: "\(share)/\(name)", mode: mode)
            }
            chmod(share, 0o755)
            let plan = try await running(fixture, volumes: [.init(source: share, target: "/share")])
            let script = """
                import os
                print(open("/share/public").read(), os.stat("/share/public").st_uid)
                for path, flags in (("/share/private", os.O_RDONLY), ("/share/public", os.O_WRONLY), ("/share/new", os.O_CREAT | os.O_WRONLY)):
                    try: os.open(path, flags); print(path)
                    except PermissionError: pass
                """
            #expect(try await python(script, in: plan, of: fixture) == "text 65534\n")
        }
    }

    @Test("N2: a link in the place of a volume's source, or above it, is not followed at a start or a restart")
    func volumeLink() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let manager = FileManager.default
            let volume = fixture.root.appendingPathComponent("volume").path
            for folder in ["private/models", "volume/parent/models"] {
                try manager.createDirectory(
                    atPath: fixture.root.appendingPathComponent(folder).path, withIntermediateDirectories: true)
            }
            try "secret".write(
                toFile: fixture.root.appendingPathComponent("private/models/secret").path, atomically: false,
                encoding: .utf8)
            chmod(volume, 0o777)
            var container = fixture.shell("ls /models; exec sleep 1000")
            container.volumes = [.init(source: volume + "/parent/models", target: "/models", readOnly: true)]
            let plan = fixture.plan([container])
            let engine = fixture.engine()
            try await engine.start(plan)
            try await engine.stop(container: "api", of: plan.id, grace: .zero)
            try manager.moveItem(atPath: volume + "/parent", toPath: volume + "/away")
            try manager.createSymbolicLink(
                atPath: volume + "/parent", withDestinationPath: fixture.root.appendingPathComponent("private").path)
            let restart = await #expect(throws: PlatformError.self) {
                try await engine.restart(container: "api", of: plan)
            }
            #expect(restart?.code == .containerFailed && restart?.message.contains("symbolic link") == true)
            let another = fixture.plan([container])
            let start = await #expect(throws: PlatformError.self) { try await engine.start(another) }
            #expect(start?.code == .containerFailed)
            try await expectEventually { fixture.leftovers(another.id) == [] }
            // The check of the platform aside: what mounts does not follow a link either.
            let record = try #require(fixture.folder(plan.id).read())
            let request = try await engine.found().request(container, fixture.folder(plan.id), record)
            let late = await #expect(throws: PlatformError.self) { try await engine.client(plan.id).start(request) }
            #expect(late?.message.contains("symbolic link") == true)
        }
    }

    @Test("N2: a path without links is opened, one with a link anywhere is not")
    func openWithoutLinks() async throws {
        try await withTemporaryDirectory { (folder) async throws in
            let real = try #require(realpath(folder.path, nil))
            defer { free(real) }
            let top = String(cString: real)
            try FileManager.default.createDirectory(atPath: top + "/a/b", withIntermediateDirectories: true)
            try FileManager.default.createSymbolicLink(atPath: top + "/a/link", withDestinationPath: "b")
            for (path, expected) in [
                ("/a/b", 0), ("/a//b/", 0), ("/a/link", -ELOOP), ("/a/link/", -ELOOP), ("/a/none", -ENOENT),
            ] as [(String, CInt)] {
                let descriptor = cx_open_without_links(top + path)
                #expect(min(descriptor, 0) == expected, "\(path)")
                if descriptor >= 0 { close(descriptor) }
            }
        }
    }

    @Test("N3: a container never attaches to a process that enters it before that process runs its command")
    func execRace() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            // The next process id is known; the loop tries to seize it from its first moment on.
            let script = """
                import ctypes, os, time
                libc = ctypes.CDLL(None, use_errno=True)
                libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
                caught = attached = refused = 0
                end = time.monotonic() + 8
                while time.monotonic() < end:
                    last = os.fork()
                    if last == 0: os._exit(0)
                    os.waitpid(last, 0)
                    until = time.monotonic() + 0.5
                    while time.monotonic() < until:
                        if libc.ptrace(0x4206, last + 1, None, None) != 0:
                            if ctypes.get_errno() == 1: refused += 1
                            continue
                        libc.ptrace(0x4207, last + 1, None, None)
                        try:
                            os.waitpid(last + 1, 0x40000000)
                            attached += 1
                            if "pod-init" in os.readlink(f"/proc/{last + 1}/exe"): caught += 1
                            libc.ptrace(17, last + 1, None, None)
                        except OSError: pass
                        break
                print("caught", caught, flush=True)
                print("attached", attached, "refused", refused, flush=True)
                """
            var container = fixture.shell("sleep 1000")
            container.command = ["python3", "-c", script]
            let plan = fixture.plan([container])
            let engine = fixture.engine()
            try await engine.start(plan)
            while try await engine.list().first(where: { $0.id == plan.id })?.containers.first?.state == .running {
                do {
                    _ = try await engine.exec(["true"], container: "api", pod: plan.id, timeout: .seconds(10))
                } catch let error as PlatformError where error.code == .containerFailed {
                    // The container has just ended.
                    break
                }
            }
            var lines: [String] = []
            for try await line in try await engine.logs(container: "api", pod: plan.id, follow: false, tail: nil).lines
            {
                lines.append(line)
            }
            #expect(lines.first == "caught 0", "\(lines)")
        }
    }

    @Test("N3: 32-bit code is killed", .enabled(if: ProcessInfo.processInfo.isX86))
    func otherEntryPoints() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            // mov eax, 20 (getpid of i386); int 0x80; ret
            let script = """
                import ctypes, mmap, os
                child = os.fork()
                if child == 0:
                    code = mmap.mmap(-1, 4096, prot=7)
                    code.write(bytes.fromhex("b814000000cd80c3"))
                    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
                    os._exit(0)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                libc = ctypes.CDLL(None, use_errno=True)
                print(libc.syscall(0x40000000 + 39), ctypes.get_errno())
                """
            // SIGSYS, and ENOSYS for getpid of x32.
            #expect(try await python(script, in: plan, of: fixture) == "-31\n-1 38\n")
        }
    }

    @Test("N3: a container's session keyring is new and its own user's")
    func keyring() async throws {
        guard Self.isRoot else { return }
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            let user = try #require(fixture.folder(plan.id).read()?.user)
            let run = try await Subprocess.run(
                .path("/usr/bin/setpriv"),
                arguments: ["--reuid=\(user)", "--regid=\(user)", "--clear-groups", "cat", "/proc/keys"],
                output: .string(limit: 1 << 20), error: .discarded)
            #expect(
                run.standardOutput.split(separator: "\n").contains {
                    $0.contains(" \(user) ") && $0.contains("keyring") && $0.contains("_ses")
                })
        }
    }

    @Test("N7: the processes of a pod are limited also where no control group can be made")
    func processes() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            let script = """
                import os, resource, time
                print(resource.getrlimit(resource.RLIMIT_NPROC))
                resource.setrlimit(resource.RLIMIT_NPROC, (30, 30))
                count = 0
                try:
                    while count < 100:
                        if os.fork() == 0: time.sleep(5); os._exit(0)
                        count += 1
                except BlockingIOError: pass
                print(10 < count < 30)
                """
            let limit = PodInitLimits.processes
            #expect(try await python(script, in: plan, of: fixture) == "(\(limit), \(limit))\nTrue\n")
        }
    }

    @Test("N3: /proc describes neither the machine nor the platform's folders, as far as bind mounts allow")
    func proc() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = try await running(fixture)
            let script = """
                import os
                for name in ("keys", "key-users", "kcore", "kmsg", "timer_list", "sched_debug", "slabinfo", "vmallocinfo",
                             "interrupts", "latency_stats", "cmdline", "kallsyms"):
                    try:
                        if open("/proc/" + name, "rb").read(1): print(name)
                    except OSError: pass
                for name in ("acpi", "scsi", "asound"):
                    try:
                        if os.listdir("/proc/" + name): print(name)
                    except OSError: pass
                print(len(os.listdir("/proc/self/task")))
                """
            #expect(try await python(script, in: plan, of: fixture) == "1\n")
            let lines = "print(open('/proc/1/cmdline').read() + open('/proc/1/environ').read())"
            let text = try await python(lines, in: plan, of: fixture)
            #expect(text.contains("--unshare-user") && !text.contains("/pods/") && !text.contains(fixture.root.path))
        }
    }

    @Test(
        "A4: a command that cannot be run is explained by its usual cause",
        arguments: [
            ("/app/crlf.sh", "CR LF"), ("/app/none.sh", "its interpreter /nowhere/sh is not there"),
            ("/app/plain.sh", "chmod +x"), ("/app", "it is a folder"), ("python3 /app/crlf.sh", "an item of its own"),
            ("no-such-program", "in any folder of PATH"), ("/app/absent", "No such file or directory"),
            ("/app/elf", "Exec format error"),
        ])
    func explanations(_ command: String, _ expected: String) async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let app = fixture.root.appendingPathComponent("app").path
            try FileManager.default.createDirectory(atPath: app, withIntermediateDirectories: true)
            for (name, text, mode) in [
                ("crlf.sh", "#!/bin/sh\r\necho\r\n", 0o755), ("none.sh", "#!/nowhere/sh\n", 0o755),
                ("plain.sh", "#!/bin/sh\n", 0o644),
                ("elf", "\u{7F}ELF\u{2}\u{1}\u{1}" + String(repeating: "\0", count: 60), 0o755),
            ] { try PodFolder.write(text, to: "\(app)/\(name)", mode: mode) }
            var container = ContainerPlan(name: "api", command: [command])
            container.volumes = [.init(source: app, target: "/app", readOnly: true)]
            let plan = fixture.plan([container])
            let engine = fixture.engine()
            let error = await #expect(throws: PlatformError.self) { try await engine.start(plan) }
            #expect(error?.code == .containerFailed && error?.message.contains(expected) == true, "\(error as Any)")
            // The same in a command by exec.
            container.command = ["sleep", "1000"]
            let other = fixture.plan([container])
            try await engine.start(other)
            let executed = await #expect(throws: PlatformError.self) {
                try await engine.exec([command], container: "api", pod: other.id, timeout: .seconds(10))
            }
            #expect(executed?.message.contains(expected) == true, "\(executed as Any)")
        }
    }
}

extension ProcessInfo {
    fileprivate var isX86: Bool {
        #if arch(x86_64)
            true
        #else
            false
        #endif
    }
}
