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
            let stream = try await engine.logs(container: "api", pod: "hello-1", follow: true, tail: nil).lines
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

    @Test("O4: lines that Podman stored, but left out of the stream of a container that stopped, are followed too")
    func leftOut() async throws {
        let looks = Mutex(0)
        try await DockerDifferencesTests.withEngine(version: StubDaemon.podman) { request in
            if request.path.hasSuffix("/logs") {
                guard request.query.contains("follow=1") else { return .chunks([frame("one\n"), frame("two\n")]) }
                return .chunks([frame("one\n")])
            }
            guard let answer = Self.answer(request, .running) else { return nil }
            // It runs when the stream is opened, has stopped at its end, and is gone after the next read.
            switch looks.withLock({
                $0 += 1; return $0
            }) {
            case 1...2: return answer
            case 3...4:
                return .json(
                    #"{"Id":"theid","State":{"Running":false,"StartedAt":"2026-11-23T21:02:31Z","#
                        + #""FinishedAt":"2026-11-23T21:02:41Z"}}"#)
            default: return .status(404)
            }
        } _: { (engine, _) async throws in
            var lines: [String] = []
            for try await line in try await engine.logs(container: "api", pod: "hello-1", follow: true, tail: nil).lines
            {
                lines.append(line)
            }
            #expect(lines == ["one", "two"])
        }
    }

    @Test(
        "O4: a log that an engine does not tell to its end is given up, with what it told handed on",
        arguments: [StubDaemon.docker, StubDaemon.podman], [nil, 5])
    func unfinished(version: String, tail: Int?) async throws {
        let clock = ManualClock()
        try await DockerDifferencesTests.withEngine(version: version, clock: clock) { request in
            if request.path.hasSuffix("/logs") { return .chunks([frame("one\n")], staysOpen: true) }
            return Self.answer(request, .running)
        } _: { (engine, daemon) async throws in
            let stream = try await engine.logs(container: "api", pod: "hello-1", follow: false, tail: tail).lines
            let lines = Mutex<[String]>([])
            let outcome = Outcome { for try await line in stream { lines.withLock { $0.append(line) } } }
            try await expectEventually { daemon.requests("GET", "/logs").count == 1 }
            #expect(outcome.result == nil)
            try await expectEventually {
                clock.advance(by: .seconds(10))
                return outcome.result != nil
            }
            #expect((outcome.error as? PlatformError)?.code == .engineUnavailable)
            // Podman is asked for all of it first, to count from the end.
            if tail == nil { #expect(lines.withLock { $0 } == ["one"]) }
        }
    }

    @Test(
        "C14: what happened before the engine tells its events is looked at; events that stay away are asked for anew")
    func mutedEvents() async throws {
        let clock = ManualClock()
        let pod = #"{"Id":"1","State":"running","Labels":{"cortex.pod":"hello-1","cortex.role":"pod-init"}}"#
        try await DockerDifferencesTests.withEngine(clock: clock) { request in
            if request.path.hasSuffix("/events") { return .chunks([Array("\n".utf8)], staysOpen: true) }
            return request.path.hasSuffix("/containers/json") ? .json("[\(pod)]") : nil
        } _: { (engine, daemon) async throws in
            let hints = engine.hints()
            let count = Mutex(0)
            let listener = Task { for await hint in hints where hint == "hello-1" { count.withLock { $0 += 1 } } }
            try await expectEventually { count.withLock { $0 } == 1 }
            #expect(daemon.requests("GET", "/events").count == 1)
            try await expectEventually {
                clock.advance(by: .seconds(30))
                return count.withLock { $0 } == 2
            }
            #expect(daemon.requests("GET", "/events").count == 2)
            listener.cancel()
        }
    }
}
