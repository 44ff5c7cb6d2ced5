import Core
import Foundation
import NIOHTTP1
import Support
import TestSupport
import Testing

/// Crash and shutdown of a platform that serves RealtimeAPIs. Each test has its own platform.
@Suite("Running a platform with RealtimeAPIs", .serialized, .timeLimit(.minutes(4)))
struct RealtimeRunningTests {
    @Test(
        "R17: kill -9 under load: the pods keep running and serve at once after the next start, and nothing is delivered twice",
        arguments: Platform.EngineKind.allCases)
    func kill(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            let shared = folder.appending(path: "shared")
            try FileManager.default.createDirectory(at: shared, withIntermediateDirectories: true)
            chmod(shared.path, 0o777)
            let platform = try await Platform.start(engine, in: folder)
            try await platform.deploy(
                file: try await platform.realtimeYAML(
                    "survivor", environment: ["HITS: /shared/hits"], volumes: ["\(shared.path):/shared"]))
            let before = try await platform.replicas(of: "survivor")
            let callers = RealtimeCallers()
            try await callers.run(20, calling: "\(platform.addresses.gateway)/survivor", untilFault: true) {
                try await expectEventually { callers.served.count > 200 }
                await platform.kill()
            }
            let again = try await Platform.start(engine, in: folder)
            let clock = SystemClock()
            let start = clock.instant()
            let answer = try await again.get("/survivor/hit/last")
            let took = clock.instant() - start
            #expect(answer.status == 200, "\(answer.text)")
            // The limit of R17 is 1 s; a loaded machine may need longer.
            #expect(took < .seconds(3), "\(took)")
            #expect(answer.json?["replica"].string == before.first && before.count == 1)
            let hits = try String(contentsOf: shared.appending(path: "hits"), encoding: .utf8).split(separator: "\n")
            #expect(hits.count == Set(hits).count, "\(hits.count - Set(hits).count) were delivered twice")
            #expect(Set(callers.served.map { "\($0)" }).isSubset(of: Set(hits.map(String.init))))
            try await again.delete("survivor")
            #expect(try await again.stop() == 0)
        }
    }

    @Test(
        "R17, U4: SIGTERM: the request inside finishes with Connection: close, a waiting one gets 503 unavailable, the status is 0"
    )
    func terminate() async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(.sandbox, in: folder)
            try await platform.deploy(
                file: try await platform.realtimeYAML("ending", pod: ["max_concurrency: 1", "max_queue_length: 10"]))
            @Sendable func requests() async throws -> JSON? {
                try await platform.describe("ending")?["status"]["requests"]
            }
            async let inside = platform.get("/ending/sleep/8")
            try await expectEventually { try await requests()?["inside"].int == 1 }
            async let waiting = platform.get("/ending/x")
            try await expectEventually { try await requests()?["waiting"].int == 1 }
            let status = try await platform.stop()
            let (finished, refused) = try await (inside, waiting)
            #expect(status == 0, "\(platform.log.suffix(2000))")
            #expect(finished.status == 200 && finished.origin == "api", "\(finished.text)")
            #expect(finished.json?["slept"].double == 8)
            #expect(finished.headers.first(name: "Connection")?.lowercased() == "close", "\(finished.headers)")
            #expect(refused.status == 503 && refused.kind == "unavailable", "\(refused.text)")
            #expect(refused.origin == "gateway")
        }
    }

    @Test("X8: a roll-back of the guard is kept by kill -9 directly after it, until cortex split --resume")
    func guardSurvivesKill() async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(.sandbox, in: folder)
            let splitter = """
                - name: guarded
                  kind: TrafficSplitter
                  apis: [{name: stable, weight: 50}, {name: canary, weight: 50}]
                  guard: {api: canary, window: 10s, min_requests: 5}

                """
            try await platform.deploy(
                file: splitter + (try await platform.realtimeYAML("stable"))
                    + (try await platform.realtimeYAML("canary", environment: ["STATUS: \"500\""])))
            for number in 0..<20 { _ = try await platform.get("/guarded/hit/\(number)") }
            try await expectEventually(within: .seconds(30), "it was not rolled back") {
                try await platform.describe("guarded")?["status"]["split"]["state"].string == "rolled_back"
            }
            await platform.kill()

            let again = try await Platform.start(.sandbox, in: folder)
            func targets() async throws -> Set<String> {
                var found: Set<String> = []
                for number in 0..<30 {
                    let answer = try await again.get("/guarded/hit/\(number)")
                    found.insert(answer.headers.first(name: "X-Cortex-API") ?? "\(answer.status)")
                }
                return found
            }
            #expect(try await targets() == ["stable"])
            let split = try await again.describe("guarded")?["status"]["split"]
            #expect(
                split?["state"].string == "rolled_back" && split?["api"].string == "canary",
                "\(String(describing: split))")
            #expect(split?["reason"].string?.isEmpty == false)
            let resumed = try await again.cli("split", "guarded", "--resume")
            #expect(resumed.status == 0, "\(resumed)")
            #expect(try await again.describe("guarded")?["status"]["split"]["state"].string == "guarded")
            #expect(try await targets() == ["stable", "canary"])
            try await again.delete("guarded", "stable", "canary")
            #expect(try await again.stop() == 0)
        }
    }
}
