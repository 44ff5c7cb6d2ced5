import Core
import HTTPServing
import Logging
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// The keeper of jobs with a store, and an orchestrator that does what a test says.
@Suite("Deleted APIs, limits and retries of jobs", .timeLimit(.minutes(1)))
struct JobKeeperTests {
    private let clock = ManualClock(JobPlan.now)
    private let store = FollowedStore()
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Runs a keeper until `body` returns.
    private func withKeeper(
        _ makeDriver: @escaping @Sendable (Job) -> (any JobDriver)?, _ body: (JobKeeper) async throws -> Void
    ) async throws {
        let keeper = JobKeeper(store: store, clock: clock, logger: logger, makeDriver: makeDriver)
        try await keeper.restore()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await keeper.run() }
            let store = store
            try await expectEventually { store.isFollowed }
            try await body(keeper)
            group.cancelAll()
        }
    }

    private func create(_ number: UInt64, of api: DeployedAPI) async throws -> Job {
        let work: JobSubmission.Work =
            api.specification.kind.name == .task ? .task(.init()) : .batch(.init(batchSize: 1))
        let job = Job(
            id: RequestID(now: JobPlan.now + .milliseconds(Int64(number)), random: number << 2), version: api,
            submission: JobSubmission(workers: 1, work: work), createdAt: JobPlan.now)
        let items = ItemSet(0..<1)
        let batches =
            api.specification.kind.name == .task
            ? [] : [Batch(index: 0, of: job.id, items: items, body: .inline(Array("[0]".utf8)))]
        let result = try await store.createJob(job, batches: batches, now: JobPlan.now)
        guard case .created(let created) = result else { throw PlatformError(.internal, "not created: \(result)") }
        return created
    }

    @Test("J7, A13: workers of an erased job are never declared again, and hold up no job of the next API")
    func erasedBatchJob() async throws {
        let api = JobPlan.batchAPI { $0.jobs.maxConcurrentJobs = 1 }
        try await store.deploy(api, now: JobPlan.now)
        let first = try await create(1, of: api)
        let orchestrator = WorkerBoard()
        let (store, clock, logger) = (store, clock, logger)
        try await withKeeper({ job in
            BatchDriver(
                job, store: store, orchestrator: orchestrator, clock: clock, logger: logger, heldBack: { _ in nil },
                list: nil)
        }) { keeper in
            try await expectEventually { await orchestrator.declarations == [first.queue] }
            _ = try await store.delete(api: api.name, keepRequests: false, now: JobPlan.now)
            try await store.deploy(api, now: JobPlan.now)
            let second = try await create(2, of: api)
            await keeper.created(second)
            try await expectEventually { await orchestrator.deletions.contains(first.queue) }
            // The workers take a while to end. The second job starts meanwhile.
            try await expectEventually { await orchestrator.declarations == [first.queue, second.queue] }
            for _ in 1...3 {
                let looks = await orchestrator.looks(at: first.queue)
                try await expectEventually {
                    clock.advance(by: .seconds(1))
                    return await orchestrator.looks(at: first.queue) > looks
                }
            }
            #expect(await orchestrator.declarations == [first.queue, second.queue])
        }
    }

    @Test(
        "J7, J5: deleting an API stops its runs with its grace period; kept jobs end promptly",
        arguments: [true, false])
    func deletedTaskJob(isKept: Bool) async throws {
        let api = JobPlan.taskAPI { $0.pod.terminationGracePeriod = .seconds(6) }
        try await store.deploy(api, now: JobPlan.now)
        let job = try await create(1, of: api)
        let runner = RunnerRecord()
        let board = RunBoard()
        let (store, clock, logger) = (store, clock, logger)
        try await withKeeper({ job in
            TaskDriver(
                job, store: store, runner: runner, board: board, clock: clock, logger: logger, heldBack: { _ in nil },
                makeSuffix: { "a" })
        }) { keeper in
            try await expectEventually { !runner.started.isEmpty }
            let plan = try #require(runner.started.first)
            let version = PodOwner.Version(
                name: api.name, apiID: api.id, podID: api.podID, deploymentID: api.deploymentID)
            let worker = PodOwner.Worker(
                set: plan.set, jobID: plan.job.jobID, version: version, index: 0, attempt: 1)
            var state = RunState(pod: plan.pod, worker: worker, phase: .running, startedAt: JobPlan.now)
            await keeper.look(at: board.update([state]))
            try await expectEventually {
                try await store.job(job.id, api: api.name, now: JobPlan.now)?.status == .running
            }
            _ = try await store.delete(api: api.name, keepRequests: isKept, now: JobPlan.now)
            // Deployed again at once: the job of before is stopped all the same.
            try await store.deploy(api, now: JobPlan.now)
            try await expectEventually { !runner.stops.isEmpty }
            #expect(runner.stops.allSatisfy { $0 == .init(pod: plan.pod, grace: .seconds(6)) })
            #expect(runner.acknowledged.isEmpty)

            state.phase = .over(
                RunEnd(cause: .stopped, exit: ContainerExit(code: 0), container: "api", endedAt: JobPlan.now))
            await keeper.look(at: board.update([state]))
            try await expectEventually { Set(runner.acknowledged) == [plan.pod] }
            await keeper.look(at: board.update([]))
            // No time passes.
            let expected: JobStatus? = isKept ? .stopped : nil
            try await expectEventually {
                try await store.job(job.id, api: api.name, now: JobPlan.now)?.status == expected
            }
            #expect(runner.started.count == 1)
        }
    }

    @Test("J9: a limit that a deploy lowered holds for jobs that wait already; one that it raised, too")
    func changedLimit() async throws {
        var api = JobPlan.batchAPI { $0.jobs.maxConcurrentJobs = 4 }
        try await store.deploy(api, now: JobPlan.now)
        var jobs: [Job] = []
        for number in 1...8 { jobs.append(try await create(UInt64(number), of: api)) }
        let steps = StepRecord()
        let (store, clock) = (store, clock)
        try await withKeeper({ StepDriver(id: $0.id, steps: steps) }) { _ in
            let ids = jobs.map(\.id)
            try await expectEventually { steps.started == Set(ids[..<4]) }
            api = JobPlan.batchAPI { $0.jobs.maxConcurrentJobs = 1 }
            api.id = "lower"
            try await store.deploy(api, now: JobPlan.now)
            for id in ids[..<4] { try await end(id) }
            try await expectEventually { steps.started.contains(ids[4]) }
            try await waitForLook(at: ids[4], steps)
            #expect(steps.started == Set(ids[..<5]))

            api = JobPlan.batchAPI { $0.jobs.maxConcurrentJobs = 3 }
            api.id = "higher"
            try await store.deploy(api, now: JobPlan.now)
            try await expectEventually {
                clock.advance(by: JobKeeper.period)
                return steps.started.count > 5
            }
            try await waitForLook(at: ids[6], steps)
            #expect(steps.started == Set(ids[..<7]))
        }
    }

    private func end(_ id: RequestID) async throws {
        _ = try await store.stop(id, JobStop(status: .stopped, reason: "by the test"), now: JobPlan.now)
        _ = try await store.cancelRest(of: id, limit: 10, now: JobPlan.now)
        _ = try await store.change(id, to: .stopped, reason: nil, now: JobPlan.now)
    }

    /// Returns after two more steps of a job, so that whatever was due has begun.
    private func waitForLook(at id: RequestID, _ steps: StepRecord) async throws {
        let clock = clock
        for _ in 1...2 {
            let count = steps.count(of: id)
            try await expectEventually {
                clock.advance(by: JobKeeper.period)
                return steps.count(of: id) > count
            }
        }
    }

    @Test("J2: a retry with the same key is the same job; with another body or of another job it is refused")
    func retryWithKey() async throws {
        let api = JobPlan.batchAPI()
        try await store.deploy(api, now: JobPlan.now)
        let old = [try await create(1, of: api), try await create(2, of: api)]
        for job in old { try await end(job.id) }
        let keeper = JobKeeper(store: store, clock: clock, logger: logger) { _ in nil }
        let number = Atomic<UInt64>(100)
        let services = JobServices(
            store: store, orchestrator: WorkerBoard(), runner: RunnerRecord(), board: RunBoard(), clock: clock,
            logger: logger,
            makeID: { RequestID(now: $0, random: number.add(4, ordering: .relaxed).newValue) }, spareDisk: { .max },
            gateway: { _ in "" }, news: JobNews(clock: clock), files: FileInputs(sources: []))
        let submitter = JobSubmitter(services: services, keeper: keeper)
        func retry(_ index: Int, _ body: String = "", key: String?) async throws -> Job {
            let job = try #require(try await store.job(old[index].id, api: api.name, now: JobPlan.now))
            return try await JobRetry(Array(body.utf8), of: job, key: key).submit(to: api, by: submitter)
        }
        let first = try await retry(0, key: "k")
        #expect(try await retry(0, key: "k").id == first.id)
        #expect(try await retry(0, key: "other").id != first.id)
        #expect(try await retry(0, key: nil).id != first.id)
        for (index, body) in [(0, #"{"workers": 2}"#), (1, "")] {
            let error = await #expect(throws: PlatformError.self) { try await retry(index, body, key: "k") }
            #expect(error?.code == .idempotencyMismatch)
        }
    }
}

/// Knows whether its hints are read: what was hinted before is lost.
private final class FollowedStore: WrappedStore {
    let base = MemoryStore()
    private let followers = Atomic(0)

    var isFollowed: Bool { followers.load(ordering: .acquiring) > 0 }

    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        defer { followers.add(1, ordering: .releasing) }
        return base.changes(kinds)
    }
}

/// Workers of Batch jobs that begin at once and never end.
private actor WorkerBoard: Orchestrator {
    private(set) var declarations: [String] = []
    private(set) var deletions: Set<String> = []
    private var lookCounts: [String: Int] = [:]

    func looks(at set: String) -> Int { lookCounts[set, default: 0] }

    func apply(_ set: ReplicaSet) async { declarations.append(set.name) }
    func delete(set: String) async { deletions.insert(set) }
    func workers(of set: String) async -> [WorkerStatus] {
        lookCounts[set, default: 0] += 1
        return declarations.contains(set)
            ? [WorkerStatus(index: 0, pod: "p", state: .ready, isReleased: deletions.contains(set), wasEverReady: true)]
            : []
    }

    func problems(with specification: APISpecification) async -> [String] { [] }
    func apply(_ api: DeployedAPI, replicas: Int) async {}
    func scale(api: String, replicas: Int) async {}
    func delete(api: String) async {}
    func status(api: String) async -> APIStatus? { nil }
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> {
        throw PlatformError(.notFound, "there are no logs")
    }
    nonisolated func readyReplicas() -> AsyncStream<[ReadyReplica]> { AsyncStream { $0.finish() } }
}

/// Records what is ordered of runs.
private final class RunnerRecord: JobRunner {
    struct Stop: Equatable {
        var pod: String
        var grace: Duration
    }

    private struct State {
        var started: [RunPlan] = []
        var stops: [Stop] = []
        var acknowledged: [String] = []
    }

    private let state = Mutex(State())

    var started: [RunPlan] { state.withLock(\.started) }
    var stops: [Stop] { state.withLock(\.stops) }
    var acknowledged: [String] { state.withLock(\.acknowledged) }

    func start(_ plan: RunPlan) async { state.withLock { $0.started.append(plan) } }
    func resume(_ plan: RunPlan) async {}
    func stop(run pod: String, grace: Duration) async {
        state.withLock { $0.stops.append(Stop(pod: pod, grace: grace)) }
    }
    func acknowledge(run pod: String) async { state.withLock { $0.acknowledged.append(pod) } }
    func runs() -> AsyncStream<[RunState]> { AsyncStream { $0.finish() } }
    func artifactsFolder(run pod: String) async throws -> String? { nil }
    func logs(task jobID: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> {
        throw PlatformError(.notFound, "there are no logs")
    }
}

/// The steps of jobs that had their turn.
private final class StepRecord: Sendable {
    private let counts = Mutex<[RequestID: Int]>([:])

    var started: Set<RequestID> { counts.withLock { Set($0.keys) } }
    func count(of id: RequestID) -> Int { counts.withLock { $0[id, default: 0] } }
    func add(_ id: RequestID) { counts.withLock { $0[id, default: 0] += 1 } }
}

/// Does nothing until the job has ended.
private struct StepDriver: JobDriver {
    let id: RequestID
    let steps: StepRecord

    func step(_ job: Job?, hasTurn: Bool) async throws -> JobStep {
        guard let job, job.status.isOpen else { return .over }
        if hasTurn { steps.add(id) }
        return .wait(until: nil)
    }

    func end() async {}
}
