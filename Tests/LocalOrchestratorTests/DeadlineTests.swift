import Core
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import LocalOrchestrator

/// An engine that does not answer, following cancellation or ignoring it (contract U4, N4; architecture decision 12).
@Suite("U4, N4: engines that do not answer")
struct DeadlineTests {
    private func replica(_ fixture: OrchestratorFixture) async -> ReplicaStatus? {
        await fixture.orchestrator.status(api: "echo")?.replicas.first
    }

    @Test("U4: a start that does not end is given up after its limit and tried again; other APIs are not delayed")
    func start() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.hang("start echo", ignoringCancellation: true)
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { fixture.engine.calls.contains("start echo-p1") }
            await fixture.orchestrator.apply(OrchestratorFixture.api("other"), replicas: 1)
            _ = await fixture.ready { $0.map(\.api.name) == ["other"] }
            let began = fixture.clock.instant()
            try await fixture.advance(by: .seconds(5)) { await replica(fixture)?.state == .failed }
            #expect(fixture.clock.instant() - began >= Limits.engineStart)
            #expect(await replica(fixture)?.reason == "The container engine did not finish within 180 s: start pod.")
            try await fixture.advance() { fixture.engine.calls.count { $0 == "start echo-p1" } >= 2 }
            fixture.engine.releaseHanging()
            try await fixture.advance() { await replica(fixture)?.state == .ready }
        }
    }

    @Test(
        "A13, U4: deleting an API whose images are being pulled cancels the pull at once",
        arguments: ["prepare", "start"])
    func deleteWhileStarting(_ operation: String) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.hang("\(operation) echo-p1")
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { fixture.engine.hangingCalls == 1 }
            await fixture.orchestrator.delete(api: "echo")
            // Without any time passing.
            try await expectEventually { fixture.engine.calls.contains("stop echo-p1") }
            #expect(fixture.engine.hangingCalls == 0)
            // The same name again, at once.
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.map(\.id) == ["echo-p2"] }
            #expect(fixture.engine.pods.count == 1)
        }
    }

    @Test("U4: an engine that ignores the cancellation of a start delays neither the removal nor the next replica")
    func ignoredCancellation() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.hang("start echo-p1", ignoringCancellation: true)
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { fixture.engine.hangingCalls == 1 }
            await fixture.orchestrator.apply(OrchestratorFixture.api(deployment: "d2"), replicas: 1)
            _ = await fixture.ready { $0.map(\.id) == ["echo-p2"] }
            try await fixture.advance() { fixture.engine.calls.contains("stop echo-p1") }
            // It starts after all, but is not needed any more, so it is removed.
            fixture.engine.releaseHanging()
            try await fixture.advance() { fixture.engine.calls.count { $0 == "stop echo-p1" } >= 2 }
            try await fixture.advance() { Set(fixture.engine.pods.keys) == ["echo-p2"] }
        }
    }

    @Test("N4: a pod that cannot be removed delays no other, is reported and tried again")
    func removal() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 2)
            _ = await fixture.ready { $0.count == 2 }
            fixture.engine.hang("stop echo-p1", ignoringCancellation: true)
            await fixture.orchestrator.apply(OrchestratorFixture.api(deployment: "d2"), replicas: 2)
            _ = await fixture.ready { Set($0.map(\.id)) == ["echo-p3", "echo-p4"] }
            try await expectEventually { fixture.engine.pods["echo-p2"] == nil }
            try await fixture.advance(by: .seconds(5)) {
                await fixture.orchestrator.status(api: "echo")?.replicas.first?.reason?
                    .hasPrefix("it cannot be removed: The container engine did not finish") == true
            }
            try await fixture.advance() { fixture.engine.calls.count { $0 == "stop echo-p1" } >= 2 }
            fixture.engine.releaseHanging()
            try await fixture.advance() { fixture.engine.pods.count == 2 }
        }
    }

    @Test("N4: a pod of no API is removed once at a time, however long that takes")
    func foreign() async throws {
        let api = OrchestratorFixture.api("gone")
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                fixture.engine.insert(
                    PodPlan(of: api, id: "gone-before", createdAt: fixture.clock.now(), clientConfiguration: ""))
                fixture.engine.hang("stop gone-before")
            },
            body: { fixture async throws in
                try await expectEventually { fixture.engine.hangingCalls == 1 }
                for _ in 0..<8 {
                    fixture.clock.advance(by: .seconds(5))
                    try await Task.sleep(for: .milliseconds(2))
                }
                #expect(fixture.engine.calls.count { $0 == "stop gone-before" } == 1)
                try await fixture.advance(by: .seconds(5)) {
                    fixture.engine.calls.count { $0 == "stop gone-before" } == 2
                }
                fixture.engine.releaseHanging()
                try await fixture.advance(by: .seconds(5)) { fixture.engine.pods.isEmpty }
            })
    }

    @Test("U4: a list that is not answered is given up; the replicas serve on and the reason is shown")
    func list() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.hang("list", ignoringCancellation: true)
            try await fixture.advance(by: .seconds(5)) {
                await fixture.orchestrator.status(api: "echo")?.reason
                    == "The container engine did not finish within 20 s: list pods."
            }
            #expect(await fixture.latest().count == 1)
            // A delete does not need the list.
            await fixture.orchestrator.delete(api: "echo")
            try await expectEventually { fixture.engine.calls.contains("stop echo-p1") }
            fixture.engine.releaseHanging()
        }
    }

    @Test("U4: asking for a specification's problems and for the capacity has a time limit")
    func questions() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            _ = await fixture.orchestrator.capacity()
            fixture.engine.hang("problems", ignoringCancellation: true)
            let problems = Task {
                await fixture.orchestrator.problems(with: OrchestratorFixture.api().specification)
            }
            try await expectEventually { fixture.engine.hangingCalls == 1 }
            let done = Task { await problems.value }
            try await expectEventually {
                fixture.clock.advance(by: .seconds(5))
                return fixture.clock.sleepers < 100
            }
            fixture.clock.advance(by: Limits.engineQuery)
            #expect(await done.value.first?.hasPrefix("the container engine could not be asked") == true)
            fixture.engine.releaseHanging()
        }
    }

    @Test(
        "U4: the platform ends in time whatever the engine does",
        arguments: ["list", "capacity", "prepare", "start", "restart", "stop", "exec", ""])
    func shutdown(_ operation: String) async throws {
        let engine = FakeEngine()
        try await OrchestratorFixture.with(
            engine: engine, prepare: { _ in },
            body: { fixture async throws in
                // Its own run: the one of the fixture is only cancelled.
                let clock = ManualClock()
                let second = FakeEngine()
                let orchestrator = LocalOrchestrator(
                    engine: second, clock: clock,
                    configuration: .init(
                        clientConfiguration: { _, _ in "{}" }, makePodSuffix: { "\(UInt32.random(in: 0...(.max)))" }),
                    logger: .init(label: "test", factory: { _ in fixture.log.handler }))
                if ["prepare", "start", "list", "capacity", ""].contains(operation) {
                    second.hang(operation, ignoringCancellation: true)
                }
                let group = ServiceGroup(
                    configuration: .init(
                        services: [orchestrator], logger: .init(label: "test", factory: { _ in fixture.log.handler })))
                let run = Task { try await group.run() }
                let alive = Probe(handler: .exec(command: ["alive"]), period: .seconds(1), failureThreshold: 1)
                await orchestrator.apply(OrchestratorFixture.api(liveness: alive), replicas: 2)
                if ["restart", "stop", "exec"].contains(operation) {
                    for await ready in orchestrator.readyReplicas() where ready.count == 2 { break }
                    second.hang(operation, ignoringCancellation: true)
                    for id in second.pods.keys where operation == "restart" {
                        second.change(id) { $0.containers["main"] = .exited(ContainerExit(code: 1)) }
                    }
                }
                if operation != "stop" {
                    try await expectEventually {
                        clock.advance(by: .milliseconds(250))
                        return second.hangingCalls > 0
                    }
                }
                let began = clock.instant()
                await group.triggerGracefulShutdown()
                let ended = Task {
                    let result = await run.result
                    return result
                }
                let hasEnded = Flag()
                Task {
                    _ = await ended.value
                    hasEnded.set()
                }
                try await expectEventually {
                    if hasEnded.isSet { return true }
                    clock.advance(by: .milliseconds(500))
                    return hasEnded.isSet
                }
                #expect(clock.instant() - began < .seconds(60))
                let messages = fixture.log.messages
                #expect(!messages.contains { $0.contains("CancellationError") }, "\(messages)")
                // Said only of what is gone.
                #expect(messages.count { $0 == "replica stopped" } <= second.calls.count { $0.hasPrefix("stop ") })
                if operation == "stop" { #expect(!messages.contains("replica stopped"), "\(messages)") }
                second.releaseHanging()
            })
    }

    @Test(
        "U4: a drain that the end of the platform cuts short is not logged as a stopped replica, nor a cancelled list")
    func nothingToLog() async throws {
        let engine = FakeEngine()
        let recorder = Keep()
        try await OrchestratorFixture.with(
            engine: engine, prepare: { _ in },
            body: { fixture async throws in
                recorder.log = fixture.log
                await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
                let replica = try #require(await fixture.ready { $0.count == 1 }.first)
                #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
                await fixture.orchestrator.delete(api: "echo")
                engine.hang("list")
                fixture.clock.advance(by: .seconds(5))
                try await expectEventually { engine.hangingCalls == 1 }
            })
        let messages = recorder.log?.messages ?? []
        #expect(messages.contains("replica started"))
        #expect(!messages.contains { $0.contains("replica stopped") || $0.contains("cannot list pods") }, "\(messages)")
        #expect(engine.pods.count == 1, "it is left to the next start")
    }

    @Test("O2: the progress of a pull is shown in order")
    func progress() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.setProgress((1...50).map { "pulling \($0) %" })
            fixture.engine.hang("prepare")
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { await replica(fixture)?.reason == "pulling 50 %" }
            fixture.engine.releaseHanging()
            _ = await fixture.ready { $0.count == 1 }
        }
    }

    @Test("C14: a slow restart does not count as health")
    func slowRestart() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.hang("restart", ignoringCancellation: true)
            fixture.engine.change("echo-p1") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
            try await fixture.advance() { fixture.engine.hangingCalls == 1 }
            fixture.clock.advance(by: .seconds(170))
            fixture.engine.releaseHanging()
            try await fixture.advance() { await replica(fixture)?.state == .ready }
            // Ten minutes after the restart began, not yet after it ended.
            fixture.clock.advance(by: .seconds(440))
            fixture.engine.change("echo-p1") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
            try await expectEventually { await replica(fixture)?.restarts == 2 }
            let exited = fixture.clock.instant()
            try await fixture.advance(by: .milliseconds(250)) { fixture.engine.restarted.count == 2 }
            #expect(fixture.clock.instant() - exited >= .seconds(2), "the wait doubles, it does not begin anew")
        }
    }

    @Test("C13: what is inside a container that its liveness probe kills learns the reason")
    func livenessReason() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let probe = Probe(handler: .exec(command: ["alive"]), period: .seconds(1), failureThreshold: 1)
            await fixture.orchestrator.apply(OrchestratorFixture.api(liveness: probe), replicas: 1)
            let replica = try #require(await fixture.ready { $0.count == 1 }.first)
            #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
            fixture.engine.hang("stop main")
            fixture.engine.setExec(ExecResult(exitCode: 1, output: "sick"))
            try await fixture.advance() { fixture.engine.calls.contains("stop main of echo-p1") }
            #expect(
                replica.activity.cutReason == .livenessProbe("main: the command exited with 1: sick"),
                "known before the container is killed")
            #expect(!replica.activity.isCut, "the container may still answer")
            replica.activity.end()
            fixture.engine.setExec(ExecResult(exitCode: 0, output: ""))
            fixture.engine.releaseHanging()
            try await fixture.advance() { await fixture.latest().count == 1 }
            #expect(replica.activity.cutReason == nil)
        }
    }
}

/// Set once, by another task.
private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

/// Hands a fixture's log out of its scope.
private final class Keep: Sendable {
    private let value = Mutex<LogRecorder?>(nil)
    var log: LogRecorder? {
        get { value.withLock { $0 } }
        set { value.withLock { $0 = newValue } }
    }
}
