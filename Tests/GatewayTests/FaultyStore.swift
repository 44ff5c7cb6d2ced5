import Core
import StoreMemory
import Synchronization

/// A memory store that fails where a test wants it to, and counts what is asked of it.
final class FaultyStore: Store {
    enum Fault { case submit, write, read, apis }

    private let base = MemoryStore()
    private let faults = Mutex<Set<Fault>>([])
    private let open = Mutex(0)
    private let readCount = Mutex(0)
    private let apiReadCount = Mutex(0)
    private let silent = Mutex(false)

    /// Body writers that were neither referred to by a request nor discarded.
    var openBodies: Int { open.withLock { $0 } }
    var reads: Int { readCount.withLock { $0 } }
    var apiReads: Int { apiReadCount.withLock { $0 } }

    func fail(_ faults: Set<Fault>) { self.faults.withLock { $0 = faults } }
    /// Hints are lost from now on.
    func loseHints() { silent.withLock { $0 = true } }

    private func check(_ fault: Fault) throws {
        guard faults.withLock({ $0.contains(fault) }) else { return }
        throw PlatformError(.storeUnavailable, "the disk is full. Free some space")
    }

    func deploy(_ api: DeployedAPI, now: Timestamp) async throws { try await base.deploy(api, now: now) }
    func deployedAPIs() async throws -> [DeployedAPI] {
        apiReadCount.withLock { $0 += 1 }
        try check(.apis)
        return try await base.deployedAPIs()
    }
    func versions(of api: String) async throws -> [DeployedAPI] { try await base.versions(of: api) }
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try await base.delete(api: api, keepRequests: keepRequests, now: now)
    }
    func requestedReplicas(of api: String) async throws -> Int? { try await base.requestedReplicas(of: api) }
    func saveRequestedReplicas(_ count: Int, of api: String) async throws {
        try await base.saveRequestedReplicas(count, of: api)
    }
    func makeBodyWriter() async throws -> any BodyWriter {
        let writer = try await base.makeBodyWriter()
        open.withLock { $0 += 1 }
        return Writer(base: writer, store: self)
    }
    func reader(of body: Body) async throws -> any BodyReader { try await base.reader(of: body) }
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try check(.submit)
        let result = try await base.submit(submission, maxQueueLength: maxQueueLength, now: now)
        if result == .accepted, case .file = submission.payload { open.withLock { $0 -= 1 } }
        return result
    }
    func claim(api: String, limit: Int, visibility: Duration, holder: String, now: Timestamp) async throws
        -> [ClaimedRequest]
    { try await base.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now) }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        try await base.extend(leases, visibility: visibility, now: now)
    }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await base.finish(lease, outcome: outcome, now: now)
    }
    func release(_ leases: [Lease], now: Timestamp) async throws { try await base.release(leases, now: now) }
    func releaseLeases(heldBy holder: String?, now: Timestamp) async throws -> Int {
        try await base.releaseLeases(heldBy: holder, now: now)
    }
    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? { try await base.cancel(id, api: api, now: now) }
    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await base.retry(id, api: api, now: now)
    }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        readCount.withLock { $0 += 1 }
        try check(.read)
        return try await base.read(id, api: api, now: now)
    }
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        try await base.list(api: api, filter: filter, now: now)
    }
    func counts() async throws -> [String: QueueCounts] { try await base.counts() }
    func maintain(now: Timestamp) async throws -> Upkeep { try await base.maintain(now: now) }
    func changes() -> AsyncStream<StoreChanges> {
        if silent.withLock({ $0 }) { return AsyncStream { _ in } }
        return base.changes()
    }

    private final class Writer: BodyWriter {
        let base: any BodyWriter
        let store: FaultyStore

        init(base: any BodyWriter, store: FaultyStore) {
            self.base = base
            self.store = store
        }

        func write(_ bytes: [UInt8]) async throws {
            try store.check(.write)
            try await base.write(bytes)
        }
        func finish() async throws -> Body { try await base.finish() }
        func discard() async {
            store.open.withLock { $0 -= 1 }
            await base.discard()
        }
    }
}
