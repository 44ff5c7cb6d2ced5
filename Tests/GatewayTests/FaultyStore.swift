import Core
import StoreMemory
import Synchronization
import TestSupport

/// A memory store that fails where a test requires it, and counts its calls.
final class FaultyStore: WrappedStore {
    enum Fault { case submit, write, read, apis }

    let base = MemoryStore()
    private let faults = Mutex<Set<Fault>>([])
    private let open = Mutex(0)
    private let readCount = Mutex(0)
    private let apiReadCount = Mutex(0)
    private let silent = Mutex(false)
    private let ending = Mutex(false)

    /// Body writers that were neither referred to by a request nor discarded.
    var openBodies: Int { open.withLock { $0 } }
    var reads: Int { readCount.withLock { $0 } }
    var apiReads: Int { apiReadCount.withLock { $0 } }

    func fail(_ faults: Set<Fault>) { self.faults.withLock { $0 = faults } }
    /// Hints are lost from now on.
    func loseHints() { silent.withLock { $0 = true } }

    /// Every stream of hints ends at once from now on.
    func endHints() { ending.withLock { $0 = true } }

    private func check(_ fault: Fault) throws {
        guard faults.withLock({ $0.contains(fault) }) else { return }
        throw PlatformError(.storeUnavailable, "the disk is full. Free some space")
    }

    func deployedAPIs() async throws -> [DeployedAPI] {
        apiReadCount.withLock { $0 += 1 }
        try check(.apis)
        return try await base.deployedAPIs()
    }
    func makeBodyWriter() async throws -> any BodyWriter {
        let writer = try await base.makeBodyWriter()
        open.withLock { $0 += 1 }
        return Writer(base: writer, store: self)
    }
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try check(.submit)
        let result = try await base.submit(submission, maxQueueLength: maxQueueLength, now: now)
        if result == .accepted, case .stored = submission.payload { open.withLock { $0 -= 1 } }
        return result
    }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        readCount.withLock { $0 += 1 }
        try check(.read)
        return try await base.read(id, api: api, now: now)
    }
    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        if ending.withLock({ $0 }) { return AsyncStream { $0.finish() } }
        if silent.withLock({ $0 }) { return AsyncStream { _ in } }
        return base.changes(kinds)
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
