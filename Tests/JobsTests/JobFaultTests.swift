import Core
import Logging
import StoreMemory
import TestSupport
import Testing

@testable import Jobs

/// Faults of the store and of the calendar, each in the one step where it once did harm.
@Suite("Jobs when hints and answers of the store are lost")
struct JobFaultTests {
    private let clock = ManualClock(JobPlan.now)
    private let logger = Logger(label: "test")

    private func store(_ api: DeployedAPI, losesHints: Bool = false) async throws -> FaultyJobStore {
        let store = FaultyJobStore(losesHints: losesHints)
        try await store.deploy(api, now: clock.now())
        return store
    }

    /// A keeper with one job, which `body` observes.
    private func withKeeper(
        _ store: FaultyJobStore, _ job: Job, _ body: (StepsOfDriver) async throws -> Void
    ) async throws {
        let driver = StepsOfDriver()
        let keeper = JobKeeper(store: store, clock: clock, logger: logger) { _ in driver }
        try await keeper.restore()
        let task = Task { try await keeper.run() }
        try await body(driver)
        task.cancel()
        _ = try? await task.value
    }

    /// Lets time pass second by second until a condition holds.
    private func pass(until condition: @Sendable () -> Bool) async throws -> Bool {
        try await eventually {
            if condition() { return true }
            clock.advance(by: .seconds(1))
            return false
        }
    }

    private func batchJob(in api: DeployedAPI, items: Int64 = 1) -> (job: Job, batches: [Batch]) {
        let job = Job(
            id: RequestID(now: JobPlan.now, random: 9), version: api,
            submission: JobSubmission(workers: 1, work: .batch(.init(batchSize: 1))), createdAt: JobPlan.now)
        let batches = (0..<items).map {
            Batch(index: $0, of: job.id, items: ItemSet($0..<$0 + 1), body: .inline(Array("[1]".utf8)))
        }
        return (job, batches)
    }

    @Test("J4: a change of a job whose hint was lost is noticed")
    func lostHint() async throws {
        let store = try await store(JobPlan.batchAPI(), losesHints: true)
        let (job, batches) = batchJob(in: JobPlan.batchAPI())
        _ = try await store.createJob(job, batches: batches, now: clock.now())
        try await withKeeper(store, job) { driver in
            _ = try await store.change(job.id, to: .running, reason: nil, now: clock.now())
            #expect(try await pass { driver.jobs.last??.status == .running })
        }
    }

    @Test("J7: nothing of a job is started again after it was erased with its API")
    func erased() async throws {
        let store = try await store(JobPlan.batchAPI())
        let (job, batches) = batchJob(in: JobPlan.batchAPI())
        _ = try await store.createJob(job, batches: batches, now: clock.now())
        try await withKeeper(store, job) { driver in
            _ = try await store.delete(api: "sum", keepRequests: false, now: clock.now())
            #expect(try await pass { driver.jobs.count { $0 == nil } >= 3 })
            let afterwards = driver.jobs.drop { $0 != nil }
            #expect(afterwards.allSatisfy { $0 == nil }, "a step with the job as it was before")
        }
    }

    @Test("J7: the jobs of an API that was deleted with them kept are brought to their end")
    func kept() async throws {
        let store = try await store(JobPlan.batchAPI())
        let (job, batches) = batchJob(in: JobPlan.batchAPI())
        _ = try await store.createJob(job, batches: batches, now: clock.now())
        try await withKeeper(store, job) { driver in
            _ = try await store.delete(api: "sum", keepRequests: true, now: clock.now())
            #expect(try await pass { driver.jobs.last??.stop == .apiDeleted })
            #expect(!driver.jobs.contains { $0 == nil }, "it is taken for one that was erased")
        }
    }

    private func taskDriver(_ job: Job, _ store: FaultyJobStore, _ runner: RunnerWithoutPods, _ board: RunBoard)
        -> TaskDriver
    {
        TaskDriver(
            job, store: store, runner: runner, board: board, clock: clock, logger: logger, heldBack: { _ in nil },
            makeSuffix: { "x\(Int.random(in: 0..<1_000_000))" })
    }

    @Test("T3: a run whose record reported a failure and is there starts in its own pod, and is let go once")
    func lostAnswers() async throws {
        let store = try await store(JobPlan.taskAPI())
        let (runner, board) = (RunnerWithoutPods(), RunBoard())
        let job = JobPlan.taskJob()
        _ = try await store.createJob(job, batches: [], now: clock.now())
        let driver = taskDriver(job, store, runner, board)
        store.fail(.saveRun)
        await #expect(throws: PlatformError.self) { _ = try await driver.step(job, hasTurn: true) }
        _ = try await driver.step(job, hasTurn: true)
        let run = try #require(try await store.runs(of: job.id, limit: 10).first)
        #expect(runner.started == [run.pod])

        let owner = PodOwner.Worker(
            set: "t", jobID: job.id.description,
            version: .init(name: "report", apiID: "1", podID: "p", deploymentID: "d"),
            index: 0)
        let end = RunEnd(cause: .exit, exit: ContainerExit(code: 0), container: "api", endedAt: clock.now())
        _ = board.update([RunState(pod: run.pod, worker: owner, phase: .over(end))])
        store.fail(.saveRun)
        await #expect(throws: PlatformError.self) { _ = try await driver.step(job, hasTurn: true) }
        #expect(try await store.runs(of: job.id, limit: 10).map(\.status) == [.succeeded])
        #expect(runner.acknowledged.isEmpty)
        _ = try await driver.step(job, hasTurn: true)
        #expect(runner.acknowledged == [run.pod])
    }

    @Test("J5, T3: the containers of a run do not begin once its job is being stopped, or its API was deleted")
    func begins() async throws {
        let api = JobPlan.taskAPI { $0.retries.onLost = .fail }
        let store = try await store(api)
        let job = JobPlan.taskJob(in: api)
        _ = try await store.createJob(job, batches: [], now: clock.now())
        let run = JobRun(worker: 0, attempt: 1, pod: "t-0", status: .planned, startedAt: clock.now())
        _ = try await store.save(run, of: job.id, files: [], now: clock.now())
        let owner = PodOwner.Worker(
            set: "t", jobID: job.id.description,
            version: .init(name: api.name, apiID: "1", podID: "p", deploymentID: "d"), index: 0)
        let recorder = JobRecorder(store: store, clock: clock)
        try await recorder.willStart(run: "t-0", of: owner)
        #expect(try await store.runs(of: job.id, limit: 1).first?.status == .running)
        _ = try await store.stop(job.id, JobStop(status: .stopped, reason: "by its caller"), now: clock.now())
        await #expect(throws: PlatformError.self) { try await recorder.willStart(run: "t-0", of: owner) }
        _ = try await store.delete(api: api.name, keepRequests: true, now: clock.now())
        await #expect(throws: PlatformError.self) { try await recorder.willStart(run: "t-0", of: owner) }
    }

    private func jobs(_ store: FaultyJobStore) -> Jobs {
        Jobs(
            store: store, orchestrator: OrchestratorWithoutPods(), runner: RunnerWithoutPods(), sources: [],
            clock: clock, logger: logger, heldBack: { _ in nil }, makeID: { RequestID(now: $0, random: 11) },
            makeSuffix: { "x" }, spareDisk: { .max }, gateway: { _ in "" })
    }

    @Test("J1: a job that exists although its creation reported a failure keeps the items that are outside their rows")
    func lostCreation() async throws {
        let store = try await store(JobPlan.batchAPI())
        let routes = jobs(store).routes
        let item = Array("\"\(String(repeating: "x", count: Limits.inlineBody))\"".utf8)
        store.fail(.createJob)
        await #expect(throws: PlatformError.self) {
            _ = try await routes.submitter.create(
                JobSubmission(workers: 1, work: .batch(.init(batchSize: 1))), of: JobPlan.batchAPI(), items: [item[...]]
            )
        }
        let job = try #require(try await store.openJobs().first)
        let batch = try #require(
            try await store.batches(of: job.id, in: [.inQueue], after: nil, limit: 1, now: clock.now()).first)
        let reader = try await store.reader(of: batch.batch.body)
        #expect(try await reader.read(upTo: 3) == Array("[\"x".utf8))
        await reader.close()
    }

    @Test("J14: a schedule that is suspended while a planned time is due is not looked at all the time")
    func suspended() async throws {
        let api = JobPlan.taskAPI {
            $0.jobs.schedules = [ScheduleSpecification(name: "often", timing: .every(.seconds(5)))]
        }
        let store = try await store(api)
        let jobs = jobs(store)
        try await jobs.suspendSchedule(true, "often", of: api)
        clock.advance(by: .seconds(7))
        let task = Task { try await jobs.run() }
        #expect(try await eventually { store.readsOfAPIs > 0 && clock.sleepers > 0 })
        let before = store.readsOfAPIs
        for _ in 0..<100 {
            clock.advance(by: .milliseconds(5))
            // What is due has time to run.
            for _ in 0..<20 { await Task.yield() }
        }
        #expect(store.readsOfAPIs <= before + 2)
        task.cancel()
        _ = try? await task.value
    }
}
