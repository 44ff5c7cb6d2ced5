import Core
import Foundation
import PodmanSupport
import Support
import TestSupport
import Testing

/// Failures of the engine and of the machine. Each test has its own platform and Podman.
@Suite("Failures below the platform", .serialized, .timeLimit(.minutes(4)))
struct FailureRunTests {
    /// Runs `body` with a folder and, for Podman, with an engine of its own.
    private static func with(
        _ engine: Platform.EngineKind, _ body: (URL, PrivatePodman?) async throws -> Void
    ) async throws {
        let podman = engine == .podman ? try await PrivatePodman.separate() : nil
        try await podman?.load(try await TestImages.python())
        try await withTemporaryDirectory { try await body($0, podman) }
    }

    // Only these tests use the API name "lasting": control groups belong to the whole machine, and remains are searched
    // by name.
    private func replicas(_ platform: Platform) async throws -> [JSON] {
        try await platform.describe("lasting")?["status"]["replicas"].array ?? []
    }

    @Test(
        "U4, A10: the engine is killed and restarted: the request inside and those that arrive meanwhile are answered, no state is inferred, and containers that ended meanwhile are restarted"
    )
    func engineRestart() async throws {
        try await Self.with(.podman) { (folder, engine) async throws in
            let podman = try #require(engine)
            let platform = try await Platform.start(.podman, on: podman, in: folder)
            let api = try await platform.deploy("lasting", pod: "max_concurrency: 2")
            let before = try await replicas(platform).map { $0["id"].string }
            let inside = try await api.submit("2", do: "sleep")
            try await expectEventually { try await api.read(inside).json?["status"].string == "in_progress" }
            await podman.killService(removingSocket: false)
            let meanwhile = try await api.call("[1]", do: "verbatim").json
            #expect(meanwhile?["status"].string == "completed", "\(meanwhile as Any)")
            let first = try await api.ended(inside).json
            #expect(first?["status"].string == "completed" && first?["attempts"].int == 1, "\(first as Any)")
            try await expectEventually("the missing engine is not reported") {
                let status = try await platform.describe("lasting")?["status"]
                return status?["reason"].string?.contains("engine does not answer") == true
                    && status?["ready"].int == 1
            }
            // A container ends while no event can be sent.
            let process = try await podman.command(
                ["ps", "--filter", "label=cortex.role=member", "--format", "{{.Pid}}"])
            Foundation.kill(
                try #require(pid_t(process.trimmingCharacters(in: .whitespacesAndNewlines))), SIGKILL)
            let waiting = try await api.submit("[2]", do: "verbatim")
            try await podman.startService()
            #expect(try await api.ended(waiting).json?["status"].string == "completed")
            try await expectEventually("the replica is not as it was") {
                let status = try await platform.describe("lasting")?["status"]
                let replica = status?["replicas"][0]
                return status?["reason"].exists == false && replica?["state"].string == "ready"
                    && replica?["restarts"].int == 1
            }
            #expect(try await replicas(platform).map { $0["id"].string } == before)
            #expect(try await platform.cli("delete", "lasting", "-f").status == 0)
            try await expectEventually { try await platform.leftovers(of: "lasting").isEmpty }
            #expect(try await platform.stop() == 0)
        }
    }

    @Test(
        "U4, A10: after a power failure every dead pod is replaced, each request is answered, and no process that reuses the id of a dead one is touched",
        arguments: Platform.EngineKind.allCases)
    func powerCut(_ engine: Platform.EngineKind) async throws {
        try await Self.with(engine) { (folder, podman) async throws in
            let platform = try await Platform.start(engine, on: podman, in: folder)
            let api = try await platform.deploy("lasting", api: "autoscaling: {min_replicas: 2}")
            let before = Set(try await replicas(platform).compactMap { $0["id"].string })
            #expect(before.count == 2)
            var ids: [String] = []
            for _ in 0..<4 { ids.append(try await api.submit("1", do: "sleep")) }
            let second = ids[1]
            try await expectEventually { try await api.read(second).json?["status"].string == "in_progress" }
            await platform.kill()
            if let podman {
                try await podman.cutPower()
                try await podman.startService()
            } else {
                try await cutPower(platform, before)
            }

            let again = try await Platform.start(engine, on: podman, in: folder)
            let same = TestAPI(platform: again, name: "lasting")
            for id in ids {
                let document = try await same.ended(id).json
                #expect(document?["status"].string == "completed", "\(document as Any)")
            }
            try await expectEventually("two new replicas, and nothing else") {
                let now = try await replicas(again)
                return now.count == 2 && now.allSatisfy { $0["state"].string == "ready" }
                    && before.isDisjoint(with: now.compactMap { $0["id"].string })
            }
            for replica in before { #expect(try await again.leftovers(of: replica) == []) }
            let pods = try FileManager.default.contentsOfDirectory(atPath: again.data.appending(path: "pods").path)
            #expect(pods.filter { !$0.hasPrefix(".") }.count == 2, "\(pods)")
            #expect(try await again.cli("delete", "lasting", "-f").status == 0)
            try await expectEventually { try await again.leftovers(of: "lasting").isEmpty }
            #expect(try await again.stop() == 0)
        }
    }

    @Test(
        "A5, A10, A11: the clock is set an hour forward, then two hours back, each during a request: its first delivery is answered, and no replica is touched",
        arguments: Platform.EngineKind.allCases)
    func setClock(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            let clock = folder.appending(path: "ahead")
            func set(ahead: Duration) throws {
                // In place, because the program has the file mapped.
                let file = try FileHandle(forWritingTo: clock)
                try file.write(contentsOf: withUnsafeBytes(of: ahead.wholeMicroseconds) { Data($0) })
                try file.close()
            }
            try Data(count: 8).write(to: clock)
            let platform = try await Platform.start(
                engine, in: folder,
                environment: [
                    "LD_PRELOAD": Platform.programs.appending(path: "libSetClock.so").path, "SET_CLOCK": clock.path,
                ])
            let api = try await platform.deploy("lasting", api: "timeout: 60s")
            let before = try await replicas(platform).map { $0["id"].string }
            for ahead in [Duration.seconds(3600), .seconds(-3600)] {
                // Longer than the time between two rounds of upkeep.
                let id = try await api.submit("7", do: "sleep")
                try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
                try set(ahead: ahead)
                let document = try await api.ended(id).json
                #expect(document?["status"].string == "completed", "\(document as Any)")
                #expect(document?["attempts"].int == 1)
                // The order of such texts is the order of their times.
                let ended = try #require(document?["timestamp"].string)
                let about = SystemClock().now() + ahead
                #expect(ended > (about - .seconds(60)).rfc3339 && ended < (about + .seconds(60)).rfc3339)
            }
            #expect(!platform.log.contains("lease had run out"), "\(platform.log)")
            let after = try await replicas(platform)
            #expect(after.map { $0["id"].string } == before)
            #expect(after.allSatisfy { $0["state"].string == "ready" && $0["restarts"].int == 0 }, "\(after)")
            #expect(try await platform.stop() == 0)
        }
    }

    /// Kills the supervisors, and with them everything in their pods; removes the control groups. The folders stay,
    /// with the number of another process in them.
    private func cutPower(_ platform: Platform, _ pods: Set<String>) async throws {
        for pod in pods {
            try await platform.killPodInit(of: pod)
            let identity = platform.data.appending(path: "pods/\(pod)/init.pid")
            try await expectEventually {
                try await platform.leftovers(of: pod).allSatisfy { !$0.hasPrefix("process") }
            }
            try "\(ProcessInfo.processInfo.processIdentifier) 1\n".write(
                to: identity, atomically: false, encoding: .utf8)
        }
        for controller in ["memory", "cpu", "pids", "cpu,cpuacct", ""] {
            let parent = "/sys/fs/cgroup/" + controller
            let groups = (try? FileManager.default.contentsOfDirectory(atPath: parent)) ?? []
            for group in groups where pods.contains(where: { group.hasPrefix("cortex-\($0).") }) {
                rmdir(parent + "/" + group)
            }
        }
    }
}
