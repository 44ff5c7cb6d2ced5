import Core
import StoreMemory
import Synchronization

/// The memory store with faults that a test switches on.
final class FaultyStore: Store {
    struct Faults {
        var claims = 0
        var finishes = 0
        var extensions = 0
        var maintenances = 0
        var bodyWrites = 0
        var hintsAreLost = false
        /// Payloads made up instead of read: a name and a size stand for that many bytes.
        var reader: (@Sendable (Body) throws -> any BodyReader)?
        var writer: (@Sendable () -> any BodyWriter)?
    }

    let memory = MemoryStore()
    let faults = Mutex(Faults())
    private let extended = Mutex(0)
    private let maintained = Mutex(0)
    private let claimed = Mutex(0)

    var extensions: Int { extended.withLock { $0 } }
    var maintenances: Int { maintained.withLock { $0 } }
    var claims: Int { claimed.withLock { $0 } }

    private func fail(_ path: WritableKeyPath<Faults, Int>) throws {
        let fails = faults.withLock { faults -> Bool in
            guard faults[keyPath: path] > 0 else { return false }
            faults[keyPath: path] -= 1
            return true
        }
        if fails { throw PlatformError(.storeUnavailable, "The store is away.") }
    }

    func deploy(_ api: DeployedAPI, now: Timestamp) async throws { try await memory.deploy(api, now: now) }
    func deployedAPIs() async throws -> [DeployedAPI] { try await memory.deployedAPIs() }
    func versions(of api: String) async throws -> [DeployedAPI] { try await memory.versions(of: api) }
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try await memory.delete(api: api, keepRequests: keepRequests, now: now)
    }
    func requestedReplicas(of api: String) async throws -> Int? { try await memory.requestedReplicas(of: api) }
    func saveRequestedReplicas(_ count: Int, of api: String) async throws {
        try await memory.saveRequestedReplicas(count, of: api)
    }
    func makeBodyWriter() async throws -> any BodyWriter {
        try fail(\.bodyWrites)
        if let writer = faults.withLock({ $0.writer }) { return writer() }
        return try await memory.makeBodyWriter()
    }
    func reader(of body: Body) async throws -> any BodyReader {
        if let reader = faults.withLock({ $0.reader }) { return try reader(body) }
        return try await memory.reader(of: body)
    }
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try await memory.submit(submission, maxQueueLength: maxQueueLength, now: now)
    }
    func claim(api: String, limit: Int, visibility: Duration, holder: String, now: Timestamp) async throws
        -> [ClaimedRequest]
    {
        claimed.withLock { $0 += 1 }
        try fail(\.claims)
        return try await memory.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now)
    }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        defer { extended.withLock { $0 += 1 } }
        try fail(\.extensions)
        return try await memory.extend(leases, visibility: visibility, now: now)
    }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try fail(\.finishes)
        return try await memory.finish(lease, outcome: outcome, now: now)
    }
    func release(_ leases: [Lease], now: Timestamp) async throws { try await memory.release(leases, now: now) }
    func releaseLeases(heldBy holder: String?, now: Timestamp) async throws -> Int {
        try await memory.releaseLeases(heldBy: holder, now: now)
    }
    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? {
        try await memory.cancel(id, api: api, now: now)
    }
    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await memory.retry(id, api: api, now: now)
    }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await memory.read(id, api: api, now: now)
    }
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        try await memory.list(api: api, filter: filter, now: now)
    }
    func counts() async throws -> [String: QueueCounts] { try await memory.counts() }
    func maintain(now: Timestamp) async throws -> Upkeep {
        defer { maintained.withLock { $0 += 1 } }
        try fail(\.maintenances)
        return try await memory.maintain(now: now)
    }
    func changes() -> AsyncStream<StoreChanges> {
        faults.withLock { $0.hintsAreLost } ? AsyncStream { _ in } : memory.changes()
    }
}
