import Core
import GRDB
import GRDBSQLite

/// The statements that every batch uses beside those of ``HotPathStatements``, prepared once for the writer's
/// connection. Used only on its thread.
final class BatchStatements {
    private let db: Database
    private let insertBatch: DirectStatement
    private let readLeased: DirectStatement
    private let insertOutcome: DirectStatement
    private let removeBatch: DirectStatement
    private let writeCounts: DirectStatement

    init(_ db: Database) throws {
        self.db = db
        insertBatch = try DirectStatement(
            db,
            """
            INSERT INTO request (api, id, state, submitted_at, payload, items) VALUES (?, ?, 0, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """)
        readLeased = try DirectStatement(
            db,
            "SELECT payload, attempts, items, answer FROM request WHERE api = ? AND id = ? AND state = 1 AND token = ?")
        insertOutcome = try DirectStatement(
            db,
            """
            INSERT INTO outcome (job, line, kind, attempts, first, count, items, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            """)
        removeBatch = try DirectStatement(db, "DELETE FROM request WHERE api = ? AND id = ?")
        writeCounts = try DirectStatement(
            db,
            """
            UPDATE job SET batches = ?, open_batches = ?, failed_batches = ?, items = ?, items_succeeded = ?,
                items_failed = ?, items_cancelled = ?, deliveries_succeeded = ?, deliveries_failed = ?, busy = ?, lines = ?
            WHERE number = ?
            """)
    }

    /// - Returns: whether there was no request of this id.
    func insert(_ id: RequestID, items: Int64, job: Int64, payload: Int64, now: Timestamp) throws -> Bool {
        insertBatch.bind(1, job)
        insertBatch.bind(2, id)
        insertBatch.bind(3, now.microseconds)
        insertBatch.bind(4, payload)
        insertBatch.bind(5, items)
        try insertBatch.run()
        return sqlite3_changes(db.sqliteConnection) == 1
    }

    struct Leased {
        let payload: Int64?
        let attempts: Int64
        /// 0 for the call after the last batch.
        let items: Int64
        let answer: Int64?
    }

    func leased(_ lease: Lease, job: Int64) throws -> Leased? {
        readLeased.bind(1, job)
        readLeased.bind(2, lease.id)
        readLeased.bind(3, lease.token)
        guard try readLeased.step() else { return nil }
        defer { readLeased.reset() }
        return Leased(
            payload: readLeased.optionalInteger(0), attempts: readLeased.integer(1), items: readLeased.integer(2),
            answer: readLeased.optionalInteger(3))
    }

    func insert(_ recorded: RecordedLine, job: Int64, answer: Int64?) throws {
        let items = recorded.line.items
        insertOutcome.bind(1, job)
        insertOutcome.bind(2, recorded.number)
        insertOutcome.bind(3, Int64(recorded.line.kind.rawValue))
        insertOutcome.bind(4, Int64(recorded.attempts))
        insertOutcome.bind(5, items.first ?? 0)
        insertOutcome.bind(6, Int64(items.count))
        if items.ranges.count > 1 {
            var bytes: [UInt8] = []
            items.appendRanges(to: &bytes)
            insertOutcome.bind(7, bytes)
        } else {
            insertOutcome.bind(7, nil as [UInt8]?)
        }
        insertOutcome.bind(8, answer)
        try insertOutcome.run()
    }

    func remove(_ id: RequestID, job: Int64) throws {
        removeBatch.bind(1, job)
        removeBatch.bind(2, id)
        try removeBatch.run()
    }

    func write(_ counts: JobCounts, job: Int64) throws {
        writeCounts.bind(1, counts.batches)
        writeCounts.bind(2, counts.openBatches)
        writeCounts.bind(3, counts.failedBatches)
        writeCounts.bind(4, counts.items)
        writeCounts.bind(5, counts.itemsSucceeded)
        writeCounts.bind(6, counts.itemsFailed)
        writeCounts.bind(7, counts.itemsCancelled)
        writeCounts.bind(8, counts.deliveriesSucceeded)
        writeCounts.bind(9, counts.deliveriesFailed)
        writeCounts.bind(10, counts.busy.wholeMicroseconds)
        writeCounts.bind(11, counts.lines)
        writeCounts.bind(12, job)
        try writeCounts.run()
    }
}

/// The column `kind` of an outcome.
enum LineKind: Int {
    case succeeded = 0
    /// The elements of the reply are the results of the items.
    case split = 1
    case failed = 2
}

extension ResultLine {
    var kind: LineKind {
        switch verdict {
        case .succeeded(_, isSplit: false): .succeeded
        case .succeeded(_, isSplit: true): .split
        case .failed: .failed
        }
    }
}
