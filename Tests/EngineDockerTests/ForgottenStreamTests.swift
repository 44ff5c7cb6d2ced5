import Core
import Synchronization
import TestSupport
import Testing

@testable import EngineDocker

/// A log that is followed ends with the container even where the engine forgets to end it.
@Suite("Streams that an engine forgets", .timeLimit(.minutes(5)))
struct ForgottenStreamTests {
    private enum Phase { case running, gone }

    private static func answer(_ request: StubDaemon.Request, _ phase: Phase) -> StubDaemon.Answer? {
        if request.path.hasSuffix("/logs") {
            guard request.query.contains("follow=1") else { return .chunks([frame("one\n")]) }
            return .chunks([frame("one\n")], staysOpen: true)
        }
        guard request.path.hasSuffix("/json"), request.path.contains("hello-1.api") || request.path.contains("/theid/")
        else { return nil }
        switch phase {
        case .running:
            return .json(#"{"Id":"theid","State":{"Running":true,"StartedAt":"2026-11-23T21:02:31Z"}}"#)
        case .gone: return .status(404)
        }
    }

    @Test("O4: a stream that Podman never ends is left once its container is gone, with every line handed on")
    func forgotten() async throws {
        let clock = ManualClock()
        let phase = Mutex(Phase.running)
        try await DockerDifferencesTests.withEngine(version: StubDaemon.podman, clock: clock) { request in
            Self.answer(request, phase.withLock { $0 })
        } _: { (engine, daemon) async throws in
            let stream = try await engine.logs(container: "api", pod: "hello-1", follow: true, tail: nil)
            var lines = stream.makeAsyncIterator()
            #expect(try await lines.next() == "one")
            // While it runs, silence means nothing.
            for _ in 0..<10 {
                try await expectEventually { clock.sleepers > 0 }
                clock.advance(by: .seconds(1))
            }
            #expect(daemon.requests("GET", "/logs").count == 1)
            let rest = Task {
                var rest: [String] = []
                for try await line in stream { rest.append(line) }
                return rest
            }
            phase.withLock { $0 = .gone }
            let isDone = Mutex(false)
            let end = Task {
                _ = await rest.result
                isDone.withLock { $0 = true }
            }
            try await expectEventually {
                clock.advance(by: .seconds(1))
                return isDone.withLock { $0 }
            }
            await end.value
            #expect(try await rest.value == [])
        }
    }
}
