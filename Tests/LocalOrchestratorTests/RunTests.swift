import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Runs of tasks", .timeLimit(.minutes(1)))
struct RunTests {
    static func plan(
        _ pod: String = "t-j1-0-a", index: Int = 0, timeout: Duration? = nil, liveness: Probe? = nil,
        compute: Compute = Compute()
    ) -> RunPlan {
        var api = OrchestratorFixture.api("task", grace: .seconds(30), liveness: liveness, containers: 2)
        api.specification.pod.containers[0].compute = compute
        return RunPlan(
            pod: pod, api: api, job: JobContext(jobID: "j1", workers: 2), index: index, attempt: 1, timeout: timeout)
    }

    static func exit(_ code: Int, at time: Timestamp? = nil) -> @Sendable (inout FakeEngine.FakePod) -> Void {
        {
            $0.containers["main"] = .exited(ContainerExit(code: code))
            $0.endedAt["main"] = time
        }
    }

    /// The state of the only run.
    static func state(_ fixture: OrchestratorFixture) async -> RunState? {
        for await states in fixture.orchestrator.runs() { return states.first }
        return nil
    }

    static func until(
        _ fixture: OrchestratorFixture, _ condition: @escaping @Sendable (RunState?) -> Bool
    ) async throws {
        try await fixture.advance { condition(await state(fixture)) }
    }

    static func untilOver(_ fixture: OrchestratorFixture) async throws -> RunEnd {
        try await until(fixture) { $0?.end != nil }
        return try #require(await state(fixture)?.end)
    }

    @Test("T2, T6: a run ends with its first container, and its pod stays until it is acknowledged")
    func life() async throws {
        let recorder = TestRecorder()
        try await OrchestratorFixture.with(recorder: recorder) { fixture in
            await fixture.orchestrator.start(Self.plan())
        } body: { fixture in
            try await Self.until(fixture) { $0?.phase == .running }
            #expect(recorder.started == ["t-j1-0-a"])
            let api = Self.plan().api.name
            #expect(await fixture.orchestrator.hasPod("t-j1-0-a", of: api), "N1: its token is valid")
            // It serves no requests, so it is offered to nobody.
            #expect(await fixture.latest().isEmpty)
            fixture.engine.setLog(["a", "the reason"], of: "main", pod: "t-j1-0-a")
            let ended = fixture.clock.now() - .milliseconds(300)
            fixture.engine.change("t-j1-0-a", Self.exit(42, at: ended))
            let end = try await Self.untilOver(fixture)
            #expect(end.cause == .exit && end.exit?.code == 42 && end.container == "main" && end.endedAt == ended)
            #expect(await Self.state(fixture)?.lastLines == ["a", "the reason"])
            #expect(fixture.engine.calls.contains("stop side1 of t-j1-0-a"))
            let lists = fixture.engine.listCount
            try await fixture.advance { fixture.engine.listCount > lists + 2 }
            #expect(fixture.engine.pods["t-j1-0-a"] != nil && fixture.engine.restarted.isEmpty)
            await fixture.orchestrator.acknowledge(run: "t-j1-0-a")
            try await Self.until(fixture) { $0 == nil }
            #expect(fixture.engine.pods.isEmpty)
            #expect(await !fixture.orchestrator.hasPod("t-j1-0-a", of: api))
            #expect(recorder.logs["t-j1-0-a/main"] == "a\nthe reason\n")
        }
    }

    @Test("T4: a start that fails is tried again with increasing delays and leaves nothing; the reason is known")
    func startTrouble() async throws {
        try await OrchestratorFixture.with { fixture in
            for _ in 0..<2 { fixture.engine.failNextPrepare(with: PlatformError(.imageUnavailable, "no such image")) }
            let recorded = fixture.clock.now()
            await fixture.orchestrator.start(Self.plan())
            try await Self.until(fixture) { $0?.phase == .startFailed }
            let state = try #require(await Self.state(fixture))
            #expect(state.reason == "no such image")
            #expect((state.failingSince ?? recorded) - recorded < .seconds(5))
            try await Self.until(fixture) { $0?.phase == .running }
            #expect(await Self.state(fixture)?.failingSince == nil)
            #expect(fixture.engine.calls.count { $0 == "prepare t-j1-0-a" } == 3)
        }
    }

    @Test("T3: what is recorded before the containers start can fail the start")
    func recordFirst() async throws {
        let recorder = TestRecorder()
        recorder.failNext()
        try await OrchestratorFixture.with(recorder: recorder) { fixture in
            await fixture.orchestrator.start(Self.plan())
        } body: { fixture in
            try await Self.until(fixture) { $0?.phase == .startFailed }
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") })
            try await Self.until(fixture) { $0?.phase == .running }
            #expect(recorder.started == ["t-j1-0-a"])
        }
    }

    @Test("J5: a stop ends a run that runs, one that starts and one that waits")
    func stop() async throws {
        try await OrchestratorFixture.with { fixture in
            await fixture.orchestrator.start(Self.plan())
            try await Self.until(fixture) { $0?.phase == .running }
            await fixture.orchestrator.stop(run: "t-j1-0-a", grace: .seconds(3))
            #expect(try await Self.untilOver(fixture).cause == .stopped)
            #expect(fixture.engine.calls.contains("stop main of t-j1-0-a"))
        }
        try await OrchestratorFixture.with { fixture in
            fixture.engine.hang("start")
            await fixture.orchestrator.start(Self.plan())
            try await fixture.advance { fixture.engine.hangingCalls == 1 }
            await fixture.orchestrator.stop(run: "t-j1-0-a", grace: .seconds(3))
            #expect(try await Self.untilOver(fixture).cause == .stopped)
            #expect(fixture.engine.calls.contains("stop t-j1-0-a"))
        }
        try await OrchestratorFixture.with { fixture in
            fixture.engine.setCapacity(ComputeAmount(cpu: 1000, memory: 1 << 30))
            await fixture.orchestrator.start(Self.plan(compute: Compute(cpu: Quantity("2"))))
            try await Self.until(fixture) { $0?.phase == .waiting && $0?.reason?.hasPrefix("waits for room") == true }
            await fixture.orchestrator.stop(run: "t-j1-0-a", grace: .seconds(3))
            #expect(try await Self.untilOver(fixture).cause == .stopped)
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("prepare") })
        }
    }

    @Test("T9: an attempt ends at its timeout, also when the platform was restarted meanwhile")
    func timeout() async throws {
        let engine = FakeEngine()
        try await OrchestratorFixture.with(engine: engine) { fixture in
            await fixture.orchestrator.start(Self.plan(timeout: .seconds(60)))
        } body: { fixture in
            try await Self.until(fixture) { $0?.phase == .running }
            let began = try #require(await Self.state(fixture)?.startedAt)
            let end = try await Self.untilOver(fixture)
            #expect(end.cause == .timeout)
            #expect(end.endedAt - began >= .seconds(60) && end.endedAt - began < .seconds(120))
        }
        engine.insert(PodPlan(of: Self.plan("t-j1-0-b"), createdAt: Timestamp(seconds: 5), clientConfiguration: ""))
        try await OrchestratorFixture.with(engine: engine) { fixture in
            var plan = Self.plan("t-j1-0-b", timeout: .seconds(60))
            plan.startedAt = fixture.clock.now() - .seconds(50)
            await fixture.orchestrator.resume(plan)
        } body: { fixture in
            let began = fixture.clock.now()
            let end = try await Self.untilOver(fixture)
            #expect(end.cause == .timeout && fixture.clock.now() - began < .seconds(55))
        }
    }

    @Test("T9: a failing liveness probe ends the attempt and restarts nothing")
    func liveness() async throws {
        try await OrchestratorFixture.with { fixture in
            fixture.engine.setExec(ExecResult(exitCode: 1, output: "stuck"))
            await fixture.orchestrator.start(
                Self.plan(liveness: Probe(handler: .exec(command: ["check"]), failureThreshold: 1)))
            let end = try await Self.untilOver(fixture)
            #expect(end.cause == .exit && end.reason?.hasPrefix("liveness probe of main failed: ") == true)
            #expect(end.exit?.code == 143 && fixture.engine.restarted.isEmpty)
        }
    }

    @Test("T10: a run that ended while the platform was dead is over with its true exit code and time")
    func adoption() async throws {
        let engine = FakeEngine()
        let plan = PodPlan(of: Self.plan(), createdAt: Timestamp(seconds: 5), clientConfiguration: "")
        engine.insert(plan)
        engine.change(plan.id, Self.exit(7, at: Timestamp(seconds: 9)))
        try await OrchestratorFixture.with(engine: engine) { fixture in
            await fixture.orchestrator.resume(Self.plan())
        } body: { fixture in
            let end = try await Self.untilOver(fixture)
            #expect(end.exit?.code == 7 && end.endedAt == Timestamp(seconds: 9))
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") })
        }
    }

    @Test("T3: a run whose pod is gone is lost, and not started by itself")
    func lost() async throws {
        try await OrchestratorFixture.with { fixture in
            await fixture.orchestrator.resume(Self.plan())
        } body: { fixture in
            #expect(try await Self.untilOver(fixture).cause == .lost)
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") })
            await fixture.orchestrator.acknowledge(run: "t-j1-0-a")
            try await Self.until(fixture) { $0 == nil }
        }
        try await OrchestratorFixture.with { fixture in
            await fixture.orchestrator.start(Self.plan())
            try await Self.until(fixture) { $0?.phase == .running }
            fixture.engine.change("t-j1-0-a") { pod in
                pod.isAlive = false
                for name in pod.containers.keys { pod.containers[name] = .exited(ContainerExit(code: 137)) }
            }
            #expect(try await Self.untilOver(fixture).cause == .lost)
        }
    }

    @Test("T10: the pod of a task that is not declared is removed")
    func undeclared() async throws {
        let engine = FakeEngine()
        engine.insert(PodPlan(of: Self.plan(), createdAt: Timestamp(seconds: 5), clientConfiguration: ""))
        try await OrchestratorFixture.with(engine: engine) { _ in
        } body: { fixture in
            try await fixture.advance { engine.pods.isEmpty }
        }
    }

    @Test("T5, J9: runs that do not fit wait; lower indexes start first, and a run that is over holds no space")
    func capacity() async throws {
        try await OrchestratorFixture.with { fixture in
            fixture.engine.setCapacity(ComputeAmount(cpu: 1000, memory: 1 << 30))
            for index in [1, 0] {
                let compute = Compute(cpu: Quantity("700m"))
                await fixture.orchestrator.start(Self.plan("t-j1-\(index)-a", index: index, compute: compute))
            }
        } body: { fixture in
            try await fixture.advance { fixture.engine.pods.count == 1 }
            #expect(fixture.engine.pods["t-j1-0-a"] != nil)
            fixture.engine.change("t-j1-0-a", Self.exit(0))
            try await fixture.advance { fixture.engine.pods["t-j1-1-a"] != nil }
            #expect(fixture.engine.pods.count == 2)
        }
    }

    @Test("U4: a shutdown stops runs, but keeps the pod of one that is over and not acknowledged")
    func shutdown() async throws {
        let engine = FakeEngine()
        try await OrchestratorFixture.with(engine: engine) { fixture in
            await fixture.orchestrator.start(Self.plan("t-j1-0-a"))
            await fixture.orchestrator.start(Self.plan("t-j1-1-a", index: 1))
        } body: { fixture in
            try await fixture.advance { engine.pods.count == 2 }
            try await fixture.advance {
                for await states in fixture.orchestrator.runs() { return states.allSatisfy { $0.phase == .running } }
                return false
            }
            engine.change("t-j1-0-a", Self.exit(0))
            _ = try await Self.untilOver(fixture)
            await fixture.orchestrator.stopEverything()
            #expect(Array(engine.pods.keys) == ["t-j1-0-a"])
        }
    }
}
