import Core
import Synchronization
import TestSupport

/// Records the calls and returns the answers that a test sets.
final class FakeOrchestrator: Orchestrator {
    struct Applied: Equatable {
        var api: String
        var id: String
        var deploymentID: String
        var replicas: Int
    }

    struct State {
        var applied: [Applied] = []
        var deleted: [String] = []
        var statuses: [String: APIStatus] = [:]
        /// Pods of workers by API: they are in no status.
        var workers: [String: Set<String>] = [:]
        var problems: [String: [String]] = [:]
        var logOptions: [LogOptions] = []
        var logError: PlatformError?
        var logs: AsyncThrowingStream<ReplicaLogLine, any Error>.Continuation?
        var endedLogs = 0
        /// Given for all logs where it is set.
        var logSource: LogStream<ReplicaLogBatch>?
    }

    let state = Mutex(State())

    var applied: [Applied] { state.withLock { $0.applied } }
    var deleted: [String] { state.withLock { $0.deleted } }
    var endedLogs: Int { state.withLock { $0.endedLogs } }

    func setStatus(_ status: APIStatus?, of api: String) {
        state.withLock { $0.statuses[api] = status }
    }

    func problems(with specification: APISpecification) async -> [String] {
        state.withLock { $0.problems[specification.name] ?? [] }
    }

    func apply(_ api: DeployedAPI, replicas: Int) async {
        state.withLock {
            $0.applied.append(
                Applied(api: api.name, id: api.id, deploymentID: api.deploymentID, replicas: replicas))
            if $0.statuses[api.name] == nil { $0.statuses[api.name] = APIStatus(requested: replicas) }
        }
    }

    func scale(api: String, replicas: Int) async {}

    func delete(api: String) async {
        state.withLock {
            $0.deleted.append(api)
            $0.statuses[api] = nil
        }
    }

    func status(api: String) async -> APIStatus? { state.withLock { $0.statuses[api] } }

    func hasPod(_ id: String, of api: String) async -> Bool {
        state.withLock {
            $0.workers[api]?.contains(id) == true || $0.statuses[api]?.replicas.contains { $0.id == id } == true
        }
    }

    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> {
        if let source = state.withLock({ $0.logSource }) { return source }
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: ReplicaLogLine.self)
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.endedLogs += 1 } }
        try state.withLock {
            $0.logOptions.append(options)
            if let error = $0.logError { throw error }
            $0.logs = continuation
        }
        return LogStream { write in
            for try await line in stream { try await write(line.batch) }
        }
    }

    func readyReplicas() -> AsyncStream<[ReadyReplica]> { AsyncStream { $0.finish() } }
}

extension APIStatus {
    /// `count` replicas in one state.
    static func of(_ state: ReplicaState, _ count: Int = 1, requested: Int? = nil, reason: String? = nil) -> APIStatus {
        APIStatus(
            requested: requested ?? count,
            replicas: (0..<count).map {
                ReplicaStatus(
                    id: "iris-\($0)", state: state, restarts: 0, startedAt: Timestamp(seconds: 1_800_000_000))
            }, reason: reason)
    }
}
