import Core
import StoreMemory
import Synchronization
import TestSupport

@testable import Jobs

/// A store in memory whose hints about jobs are lost on demand, and whose answers to writes are.
final class FaultyJobStore: WrappedStore {
    enum Write: Hashable {
        case createJob, append, saveRun
    }

    let base = MemoryStore()
    private let losesHints: Bool
    private let failing = Mutex<Set<Write>>([])
    private let reads = Mutex(0)

    init(losesHints: Bool = false) { self.losesHints = losesHints }

    /// The next write of this kind takes effect and reports a failure.
    func fail(_ write: Write) { failing.withLock { _ = $0.insert(write) } }

    /// How often the deployed APIs were read.
    var readsOfAPIs: Int { reads.withLock { $0 } }

    private func answer<Result>(_ write: Write, _ result: Result) throws -> Result {
        let isLost = failing.withLock { $0.remove(write) != nil }
        if isLost { throw PlatformError(.storeUnavailable, "The store does not answer.") }
        return result
    }

    func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        try answer(.createJob, try await base.createJob(job, batches: batches, now: now))
    }

    func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp) async throws
        -> Job?
    {
        try answer(.append, try await base.append(batches, to: job, cursor: cursor, isLast: isLast, now: now))
    }

    func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        try answer(.saveRun, try await base.save(run, of: job, files: files, now: now))
    }

    func deployedAPIs() async throws -> [DeployedAPI] {
        reads.withLock { $0 += 1 }
        return try await base.deployedAPIs()
    }

    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        losesHints ? AsyncStream { _ in } : base.changes(kinds)
    }
}

/// Remembers what a job looked like at each of its steps.
final class StepsOfDriver: JobDriver {
    private let seen = Mutex<[Job?]>([])

    var jobs: [Job?] { seen.withLock { $0 } }

    func step(_ job: Job?, hasTurn: Bool) async throws -> JobStep {
        seen.withLock { $0.append(job) }
        return .wait(until: nil)
    }

    func end() async {}
}

/// Runs nothing, and remembers what it was asked for.
final class RunnerWithoutPods: JobRunner {
    private let state = Mutex<(started: [String], acknowledged: Set<String>)>(([], []))

    var started: [String] { state.withLock { $0.started } }
    var acknowledged: Set<String> { state.withLock { $0.acknowledged } }

    func start(_ plan: RunPlan) async { state.withLock { $0.started.append(plan.pod) } }
    func resume(_ plan: RunPlan) async {}
    func stop(run pod: String, grace: Duration) async {}
    func acknowledge(run pod: String) async { state.withLock { _ = $0.acknowledged.insert(pod) } }
    func runs() -> AsyncStream<[RunState]> { AsyncStream { _ in } }
    func artifactsFolder(run pod: String) async throws -> String? { nil }
    func logs(task jobID: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> { LogStream { _ in } }
}

/// Keeps nothing running.
struct OrchestratorWithoutPods: Orchestrator {
    func problems(with specification: APISpecification) async -> [String] { [] }
    func apply(_ api: DeployedAPI, replicas: Int) async {}
    func scale(api: String, replicas: Int) async {}
    func delete(api: String) async {}
    func status(api: String) async -> APIStatus? { nil }
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> { LogStream { _ in } }
    func readyReplicas() -> AsyncStream<[ReadyReplica]> { AsyncStream { _ in } }
}
