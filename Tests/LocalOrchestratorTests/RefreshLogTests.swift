import Core
import Synchronization
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Logs through refreshes", .timeLimit(.minutes(1)))
struct RefreshLogTests {
    @Test(
        "O4: a log that is followed through 50 refreshes in a row shows the first and last line of every container, and does not end",
        arguments: [true, false])
    func refreshes(waits: Bool) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let (engine, orchestrator) = (fixture.engine, fixture.orchestrator)
            engine.narrate()
            await orchestrator.apply(OrchestratorFixture.api(deployment: "d0", containers: 2), replicas: 2)
            _ = await fixture.ready { $0.count == 2 }
            let stream = try await orchestrator.logs(api: "echo", options: LogOptions(follow: true))
            let seen = Mutex<[String]>([])
            let hasEnded = Mutex(false)
            let reader = Task {
                defer { hasEnded.withLock { $0 = true } }
                try await stream.read { batch in
                    seen.withLock { $0 += batch.lines.logLines.map { "\(batch.container): \($0)" } }
                }
            }
            try await expectEventually { seen.withLock { $0.count } == 4 }
            for number in 1...50 {
                let api = OrchestratorFixture.api(deployment: "d\(number)", containers: 2)
                await orchestrator.apply(api, replicas: 2)
                guard waits || number == 50 else { continue }
                // The clock does not advance: only the changes lead to the next step.
                _ = await fixture.ready { $0.count == 2 && $0.allSatisfy { $0.api.deploymentID == "d\(number)" } }
            }
            try await expectEventually { engine.pods.count == 2 }
            let started = engine.calls.filter { $0.hasPrefix("start ") }.map { $0.dropFirst("start ".count) }
            #expect(!waits || started.count == 102)
            let running = Set(engine.pods.keys)
            var expected: [String] = []
            for pod in started {
                for container in ["main", "side1"] {
                    expected.append("\(container): first line of \(pod)")
                    if !running.contains(String(pod)) { expected.append("\(container): last line of \(pod)") }
                }
            }
            let all = expected.sorted()
            try await expectEventually { seen.withLock { $0.count } >= all.count }
            #expect(seen.withLock { $0.sorted() } == all)
            #expect(!hasEnded.withLock { $0 })
            reader.cancel()
            _ = await reader.result
        }
    }
}
