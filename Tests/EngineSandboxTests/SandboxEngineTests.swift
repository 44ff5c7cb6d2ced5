import CLinux
import Core
import EngineConformance
import Foundation
import PodInitClient
import PodInitProtocol
import Subprocess
import Support
import TestSupport
import Testing

@testable import EngineSandbox

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

@Suite("What only the sandbox engine promises", .timeLimit(.minutes(5)))
struct SandboxEngineTests {
    @Test("C12: what a sandbox cannot do is refused in words that name the field and the way out")
    func problems() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            var container = ContainerSpecification(name: "api", image: "hello:1")
            container.compute.gpu = 1
            container.volumes = [.init(source: "/tmp", target: "/usr/share/x"), .init(source: "/tmp", target: "/data")]
            let problems = await fixture.engine().problems(with: specification([container]))
            #expect(problems.count == 4)
            for (field, word) in [
                ("pod.containers[0].image", "leave image out"), ("pod.containers[0].command", "required"),
                ("pod.containers[0].compute.gpu", "container engine"),
                ("pod.containers[0].volumes[0]", "another target"),
            ] {
                #expect(problems.contains { $0.hasPrefix(field + ":") && $0.contains(word) })
            }
            let fine = ContainerSpecification(name: "api", command: ["true"])
            #expect(await fixture.engine().problems(with: specification([fine])) == [])
        }
    }

    @Test("U5: without bubblewrap or with an unusable folder one line says what to do")
    func unusable() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            var other = fixture
            other.configuration.bubblewrap = "/nowhere/bwrap"
            let missing = await #expect(throws: PlatformError.self) { try await other.engine().setUp() }
            #expect(missing?.code == .engineUnavailable)
            #expect(missing?.message.contains("install bubblewrap") == true)
            other = fixture
            other.configuration.bubblewrap = "/bin/false"
            let broken = await #expect(throws: PlatformError.self) { try await other.engine().setUp() }
            #expect(broken?.code == .engineUnavailable)
            #expect(try FileManager.default.contentsOfDirectory(atPath: other.configuration.directory) == [])
            other = fixture
            other.configuration.directory = "/proc/pods"
            let unwritable = await #expect(throws: PlatformError.self) { try await other.engine().setUp() }
            #expect(unwritable?.code == .engineUnavailable)
        }
    }

    @Test("C12: nothing of the machine in /proc can be written, whoever runs the platform")
    func proc() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            try await fixture.engine().start(plan)
            let script = """
                import os
                for folder, folders, files in os.walk("/proc"):
                    if folder == "/proc": folders[:] = [name for name in folders if not name.isdigit()]
                    for name in files:
                        path = folder + "/" + name
                        if os.path.islink(path): continue
                        try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)); print(path)
                        except OSError: pass
                """
            let result = try await fixture.engine().exec(
                ["python3", "-c", script], container: "api", pod: plan.id, timeout: .seconds(60))
            #expect(result == ExecResult(exitCode: 0, output: ""))
        }
    }

    @Test("C9: a container's environment stands on no command line, and rules nothing outside of it")
    func environment() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            var container = fixture.shell("exec sleep 1000")
            container.environment = [
                EnvironmentVariable("TOKEN", "very-secret-value"), EnvironmentVariable("LD_PRELOAD", "/mnt/evil.so"),
            ]
            let plan = fixture.plan([container])
            try await fixture.engine().start(plan)
            let status = try await PodInitClient(socketPath: fixture.folder(plan.id).socket).status()
            let process = try #require(status.containers.first?.processID)
            for file in ["cmdline", "environ"] {
                let data = try #require(FileManager.default.contents(atPath: "/proc/\(process)/\(file)"))
                let text = String(decoding: data, as: UTF8.self)
                #expect(!text.contains("very-secret-value") && !text.contains("LD_PRELOAD"))
            }
        }
    }

    @Test("U4: a pod stands apart from the platform's process, session and group")
    func independence() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            try await fixture.engine().start(plan)
            let supervisor = try fixture.supervisor(plan.id)
            #expect(getsid(supervisor) != getsid(0))
            #expect(getpgid(supervisor) != getpgid(0))
            let status = try String(contentsOfFile: "/proc/\(supervisor)/status", encoding: .utf8)
            #expect(!status.contains("PPid:\t\(getpid())\n"))
        }
    }

    @Test("C8: what a hostile container leaves in /mnt is removed with the pod")
    func hostileFiles() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let script = """
                import os
                os.makedirs("/mnt/closed/inner"); open("/mnt/closed/inner/file", "w").close()
                os.symlink("/tmp", "/mnt/link"); os.symlink("/nowhere", "/mnt/broken"); os.mkfifo("/mnt/fifo")
                os.chdir("/mnt")
                for _ in range(3000): os.mkdir("d"); os.chdir("d")
                os.chmod("/mnt/closed/inner", 0); os.chmod("/mnt/closed", 0)
                """
            let plan = fixture.plan([ContainerPlan(name: "api", command: ["python3", "-c", script])])
            let engine = fixture.engine()
            try await engine.start(plan)
            #expect(
                try await eventually {
                    try await engine.list().first?.containers.first?.state == .exited(ContainerExit(code: 0))
                })
            try await engine.stop(pod: plan.id, grace: .zero)
            try await expectEventually { fixture.leftovers(plan.id) == [] }
            #expect(FileManager.default.fileExists(atPath: "/tmp"))
        }
    }

    @Test(
        "U4: a start that is cancelled, or whose second container fails, leaves nothing; a taken id leaves the other pod alone"
    )
    func failedStarts() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            try await engine.setUp()
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            let task = Task { try await engine.start(plan) }
            task.cancel()
            await #expect(throws: (any Error).self) { try await task.value }
            try await expectEventually { fixture.leftovers(plan.id) == [] }
            try await engine.start(plan)
            let error = await #expect(throws: PlatformError.self) { try await engine.start(plan) }
            #expect(error?.code == .conflict)
            #expect(try await engine.list().first?.containers.first?.state == .running)
        }
    }

    @Test("U4: a pod whose start was cut off by a crash is listed as dead, and its control groups go with it")
    func cutOffStart() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            let groups = ControlGroups.present()
            // As far as a start gets before it has a supervisor: the record knows the groups before they are there.
            let record = PodFolder.Record(
                plan: plan, groups: ["api": groups.group("\(plan.id).api")].compactMapValues { $0 })
            try FileManager.default.createDirectory(
                atPath: fixture.configuration.directory, withIntermediateDirectories: true)
            try fixture.folder(plan.id).create(record)
            #expect(try groups.make("\(plan.id).api", Compute()) == record.groups["api"])
            let engine = fixture.engine()
            try await engine.setUp()
            #expect(try await engine.list().map(\.isAlive) == [false])
            try await engine.stop(pod: plan.id, grace: .zero)
            try await expectEventually { fixture.leftovers(plan.id) == [] }
        }
    }

    @Test("U4: a start whose clean-up fails too keeps its own error, and can be repeated under the same id")
    func repeatedStart() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            try await engine.setUp()
            // Something that cannot be erased stands where the clean-up moves the pod to.
            let broken = fixture.plan([
                fixture.shell("true", name: "api"), ContainerPlan(name: "side", command: ["/none"]),
            ])
            let obstacle = fixture.configuration.directory + "/.\(broken.id).gone"
            try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
            try #require(mount("none", obstacle, "tmpfs", 0, nil) == 0)
            let error = await #expect(throws: PlatformError.self) { try await engine.start(broken) }
            #expect(
                error?.code == .containerFailed && error?.message.contains("/none") == true,
                "\(String(describing: error))")
            #expect((error?.cause as? PlatformError)?.message.contains("cannot be removed") == true)
            #expect(umount(obstacle) == 0)
            #expect(!fixture.leftovers(broken.id).isEmpty)
            var plan = broken
            plan.containers = [fixture.shell("exec sleep 1000")]
            try await engine.start(plan)
            #expect(try await engine.list().map(\.id) == [plan.id])
            try await engine.stop(pod: plan.id, grace: .zero)
            try await expectEventually { [plan] in fixture.leftovers(plan.id) == [] }
        }
    }

    @Test(
        "U4: stopping a pod that is starting ends its start; a supervisor that hangs is given up",
        arguments: [true, false])
    func hangingSupervisor(_ isStopped: Bool) async throws {
        try await SandboxFixture.with { (original) async throws in
            var fixture = original
            let engine = fixture.engine()
            try await engine.setUp()
            let hanging = fixture.root.appendingPathComponent("hanging")
            try Data("#!/bin/sh\nexec sleep 1000\n".utf8).write(to: hanging)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: hanging.path)
            fixture.configuration.podInit = hanging.path
            let supervisor = Supervisor(configuration: fixture.configuration)
            let plan = fixture.plan([fixture.shell("true")])
            try fixture.folder(plan.id).create(PodFolder.Record(plan: plan, groups: [:]))
            let start = Task { try await supervisor.start(fixture.folder(plan.id), user: nil) }
            if isStopped { try await Task.sleep(for: .milliseconds(200)) }
            start.cancel()
            let clock = ContinuousClock()
            let began = clock.now
            await #expect(throws: CancellationError.self) { try await start.value }
            #expect(clock.now - began < .seconds(5))
            try await engine.stop(pod: plan.id, grace: .zero)
            try await expectEventually { [fixture] in fixture.leftovers(plan.id) == [] }
        }
    }

    @Test("N4: one pod whose supervisor is frozen delays no list, no start and no stop of another")
    func frozenSupervisor() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            let frozen = fixture.plan([fixture.shell("exec sleep 1000")])
            try await engine.start(frozen)
            #expect(try await engine.list().first?.isAlive == true)
            let supervisor = try fixture.supervisor(frozen.id)
            kill(supervisor, SIGSTOP)
            let clock = ContinuousClock()
            var began = clock.now
            let listed = try await engine.list()
            #expect(listed.first?.isAlive == true && listed.first?.containers.first?.state == .running)
            #expect(clock.now - began < .seconds(8))
            let other = fixture.plan([fixture.shell("exec sleep 1000")])
            began = clock.now
            try await engine.start(other)
            try await engine.stop(pod: other.id, grace: .seconds(1))
            #expect(clock.now - began < .seconds(20))
            // In the end it counts as dead, and is removed without its help.
            let isDead = try await eventually(within: .seconds(40)) { try await engine.list().first?.isAlive == false }
            #expect(isDead)
            try await Supervisor(configuration: fixture.configuration).remove(fixture.folder(frozen.id))
            try await expectEventually { fixture.leftovers(frozen.id) == [] }
        }
    }

    @Test("S3: a pod with a record that another version wrote is left alone")
    func foreignRecord() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let path = fixture.folder("hello-1").path
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            try Data("{\"version\": 99}".utf8).write(to: URL(fileURLWithPath: path + "/pod.json"))
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -120)], ofItemAtPath: path)
            try await fixture.engine().setUp()
            #expect(FileManager.default.fileExists(atPath: path + "/pod.json"))
        }
    }

    @Test("U4: the processes of a control group are killed and it is removed; no other process is, whatever its number")
    func controlGroupRemoval() async throws {
        let groups = ControlGroups.present()
        let name = "kill-\(UInt32.random(in: .min ... .max))"
        guard let group = try groups.make(name, Compute()) else { return }
        let inside = try ChildProcess("/bin/sleep", ["1000"], environment: [:])
        let outside = try ChildProcess("/bin/sleep", ["1000"], environment: [:])
        defer { outside.send(SIGKILL) }
        for member in group.members { try Data("\(inside.pid)".utf8).write(to: URL(fileURLWithPath: member)) }
        // A number that was read as one of the group, and is another process by now; a group whose name begins alike.
        #expect(cx_kill_in_group(outside.pid, "/cortex-\(name)\n") == -ESRCH)
        #expect(cx_kill_in_group(inside.pid, "/cortex-\(name.dropLast())\n") == -ESRCH)
        #expect(inside.isRunning)
        group.remove()
        #expect(await inside.wait() == 128 + SIGKILL)
        // The group may have been in use a moment longer than the process.
        #expect(
            try await eventually {
                group.remove()
                return group.folders.allSatisfy { access($0, F_OK) != 0 }
            })
        #expect(outside.isRunning)
    }

    @Test("U4: a bubblewrap that outlived its supervisor is killed with its pod, and no other process")
    func orphans() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let (folder, other) = (fixture.folder("orphaned-1"), fixture.folder("orphaned-2"))
            try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
            let processes = try [folder, other].map { folder in
                let name = bubblewrapName(podFolder: folder.path)
                return try ChildProcess("/bin/bash", ["-c", "exec -a \(name) sleep 1000"], environment: [:])
            }
            defer { processes[1].send(SIGKILL) }
            let started = [folder, other].map { Data(bubblewrapName(podFolder: $0.path).utf8) }
            #expect(
                try await eventually {
                    zip(processes, started).allSatisfy {
                        FileManager.default.contents(atPath: "/proc/\($0.pid)/cmdline")?.starts(with: $1) == true
                    }
                })
            try await fixture.engine().stop(pod: "orphaned-1", grace: .zero)
            #expect(await processes[0].wait() == 128 + SIGKILL)
            #expect(processes[1].isRunning)
            try await expectEventually { fixture.leftovers("orphaned-1") == [] }
        }
    }

    @Test("U4: a signal through a descriptor reaches the process it was opened for, and none after that one has ended")
    func signalAfterEnd() async throws {
        let child = try ChildProcess("/bin/sleep", ["1000"], environment: [:])
        let descriptor = cx_process_descriptor(child.pid)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        #expect(cx_signal_process(descriptor, SIGKILL) == 0)
        #expect(await child.wait() == 128 + SIGKILL)
        #expect(cx_signal_process(descriptor, SIGKILL) == -ESRCH)
    }

    @Test("U4: what a platform left half made or half removed is swept at the next start")
    func sweep() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let manager = FileManager.default
            for name in [".hello-1.new", ".hello-2.gone", "hello-3"] {
                let path = fixture.folder(name).path
                try manager.createDirectory(atPath: path + "/mnt", withIntermediateDirectories: true)
                try manager.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -120)], ofItemAtPath: path)
            }
            try await fixture.engine().setUp()
            #expect(try manager.contentsOfDirectory(atPath: fixture.configuration.directory) == [])
        }
    }

    @Test("U4: a set-up that is cancelled at any moment leaves no probe pod, neither its processes nor its folder")
    func cancelledSetUp() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let clock = SystemClock()
            let start = clock.instant()
            try await fixture.engine().setUp()
            let whole = clock.instant() - start
            for round in 0..<24 {
                let engine = fixture.engine()
                let task = Task { try await engine.setUp() }
                // The moment is the subject of the test, so there is no event to wait for.
                try await clock.sleep(for: whole * (Double(round) / 20))
                task.cancel()
                _ = await task.result
                let isGone = try await eventually { Self.remains(fixture) == [] }
                #expect(isGone, "round \(round): \(Self.remains(fixture))")
            }
        }
    }

    /// Folders of pods, and processes that name one.
    private static func remains(_ fixture: SandboxFixture) -> [String] {
        let (manager, directory) = (FileManager.default, fixture.configuration.directory)
        let folders = (try? manager.contentsOfDirectory(atPath: directory)) ?? []
        let processes = ((try? manager.contentsOfDirectory(atPath: "/proc")) ?? []).filter { name in
            let data = Int(name).flatMap { manager.contents(atPath: "/proc/\($0)/cmdline") } ?? Data()
            return String(decoding: data, as: UTF8.self).contains(directory + "/")
        }
        return folders + processes
    }

    @Test("U4: a set-up removes each probe pod of an earlier process at once, whatever its age, and no pod of an API")
    func earlierProbes() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            try await engine.setUp()
            let supervisor = Supervisor(configuration: fixture.configuration)
            // As a process leaves it that was killed: the pod runs.
            let left = fixture.folder(".probe-1-2")
            try left.create(PodFolder.Record(plan: fixture.plan([], id: left.id), groups: [:], stages: true))
            try await supervisor.start(left, user: nil)
            let process = try fixture.supervisor(left.id)
            #expect(kill(process, 0) == 0)
            let manager = FileManager.default
            let leftovers = [".probe-3", "..probe-4-5.new", "..probe-6-7.gone"]
            // Such are the pods of an API with the name probe while they are being made and removed.
            let own = [".probe-8.new", ".probe-9.gone", "..probe-\(PodFolder.probe(in: "").id.dropFirst(7)).new"]
            for name in leftovers + own {
                try manager.createDirectory(
                    atPath: fixture.folder(name).path + "/mnt", withIntermediateDirectories: true)
            }
            let pod = fixture.plan([fixture.shell("exec sleep 1000")], id: "probe-10")
            try await engine.start(pod)
            // A set-up does not wait longer than 5 s for the removal.
            try await expectEventually {
                try await fixture.engine().setUp()
                return try manager.contentsOfDirectory(atPath: fixture.configuration.directory).sorted()
                    == (own + [pod.id]).sorted()
            }
            #expect(try await eventually { kill(process, 0) != 0 })
            #expect(try await engine.list().first?.containers.first?.state == .running)
        }
    }

    @Test("U4: the removal of a pod kills a supervisor that has not written its number, and no other pod's")
    func beginningSupervisor() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let supervisor = Supervisor(configuration: fixture.configuration)
            // The shell runs this file: its own arguments are those of a supervisor.
            try "read line || :".write(to: fixture.root.appending(path: "sandbox"), atomically: true, encoding: .utf8)
            let (removed, other) = (fixture.folder("a-1"), fixture.folder("a-11"))
            @Sendable func begin(
                _ folder: PodFolder, _ body: @escaping @Sendable () async throws -> Void
            ) async throws -> TerminationStatus {
                try await Subprocess.run(
                    .path("/bin/sh"),
                    arguments: Arguments(
                        executablePathOverride: fixture.configuration.podInit,
                        remainingValues: ["sandbox", "--directory", folder.path]),
                    workingDirectory: FilePath(fixture.root.path), input: .inputWriter, output: .discarded,
                    error: .discarded
                ) { run in
                    try await body()
                    try await run.standardInputWriter.finish()
                }.terminationStatus
            }
            let end = try await begin(other) {
                let killed = try await begin(removed) { try await supervisor.remove(removed) }
                #expect(killed == .signaled(SIGKILL))
            }
            #expect(end == .exited(0))
        }
    }

    @Test("C10: the first call to the platform needs no answer to who has its address")
    func neighbours() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            try await engine.setUp()
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            try await engine.start(plan)
            let table = try String(contentsOfFile: "/proc/\(fixture.supervisor(plan.id))/net/arp", encoding: .utf8)
            let rows = table.split(separator: "\n").dropFirst().map { $0.split(separator: " ").map(String.init) }
            // Address, kind, flags (complete and permanent), hardware address.
            #expect(
                Set(rows.map { Array($0.prefix(4)) }) == [
                    ["169.254.77.1", "0x1", "0x6", "02:00:00:00:00:01"],
                    ["169.254.77.2", "0x1", "0x6", "02:00:00:00:00:01"],
                ])
        }
    }

    @Test(
        "C10: without veth the names still work, and port 80 is refused up front", arguments: ["gateway", "operator"])
    func loopback(_ which: String) async throws {
        try await SandboxFixture.with { (original) async throws in
            var fixture = original
            fixture.configuration.loopbackOnly = true
            let engine = fixture.engine()
            try await engine.setUp()
            #expect(engine.network == "loopback")
            var specification = specification([ContainerSpecification(name: "api", command: ["true"])])
            specification.pod.port = 80
            #expect(await engine.problems(with: specification).contains { $0.hasPrefix("pod.port:") })
            let socket = which == "gateway" ? fixture.configuration.gatewaySocket : fixture.configuration.operatorSocket
            let listener = cx_unix_listen(socket, 0o600, 4)
            try #require(listener >= 0)
            defer { close(listener) }
            let name = which == "gateway" ? ClusterNames.gateway : ClusterNames.operatorService
            let call = "import socket; socket.create_connection(('\(name)', \(which == "gateway" ? 80 : 8888))).recv(1)"
            try await engine.start(fixture.plan([ContainerPlan(name: "api", command: ["python3", "-c", call])]))
            #expect(
                try await eventually {
                    let accepted = cx_accept(listener)
                    if accepted >= 0 { close(accepted) }
                    return accepted >= 0
                })
        }
    }

    @Test("O4: a log is kept twice its limit, and following it misses no line of what is kept")
    func rotation() async throws {
        try await SandboxFixture.with { (original) async throws in
            var fixture = original
            fixture.configuration.logLimit = 70_000
            let engine = fixture.engine()
            let script = "for i in $(seq 1 20000); do echo line $i; done; sleep 1000"
            let plan = fixture.plan([fixture.shell(script)])
            try await engine.start(plan)
            #expect(
                try await eventually {
                    var last = ""
                    for try await line in try await engine.logs(container: "api", pod: plan.id, follow: false, tail: 1)
                        .lines
                    {
                        last = line
                    }
                    return last == "line 20000"
                })
            var kept: [String] = []
            for try await line in try await engine.logs(container: "api", pod: plan.id, follow: false, tail: nil).lines
            {
                kept.append(line)
            }
            #expect(kept.suffix(100) == (19901...20000).map { "line \($0)" }[...])
            let log = fixture.folder(plan.id).log("api")
            for path in [log, log + ".1"] {
                let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
                #expect((1...70_000).contains(size ?? 0))
            }
        }
    }

    @Test("C12: a pod that asks for more memory than is free does not start")
    func memory() throws {
        let memory = Memory(meminfo: "MemTotal:  1024000 kB\nMemFree: 1 kB\nMemAvailable:   512000 kB\n")
        #expect(memory.total == 1_024_000 * 1024 && memory.available == 512_000 * 1024)
        var container = ContainerPlan(name: "api")
        container.compute.mem = Quantity("400Mi")
        let plan = PodPlan(
            id: "a", owner: .api(.init(name: "a", apiID: "", podID: "", deploymentID: "")),
            createdAt: Timestamp(seconds: 0),
            containers: [container], clientConfiguration: "")
        try memory.check(plan, reserved: 0)
        #expect(throws: PlatformError.self) { try memory.check(plan, reserved: 700 << 20) }
        container.compute.mem = Quantity("600Mi")
        #expect(throws: PlatformError.self) {
            var plan = plan
            plan.containers = [container]
            try memory.check(plan, reserved: 0)
        }
    }

    private func specification(_ containers: [ContainerSpecification]) -> APISpecification {
        APISpecification.async(
            name: "hello", networking: .init(endpoint: "/hello"), pod: PodSpecification(containers: containers))
    }
}
