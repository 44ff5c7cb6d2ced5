import Core
import StoreMemory
import Synchronization
import TestSupport

/// The memory store with faults that a test switches on.
final class FaultyStore: WrappedStore {
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

    let base = MemoryStore()
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

    func makeBodyWriter() async throws -> any BodyWriter {
        try fail(\.bodyWrites)
        if let writer = faults.withLock({ $0.writer }) { return writer() }
        return try await base.makeBodyWriter()
    }
    func reader(of body: Body) async throws -> any BodyReader {
        if let reader = faults.withLock({ $0.reader }) { return try reader(body) }
        return try await base.reader(of: body)
    }
    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    {
        claimed.withLock { $0 += 1 }
        try fail(\.claims)
        return try await base.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now)
    }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        defer { extended.withLock { $0 += 1 } }
        try fail(\.extensions)
        return try await base.extend(leases, visibility: visibility, now: now)
    }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try fail(\.finishes)
        return try await base.finish(lease, outcome: outcome, now: now)
    }
    func maintain(now: Timestamp) async throws -> Upkeep {
        defer { maintained.withLock { $0 += 1 } }
        try fail(\.maintenances)
        return try await base.maintain(now: now)
    }
    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        faults.withLock { $0.hintsAreLost } ? AsyncStream { _ in } : base.changes(kinds)
    }
}
