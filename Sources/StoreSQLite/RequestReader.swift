import Core
import Foundation
import GRDB
import Synchronization

/// Reads single requests. Reads that arrive during a read share the next snapshot, so that many callers cost one change
/// of threads and one read transaction together.
final class RequestReader: Sendable {
    /// Reads of one snapshot; a longer one would keep the log from being emptied.
    static let batchLimit = 256

    private struct Item: Sendable {
        let id: RequestID
        let api: String
        let number: Int64
        let now: Timestamp
        let answer: @Sendable (Result<RequestRecord?, any Error>) -> Void
    }

    private struct Pending {
        var items: [Item] = []
        var isReading = false
    }

    private let pool: DatabasePool
    private let queue = DispatchQueue(label: "cortex.store.reader", qos: .userInitiated)
    private let pending = Mutex(Pending())

    init(pool: DatabasePool) {
        self.pool = pool
    }

    nonisolated(nonsending) func read(_ id: RequestID, api: String, number: Int64, now: Timestamp) async throws
        -> RequestRecord?
    {
        try await withCheckedThrowingContinuation { continuation in
            let item = Item(id: id, api: api, number: number, now: now) { continuation.resume(with: $0) }
            let isFirst = pending.withLock { pending in
                pending.items.append(item)
                defer { pending.isReading = true }
                return !pending.isReading
            }
            if isFirst { queue.async { self.drain() } }
        }
    }

    private func drain() {
        let batch = pending.withLock { pending -> [Item] in
            let batch = Array(pending.items.prefix(Self.batchLimit))
            pending.items.removeFirst(batch.count)
            return batch
        }
        do {
            let results = try pool.read { db in
                let statement = DirectStatement(try db.cachedStatement(sql: Self.sql))
                return batch.map { item in Result { try Self.record(item, statement) } }
            }
            for (item, result) in zip(batch, results) { item.answer(result) }
        } catch {
            for item in batch { item.answer(.failure(error)) }
        }
        let isDone = pending.withLock { pending in
            pending.isReading = !pending.items.isEmpty
            return pending.items.isEmpty
        }
        if !isDone { queue.async { self.drain() } }
    }

    private static let sql = """
        SELECT r.state, r.attempts, r.submitted_at, r.ended_at, a.head, a.bytes, a.file, a.size
        FROM request r LEFT JOIN answer a ON a.number = r.answer
        WHERE r.api = ? AND r.id = ? AND (r.purge_at IS NULL OR r.purge_at > ?)
        """

    private static func record(_ item: Item, _ statement: DirectStatement) throws -> RequestRecord? {
        statement.bind(1, item.number)
        statement.bind(2, item.id)
        statement.bind(3, item.now.microseconds)
        guard try statement.step() else { return nil }
        defer { statement.reset() }
        // Most requests never failed: nothing is decoded for them.
        let head = statement.isNull(4) ? FailureHead() : try FailureHead(decoding: Data(statement.bytes(4)))
        return RequestRecord(
            id: item.id, api: item.api, status: try StoredState(reading: Int(statement.integer(0))).status,
            attempts: Int(statement.integer(1)), submittedAt: Timestamp(microseconds: statement.integer(2)),
            endedAt: statement.optionalInteger(3).map(Timestamp.init(microseconds:)),
            result: statement.body(from: 5), failure: head.failure, failures: head.failures)
    }
}
