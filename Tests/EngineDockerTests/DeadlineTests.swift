import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import EngineDocker

/// An engine that stops answering in the middle of a call: every operation ends, by its deadline and when it is
/// cancelled.
@Suite("An engine that stops answering", .timeLimit(.minutes(5)))
struct DeadlineTests {
    enum Operation: String, CaseIterable, Sendable {
        case setUp, prepare, start, restart, stopPod, stopContainer, list, exec, shutDown
    }

    /// The calls at which the engine stops.
    private static let places = [
        "/info", "/networks", "/images/", "/images/create", "/containers/json", "/containers/create", "/start", "/stop",
        "/json", "/exec",
    ]

    private static func answer(_ request: StubDaemon.Request) -> StubDaemon.Answer? {
        let path = request.path
        if path.hasSuffix("/images/create") { return .json("{}") }
        if path.contains("/images/app") || path.contains("registry.example") { return nil }
        if path.contains("/images/") { return .json(#"{"Id":"sha256:1"}"#) }
        if path.hasSuffix("/networks/cortex-abc.pods") { return .json(DockerDifferencesTests.network) }
        if path.hasSuffix("/containers/create") { return .json(#"{"Id":"new"}"#, status: 201) }
        if path.hasSuffix("/cortex-abc-hello-1/json") {
            return .json(DockerDifferencesTests.inspected("owner", pod: "hello-1", ["cortex.containers": "api"]))
        }
        if path.hasSuffix("/cortex-abc-hello-1.api/json") {
            return .json(DockerDifferencesTests.inspected("member", pod: "hello-1", member: "api"))
        }
        if path.hasSuffix("/member/exec") { return .json(#"{"Id":"e"}"#, status: 201) }
        if path.hasSuffix("/exec/e/start") { return .chunks([]) }
        if path.hasSuffix("/exec/e/json") { return .json(#"{"Running":false,"ExitCode":0}"#) }
        return request.method == "GET" ? nil : .status(204)
    }

    private static func run(_ operation: Operation, _ engine: DockerEngine) async throws {
        let plan = DockerDifferencesTests.plan()
        switch operation {
        case .setUp: try await engine.setUp()
        case .prepare: try await engine.prepare(plan) { _ in }
        case .start: try await engine.start(plan)
        case .restart: try await engine.restart(container: "api", of: plan)
        case .stopPod: try await engine.stop(pod: "hello-1", grace: .seconds(1))
        case .stopContainer: try await engine.stop(container: "api", of: "hello-1", grace: .seconds(1))
        case .list: _ = try await engine.list()
        case .exec: _ = try await engine.exec(["x"], container: "api", pod: "hello-1", timeout: .seconds(30))
        case .shutDown: await engine.shutDown()
        }
    }

    @Test(
        "U4: every operation ends by its deadline, at whatever call the engine stops answering",
        arguments: Operation.allCases, places)
    func deadline(operation: Operation, place: String) async throws {
        try await hanging(operation, at: place) { (outcome, clock, _) async throws in
            let began = clock.instant()
            try await expectEventually(within: .seconds(60)) {
                if outcome.result != nil { return true }
                clock.advance(by: .seconds(20))
                return false
            }
            let passed = clock.instant() - began
            // A pull may take an hour, everything else no longer than a few calls.
            #expect(passed <= (operation == .prepare ? .seconds(3700) : .seconds(1800)), "\(passed)")
        }
    }

    @Test(
        "U4: every operation that is cancelled ends within seconds, at whatever call the engine stops answering",
        arguments: Operation.allCases, places)
    func cancellation(operation: Operation, place: String) async throws {
        try await hanging(operation, at: place) { (outcome, clock, daemon) async throws in
            _ = try await eventually(within: .milliseconds(300)) {
                outcome.result != nil || daemon.requests.contains { $0.path.contains(place) }
            }
            outcome.cancel()
            let began = clock.instant()
            try await expectEventually(within: .seconds(30)) {
                if outcome.result != nil { return true }
                clock.advance(by: .milliseconds(500))
                return false
            }
            let passed = clock.instant() - began
            #expect(passed <= .seconds(60), "\(passed)")
        }
    }

    /// Runs an operation on an engine that takes the calls to `place` and never answers them.
    private func hanging(
        _ operation: Operation, at place: String,
        _ body: (Outcome, ManualClock, StubDaemon) async throws -> Void
    ) async throws {
        let clock = ManualClock()
        try await DockerDifferencesTests.withEngine(clock: clock) { request in
            let isTheOne = request.path.contains(place) && !request.path.hasSuffix("/version")
            return isTheOne ? .chunks([], staysOpen: true) : Self.answer(request)
        } _: { (engine, daemon) async throws in
            let outcome = Outcome { try await Self.run(operation, engine) }
            try await body(outcome, clock, daemon)
            // Its own limit ends this as well.
            let end = Outcome { await engine.shutDown() }
            try await expectEventually(within: .seconds(60), "shutting down waits for ever") {
                clock.advance(by: .seconds(1))
                return end.result != nil
            }
        }
    }
}
