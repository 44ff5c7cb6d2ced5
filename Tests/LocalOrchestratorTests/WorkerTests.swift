import Core
import Synchronization
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Workers of Batch jobs", .timeLimit(.minutes(1)))
struct WorkerTests {
    static let job = JobContext(
        jobID: "j1", workers: 3, scheduledTime: "2026-11-30T03:00:00+01:00",
        files: [PodFile(name: "job.json", text: "{}\n")])

    static func set(_ count: Int = 3, api: DeployedAPI = OrchestratorFixture.api("sum"), released: Set<Int> = [])
        -> ReplicaSet
    {
        ReplicaSet(name: "b-j1", api: api, count: count, released: released, job: job)
    }

    /// Waits until the workers with these indexes are ready.
    static func ready(_ fixture: OrchestratorFixture, _ indexes: [Int]) async throws {
        try await fixture.advance {
            await fixture.orchestrator.workers(of: "b-j1").filter(\.isReady).map(\.index) == indexes
        }
    }

    @Test("J8: a worker's plan has the job's variables, its file, and the job as owner")
    func plan() {
        let plan = PodPlan(
            of: OrchestratorFixture.api("sum"), worker: 2, set: "b-j1", job: Self.job, id: "b-j1-2-x",
            createdAt: Timestamp(seconds: 1), clusterVersion: "1", clientConfiguration: "c")
        let variables = plan.containers[0].environment.map { "\($0.name)=\($0.value)" }
        #expect(
            variables == [
                "CORTEX_VERSION=1", "CORTEX_LOG_LEVEL=INFO", "CORTEX_CLI_CONFIG_DIR=/cortex/client",
                "CORTEX_PORT=8080", "CORTEX_API_NAME=sum", "CORTEX_REPLICA_ID=b-j1-2-x", "CORTEX_JOB_ID=j1",
                "CORTEX_WORKER_INDEX=2", "CORTEX_WORKER_COUNT=3", "CORTEX_ATTEMPT=1",
                "CORTEX_SCHEDULED_TIME=2026-11-30T03:00:00+01:00",
            ])
        #expect(plan.files == Self.job.files && !plan.hasArtifacts && plan.restart == .always)
        #expect(plan.owner.worker?.index == 2 && plan.owner.worker?.set == "b-j1" && plan.owner.version.name == "sum")
    }

    @Test("J8, T1: a run's plan has no port, its own arguments and variables, and a folder for artifacts")
    func runPlan() {
        var api = OrchestratorFixture.api("task", containers: 2)
        api.specification.pod.containers[0].env = ["A": "api", "B": "api"]
        api.specification.pod.containers[1].args = ["kept"]
        let run = RunPlan(
            pod: "t-j1-1-x", api: api, job: JobContext(jobID: "j1", workers: 2), index: 1, attempt: 4,
            args: ["--id=$(CORTEX_JOB_ID)"], env: ["B": "job", "C": "job"])
        let plan = PodPlan(of: run, createdAt: Timestamp(seconds: 1), clusterVersion: "1", clientConfiguration: "c")
        let variables = plan.containers[0].environment.map { "\($0.name)=\($0.value)" }
        #expect(
            variables == [
                "CORTEX_VERSION=1", "CORTEX_LOG_LEVEL=INFO", "CORTEX_CLI_CONFIG_DIR=/cortex/client",
                "CORTEX_API_NAME=task", "CORTEX_REPLICA_ID=t-j1-1-x", "CORTEX_JOB_ID=j1", "CORTEX_WORKER_INDEX=1",
                "CORTEX_WORKER_COUNT=2", "CORTEX_ATTEMPT=4", "CORTEX_ARTIFACTS_DIR=/cortex/artifacts", "A=api",
                "B=job", "C=job",
            ])
        #expect(plan.containers.map(\.args) == [["--id=j1"], ["kept"]])
        #expect(plan.hasArtifacts && plan.restart == .never && plan.owner.worker?.attempt == 4)
    }

    @Test("B12: the steps keep indexes: none is used twice, and none before its pod is gone")
    func steps() {
        func worker(_ pod: String, _ index: Int, stopping: Bool = false) -> WorkerPlan.Worker {
            .init(pod: pod, index: index, isStopping: stopping)
        }
        #expect(WorkerPlan.steps(wanted: [0, 1, 2], workers: []) == .init(start: [0, 1, 2]))
        #expect(
            WorkerPlan.steps(wanted: [0, 2], workers: [worker("a", 0), worker("b", 1)])
                == .init(start: [2], stop: ["b"]))
        #expect(WorkerPlan.steps(wanted: [0], workers: [worker("a", 0, stopping: true)]) == .init())
        #expect(WorkerPlan.steps(wanted: [0], workers: [worker("a", 0), worker("b", 0)]) == .init(stop: ["b"]))
    }

    @Test(
        "B12, N1: every worker has its index and is a pod of its API; a released one is stopped and not started again")
    func release() async throws {
        try await OrchestratorFixture.with { fixture in
            await fixture.orchestrator.apply(Self.set())
            try await Self.ready(fixture, [0, 1, 2])
            let replicas = await fixture.ready { $0.count == 3 }
            #expect(Set(replicas.map(\.queue)) == ["b-j1"] && Set(replicas.compactMap(\.worker?.index)) == [0, 1, 2])
            #expect(replicas.allSatisfy { $0.api.name == "sum" && $0.id.hasPrefix("b-j1-") })
            for replica in replicas {
                #expect(await fixture.orchestrator.hasPod(replica.id, of: "sum"))
                #expect(await !fixture.orchestrator.hasPod(replica.id, of: "b-j1"))
            }
            await fixture.orchestrator.release(worker: 1, of: "b-j1")
            try await Self.ready(fixture, [0, 2])
            try await fixture.advance { await fixture.orchestrator.workers(of: "b-j1").map(\.index) == [0, 2] }
            // Nor by a declaration that does not know of the release.
            await fixture.orchestrator.apply(Self.set())
            let lists = fixture.engine.listCount
            try await fixture.advance { fixture.engine.listCount > lists + 2 }
            #expect(fixture.engine.pods.values.compactMap(\.plan.owner.worker?.index).sorted() == [0, 2])
            await fixture.orchestrator.delete(set: "b-j1")
            try await fixture.advance { await fixture.orchestrator.workers(of: "b-j1").isEmpty }
            #expect(fixture.engine.pods.isEmpty)
            for replica in replicas { #expect(await !fixture.orchestrator.hasPod(replica.id, of: "sum")) }
        }
    }

    @Test("J7: a deploy of the API replaces no worker of a job")
    func fixedVersion() async throws {
        try await OrchestratorFixture.with { fixture in
            await fixture.orchestrator.apply(Self.set(2))
            try await Self.ready(fixture, [0, 1])
            let before = Set(fixture.engine.pods.keys)
            await fixture.orchestrator.apply(Self.set(2, api: OrchestratorFixture.api("sum", version: "2")))
            await fixture.orchestrator.apply(OrchestratorFixture.api("sum", version: "2"), replicas: 0)
            let lists = fixture.engine.listCount
            try await fixture.advance { fixture.engine.listCount > lists + 2 }
            #expect(Set(fixture.engine.pods.keys) == before)
        }
    }

    @Test(
        "B12: failures in a row, the last exit and a kill for memory are known across pods, and a ready worker resets")
    func history() async throws {
        try await OrchestratorFixture.with { fixture in
            fixture.engine.listenAtStart([])
            fixture.engine.failNextStart(with: PlatformError(.containerFailed, "no"))
            fixture.engine.failNextStart(with: PlatformError(.engineUnavailable, "away"))
            await fixture.orchestrator.apply(Self.set(1))
            try await fixture.advance { !fixture.engine.pods.isEmpty }
            let pod = try #require(fixture.engine.pods.keys.first)
            // A start that the engine did not carry out is no failure of the worker.
            #expect(await fixture.orchestrator.workers(of: "b-j1").map(\.failures) == [1])
            fixture.engine.change(pod) {
                $0.containers["main"] = .exited(ContainerExit(code: 137, outOfMemory: true))
            }
            try await fixture.advance { await fixture.orchestrator.workers(of: "b-j1").first?.failures == 2 }
            var worker = try #require(await fixture.orchestrator.workers(of: "b-j1").first)
            #expect(worker.wasKilledForMemory && worker.lastExit?.code == 137 && !worker.wasEverReady)
            // Its pod is lost; the worker's history is not.
            fixture.engine.listenAtStart([8080])
            fixture.engine.change(pod) { $0.isAlive = false }
            try await fixture.advance { await fixture.orchestrator.workers(of: "b-j1").first?.isReady == true }
            worker = try #require(await fixture.orchestrator.workers(of: "b-j1").first)
            #expect(worker.pod != pod && worker.wasEverReady && worker.failures == 0 && worker.wasKilledForMemory)
        }
    }

    @Test("J6: workers of a declared job are adopted with their indexes; those of an unknown job are removed")
    func adoption() async throws {
        let engine = FakeEngine()
        let recorder = TestRecorder()
        for (index, id) in ["b-j1-1-old", "b-j9-0-old"].enumerated() {
            let set = index == 0 ? "b-j1" : "b-j9"
            engine.insert(
                PodPlan(
                    of: OrchestratorFixture.api("sum"), worker: 1, set: set, job: Self.job, id: id,
                    createdAt: Timestamp(seconds: 0), clientConfiguration: ""))
        }
        engine.setLog(["last words"], of: "main", pod: "b-j9-0-old")
        try await OrchestratorFixture.with(engine: engine, recorder: recorder) { fixture in
            await fixture.orchestrator.apply(Self.set(2))
        } body: { fixture in
            try await Self.ready(fixture, [0, 1])
            #expect(await fixture.orchestrator.workers(of: "b-j1")[1].pod == "b-j1-1-old")
            try await fixture.advance { engine.pods["b-j9-0-old"] == nil }
            #expect(engine.pods.count == 2)
            #expect(recorder.logs == ["b-j9-0-old/main": "last words\n"])
        }
    }

    @Test("J12: a worker's log is recorded when its containers have ended and before its pod is removed")
    func logs() async throws {
        let recorder = TestRecorder()
        recorder.failNext()
        try await OrchestratorFixture.with(recorder: recorder) { fixture in
            await fixture.orchestrator.apply(Self.set(1))
        } body: { fixture in
            try await Self.ready(fixture, [0])
            let pod = try #require(fixture.engine.pods.keys.first)
            fixture.engine.setLog(["one", "two"], of: "main", pod: pod)
            recorder.look = { fixture.engine.pods[pod]?.containers["main"] }
            await fixture.orchestrator.delete(set: "b-j1")
            try await fixture.advance { fixture.engine.pods.isEmpty }
            #expect(recorder.logs == ["\(pod)/main": "one\ntwo\n"])
            #expect(recorder.looks == [.exited(ContainerExit(code: 143))])
        }
    }
}

/// Keeps logs in memory.
final class TestRecorder: WorkerRecorder {
    private struct State {
        var logs: [String: String] = [:]
        var started: [String] = []
        var failures = 0
        var look: (@Sendable () -> ObservedContainer.State?)?
        var looks: [ObservedContainer.State] = []
    }

    private let state = Mutex(State())

    /// By pod and container.
    var logs: [String: String] { state.withLock { $0.logs } }
    var started: [String] { state.withLock { $0.started } }
    /// What ``look`` gave when logs were kept.
    var looks: [ObservedContainer.State] { state.withLock { $0.looks } }
    var look: (@Sendable () -> ObservedContainer.State?)? {
        get { state.withLock { $0.look } }
        set { state.withLock { $0.look = newValue } }
    }
    /// The next call throws.
    func failNext() { state.withLock { $0.failures += 1 } }

    private func failIfAsked() throws {
        let fails = state.withLock { state in
            defer { state.failures = max(0, state.failures - 1) }
            return state.failures > 0
        }
        if fails { throw PlatformError(.storeUnavailable, "the disk is full") }
    }

    func willStart(run pod: String, of worker: PodOwner.Worker) async throws {
        try failIfAsked()
        state.withLock { $0.started.append(pod) }
    }

    func keep(_ log: LogStream<[UInt8]>, container: String, pod: String, of worker: PodOwner.Worker) async throws {
        try failIfAsked()
        let text = Mutex<[UInt8]>([])
        try await log.read { lines in text.withLock { $0 += lines } }
        state.withLock { state in
            state.logs["\(pod)/\(container)"] = String(decoding: text.withLock { $0 }, as: UTF8.self)
            if let look = state.look?() { state.looks.append(look) }
        }
    }
}
