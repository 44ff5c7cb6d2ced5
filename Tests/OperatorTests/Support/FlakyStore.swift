import Core
import StoreMemory
import Synchronization

/// A memory store that fails where a test wants it to.
final class FlakyStore: Store {
    struct Faults {
        /// `deploy` fails for these APIs.
        var deploying: Set<String> = []
        var counting = false
        var reading = false
    }

    let memory = MemoryStore()
    let faults = Mutex(Faults())

    private func fail(if condition: (Faults) -> Bool) throws {
        guard faults.withLock({ condition($0) }) else { return }
        throw PlatformError(.storeUnavailable, "the disk is full: make room, then try again")
    }

    func deploy(_ api: DeployedAPI, now: Timestamp) async throws {
        try fail { $0.deploying.contains(api.name) }
        try await memory.deploy(api, now: now)
    }
    func deployedAPIs() async throws -> [DeployedAPI] {
        try fail { $0.reading }
        return try await memory.deployedAPIs()
    }
    func versions(of api: String) async throws -> [DeployedAPI] { try await memory.versions(of: api) }
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try fail { $0.reading }
        return try await memory.delete(api: api, keepRequests: keepRequests, now: now)
    }
    func requestedReplicas(of api: String) async throws -> Int? { try await memory.requestedReplicas(of: api) }
    func saveRequestedReplicas(_ count: Int, of api: String) async throws {
        try await memory.saveRequestedReplicas(count, of: api)
    }
    func makeBodyWriter() async throws -> any BodyWriter { try await memory.makeBodyWriter() }
    func reader(of body: Body) async throws -> any BodyReader { try await memory.reader(of: body) }
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try await memory.submit(submission, maxQueueLength: maxQueueLength, now: now)
    }
    func claim(api: String, limit: Int, visibility: Duration, holder: String, now: Timestamp) async throws
        -> [ClaimedRequest]
    { try await memory.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now) }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        try await memory.extend(leases, visibility: visibility, now: now)
    }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await memory.finish(lease, outcome: outcome, now: now)
    }
    func release(_ leases: [Lease], now: Timestamp) async throws { try await memory.release(leases, now: now) }
    func releaseLeases(heldBy holder: String?, now: Timestamp) async throws -> Int {
        try await memory.releaseLeases(heldBy: holder, now: now)
    }
    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? { try await memory.cancel(id, api: api, now: now) }
    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await memory.retry(id, api: api, now: now)
    }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await memory.read(id, api: api, now: now)
    }
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        try await memory.list(api: api, filter: filter, now: now)
    }
    func counts() async throws -> [String: QueueCounts] {
        try fail { $0.counting }
        return try await memory.counts()
    }
    func maintain(now: Timestamp) async throws -> Upkeep { try await memory.maintain(now: now) }
    func changes() -> AsyncStream<StoreChanges> { memory.changes() }
}
