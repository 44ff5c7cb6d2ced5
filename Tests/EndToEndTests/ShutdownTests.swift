import Core
import Foundation
import Support
import Synchronization
import TestSupport
import Testing
import Wire

/// The built program ends in time, whatever does not answer.
@Suite("U4: the platform stops in every case", .serialized, .timeLimit(.minutes(5)))
struct ShutdownTests {
    /// Contract U4: 15 s after the grace period, which is 10 s here; plus time for a slow machine.
    private static let limit: Duration = .seconds(32)

    private static func stop(_ platform: Platform, with signal: Int32 = SIGTERM) async throws -> Int32 {
        let start = SystemClock().instant()
        platform.send(signal)
        let status = await platform.wait()
        #expect(SystemClock().instant() - start < limit)
        return status
    }

    @Test(
        "U4: with standard error a full pipe without a reader, SIGTERM drains and exits 0, and a second signal exits at once"
    )
    func blockedStandardError() async throws {
        var ends: [CInt] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let bytes = [UInt8](repeating: 65, count: 4096)
        while write(ends[1], bytes, bytes.count) > 0 {}
        _ = fcntl(ends[1], F_SETFL, 0)
        try await withTemporaryDirectory { folder async throws in
            var platform = try await Platform.start(.sandbox, in: folder, errors: .descriptor(ends[1]))
            #expect(try await HTTP.get("\(platform.addresses.operator)/healthz").status == 200)
            #expect(try await Self.stop(platform) == 0)
            platform = try await Platform.start(.sandbox, in: folder, errors: .descriptor(ends[1]))
            try await platform.deploy("echo", pod: "termination_grace_period: 60s")
            let busy = TestAPI(platform: platform, name: "echo")
            let id = try await busy.submit("50", do: "sleep")
            try await expectEventually { try await busy.read(id).json?["status"].string == "in_progress" }
            platform.send(SIGTERM)
            // The gateway refuses connections after the first signal was handled.
            let gateway = platform.addresses.gateway
            try await expectEventually { (try? await HTTP.get("\(gateway)/echo/\(id)").status) == nil }
            let start = SystemClock().instant()
            platform.send(SIGTERM)
            #expect(await platform.wait() == 130)
            #expect(SystemClock().instant() - start < .seconds(3))
            // What the second signal left is found and removed.
            platform = try await Platform.start(.sandbox, in: folder)
            _ = try await platform.cli("delete", "echo", "--force")
            #expect(try await platform.stop() == 0)
        }
    }

    @Test("U4, N4: a pod with a frozen PodInit does not prevent the platform from ending; the next start removes it")
    func frozenPodInit() async throws {
        try await withTemporaryDirectory { folder async throws in
            var platform = try await Platform.start(.sandbox, in: folder)
            try await platform.deploy("echo", pod: "termination_grace_period: 1s")
            let frozen = Self.processes(of: folder)
            #expect(!frozen.isEmpty)
            for process in frozen { kill(process, SIGSTOP) }
            defer { for process in frozen { kill(process, SIGCONT) } }
            let status = try await Self.stop(platform)
            #expect(status == 0 || status == 1)
            if status == 1 { #expect(platform.log.contains("took too long")) }
            platform = try await Platform.start(.sandbox, in: folder)
            _ = try await platform.cli("delete", "echo", "--force")
            try await expectEventually(within: .seconds(60)) { Self.processes(of: folder).isEmpty }
            #expect(try await platform.stop() == 0)
        }
    }

    @Test("U4: SIGTERM at any moment of the start exits 0 and leaves no pod and no process")
    func signalsDuringStart() async throws {
        try await withTemporaryDirectory { folder async throws in
            let clock = SystemClock()
            var begin = clock.instant()
            #expect(try await Self.stop(try await Platform.start(.sandbox, in: folder)) == 0)
            let whole = clock.instant() - begin
            for round in 0..<30 {
                let process = try Self.begin(in: folder)
                begin = clock.instant()
                // The moment is the subject of the test, so there is no event to wait for.
                try await clock.sleep(for: whole * Double.random(in: 0...1))
                let moment = clock.instant() - begin
                // Before that, the signal ends it as it ends any process.
                let hasBegun = Self.handlesSIGTERM(process.pid)
                process.send(SIGTERM)
                let status = await process.wait()
                #expect(status == 0 || !hasBegun && status == 128 + SIGTERM, "status \(status) after \(moment)")
                let isGone = try await eventually { Self.leftovers(of: folder) == [] }
                #expect(isGone, "round \(round), after \(moment): \(Self.leftovers(of: folder))")
            }
        }
    }

    @Test("U4: what kill -9 during a start leaves is removed by the next start, at once")
    func killsDuringStart() async throws {
        try await withTemporaryDirectory { folder async throws in
            let clock = SystemClock()
            let begin = clock.instant()
            #expect(try await Self.stop(try await Platform.start(.sandbox, in: folder)) == 0)
            let whole = clock.instant() - begin
            var left = 0
            for round in 0..<10 {
                for _ in 0..<3 {
                    let process = try Self.begin(in: folder)
                    try await clock.sleep(for: whole * Double.random(in: 0...0.6))
                    process.send(SIGKILL)
                    _ = await process.wait()
                    left += Self.leftovers(of: folder).isEmpty ? 0 : 1
                }
                let platform = try await Platform.start(.sandbox, in: folder)
                let isGone = try await eventually { Self.leftovers(of: folder) == [] }
                #expect(isGone, "round \(round): \(Self.leftovers(of: folder))")
                #expect(try await Self.stop(platform) == 0)
            }
            // Otherwise the kills came at other moments than those that matter.
            #expect(left > 0)
        }
    }

    private static func begin(in folder: URL) throws -> ChildProcess {
        try ChildProcess(
            Platform.cortex.path,
            [
                "up", "--data-dir", folder.appending(path: "data").path, "--port", "0", "--operator-port", "0",
                "--engine", "sandbox",
            ], environment: Platform.environment(in: folder), output: .file(folder.appending(path: "out").path),
            errors: .file(folder.appending(path: "log").path))
    }

    private static func handlesSIGTERM(_ process: pid_t) -> Bool {
        let status = FileManager.default.contents(atPath: "/proc/\(process)/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("SigCgt:") }
        let caught = line?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
        return caught & (1 << UInt64(SIGTERM - 1)) != 0
    }

    /// Folders of pods, and processes that name one.
    private static func leftovers(of folder: URL) -> [String] {
        let pods = folder.appending(path: "data/pods").path
        let names = (try? FileManager.default.contentsOfDirectory(atPath: pods)) ?? []
        return names + processes(of: folder).map { "process \($0)" }
    }

    @Test("U4: SIGTERM ends the start with an engine that accepts connections and never answers")
    func silentEngine() async throws {
        try await withTemporaryDirectory { folder async throws in
            let path = folder.appending(path: "engine.sock").path
            let engine = try SilentEngine(path: path)
            defer { engine.stop() }
            let process = try ChildProcess(
                Platform.cortex.path,
                [
                    "up", "--data-dir", folder.appending(path: "data").path, "--port", "0", "--operator-port", "0",
                    "--engine", "docker", "--engine-socket", path,
                ], environment: Platform.environment(in: folder),
                errors: .file(folder.appending(path: "log").path))
            try await expectEventually { engine.connections > 0 }
            let start = SystemClock().instant()
            process.send(SIGTERM)
            #expect(await process.wait() == 0)
            #expect(SystemClock().instant() - start < .seconds(23))
        }
    }

    @Test("U4: a closed terminal (SIGHUP) drains like SIGTERM: the exit status is 0 and no pod is left")
    func hangup() async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(.sandbox, in: folder)
            try await platform.deploy("echo", pod: "termination_grace_period: 1s")
            #expect(!Self.processes(of: folder).isEmpty)
            #expect(try await Self.stop(platform, with: SIGHUP) == 0)
            try await expectEventually { Self.processes(of: folder).isEmpty }
        }
    }

    @Test("U4: SIGQUIT and GET /debug/state show the state, and the platform continues")
    func state() async throws {
        try await Platform.with(.sandbox) { (platform) async throws in
            try await platform.deploy("echo", pod: "termination_grace_period: 1s")
            platform.send(SIGQUIT)
            try await expectEventually { platform.log.contains("queue of echo: 0 in queue, 0 in progress") }
            #expect(platform.log.contains("state of cortex \(CortexVersion.current)"))
            #expect(platform.log.contains(#/replica echo-\w+ of echo: running, 0 requests inside/#))
            let url = "\(platform.addresses.operator)/debug/state"
            #expect(try await HTTP.get(url).status == 401)
            let tokens = try String(
                contentsOf: platform.data.appending(path: "tokens.json"), encoding: .utf8)
            let token = try #require(tokens.firstMatch(of: #/"user": ?"([^"]+)"/#)?.1)
            let answer = try await HTTP.get(url, headers: [("Authorization", "Bearer \(token)")])
            let document = try JSONDecoder().decode(StateDocument.self, from: Data(answer.text.utf8))
            #expect(document.replicas.map(\.phase) == ["running"])
            #expect(document.queues["echo"] == QueueCounts())
            #expect(document.operations.contains { $0.name == "GET /debug/state" })
            #expect(document.connections > 0 && document.missing.isEmpty && !document.isStopping)
            #expect(!platform.log.contains(token))
        }
    }

    @Test(
        "U5, N9: an invalid host ends the start with one line that names --host, also with port 0, and no secret",
        arguments: [
            ["--host", "nosuchhost.invalid", "--port", "0", "--operator-port", "0"],
            ["--host", "10.255.255.1", "--port", "0", "--operator-port", "0"],
            ["--host", "10.255.255.1", "--port", "18123", "--operator-port", "18124"],
            ["--host", "::ffff:ffff", "--port", "0", "--operator-port", "0"],
            ["--store", "postgres://user:hunter2@host/db?password=hunter2", "--port", "0", "--operator-port", "0"],
        ])
    func wrongHost(_ arguments: [String]) async throws {
        try await withTemporaryDirectory { folder async throws in
            let start = SystemClock().instant()
            let result = try await ChildProcess.run(
                Platform.cortex.path,
                ["up", "--engine", "sandbox", "--data-dir", folder.appending(path: "data").path] + arguments,
                environment: Platform.environment(in: folder))
            #expect(SystemClock().instant() - start < .seconds(20))
            #expect(result.status == (arguments[0] == "--store" ? 2 : 1), "\(result.errors)")
            let lines = result.errors.split(separator: "\n").filter { $0.hasPrefix("error: ") }
            #expect(lines.count == 1 && lines[0].contains(arguments[0]), "\(result.errors)")
            #expect(!result.errors.contains("hunter2") && !result.errors.contains("ServiceGroup"))
        }
    }

    /// Processes whose command line names the folder, except the platform.
    private static func processes(of folder: URL) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { process in
            guard let line = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return false }
            let text = String(decoding: line, as: UTF8.self)
            return text.contains(folder.path + "/data/pods") && !text.contains("\0up\0")
        }
    }
}

/// A unix server that accepts connections and never answers.
private final class SilentEngine: Sendable {
    private let count = Mutex(0)
    private let listener: CInt
    var connections: Int { count.withLock { $0 } }

    init(path: String) throws {
        let listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { place in
            place.copyBytes(from: path.utf8.prefix(place.count - 1))
        }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, listen(listener, 16) == 0 else { throw PlatformError(.setup, "no socket") }
        self.listener = listener
        try PlatformThread.start(name: "silent-engine") { [self] in
            while accept(listener, nil, nil) >= 0 { count.withLock { $0 += 1 } }
        }
    }

    func stop() { shutdown(listener, CInt(SHUT_RDWR)) }
}
