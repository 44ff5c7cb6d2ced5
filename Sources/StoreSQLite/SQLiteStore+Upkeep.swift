package import Core
import Foundation
import GRDB
import Synchronization

/// The time at which the log was last emptied of erased rows.
struct ErasureClock {
    /// Well below the 60 seconds of contract C6, and rare enough not to slow down the writer.
    static let period: Duration = .seconds(15)

    var lastTime: Timestamp?

    func isDue(at now: Timestamp) -> Bool {
        guard let lastTime else { return true }
        // A clock that was set back must not delay the erasure.
        return now < lastTime || now - lastTime >= Self.period
    }
}

extension SQLiteStore {
    package func maintain(now: Timestamp) async throws -> Upkeep {
        var upkeep = Upkeep()
        let due = try await reading { db in
            try Bool.fetchAll(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM request WHERE state = 1 AND lease_end <= ?1)
                    UNION ALL SELECT EXISTS (SELECT 1 FROM request WHERE deadline <= ?1 AND state IN (0, 5))
                    UNION ALL SELECT EXISTS (SELECT 1 FROM request WHERE purge_at <= ?1)
                    UNION ALL SELECT EXISTS (SELECT 1 FROM request WHERE keep_until <= ?1)
                    UNION ALL SELECT EXISTS (SELECT 1 FROM api WHERE closing = 1 OR name IS NULL)
                    UNION ALL SELECT EXISTS (SELECT 1 FROM request WHERE state = 5 AND not_before > ?2)
                    UNION ALL SELECT EXISTS (SELECT 1 FROM job WHERE purge_at <= ?1)
                    """, arguments: [now.microseconds, (now + Limits.retryBackoff * 2).microseconds])
        }
        if due[0] { upkeep.rescued = try await inPacedSteps { try $0.rescue(now: now, limit: $1) } }
        if due[1] { upkeep.expired = try await inPacedSteps { try $0.expire(now: now, limit: $1) } }
        if due[2] { upkeep.purged = try await inPacedSteps { try $0.purge(now: now, limit: $1) } }
        if due[6] { upkeep.purged += try await inPacedSteps { try $0.purgeJobs(now: now, limit: $1) } }
        if due[3] { try await inPacedSteps { try $0.dropKept(now: now, limit: $1) } }
        if due[4] || due[6] { try await finishDeletions(now: now) }
        if due[5] { try await inPacedSteps { try $0.rescheduleAfterClockChange(now: now, limit: $1) } }
        // Rows that a deletion in the background is about to erase are not moved before.
        let isDeleting = deletions.withLock { $0 != nil }
        for log in [committer.state.payloads, committer.state.answers] where log.isDirty && !isDeleting {
            // If a power cut undoes it, it is done again.
            try await inPacedSteps(durable: false) { try $0.compact(log.table, limit: $1) ? $1 : 0 }
        }
        try await eraseFromDisk(now: now)
        await files.drain()
        return upkeep
    }

    /// Empties the log, so that erased rows are removed from the disk and not only from the tables, and releases free
    /// pages.
    private func eraseFromDisk(now: Timestamp) async throws {
        guard committer.holdsErasedBytes, erasure.withLock({ $0.isDue(at: now) }) else { return }
        // Before the log is emptied: deletions during that time must be seen the next time.
        committer.holdsErasedBytes = false
        do {
            let isDone = try await committer.onWriterThread { [committer] pool in
                try pool.writeWithoutTransaction { db in
                    do {
                        try committer.emptyLog(db)
                        return true
                    } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
                        // A reader still uses an old snapshot; the next call tries again.
                        return false
                    }
                }
            }
            guard isDone else {
                committer.holdsErasedBytes = true
                return
            }
        } catch {
            committer.holdsErasedBytes = true
            throw StoreFailure(error).platformError
        }
        erasure.withLock { $0.lastTime = now }
        await files.removeDeferred()
        try await shrink()
    }

    /// Releases pages when more than a quarter of the file is free; some are kept for new rows.
    private func shrink() async throws {
        for _ in 0..<Self.shrinkSteps {
            let isDone = try await committer.perform { transaction in
                let free = try Int.fetchOne(transaction.db, sql: "PRAGMA freelist_count") ?? 0
                let all = try Int.fetchOne(transaction.db, sql: "PRAGMA page_count") ?? 0
                guard free > max(Self.shrinkPages, all / 4) else { return true }
                _ = try Row.fetchAll(transaction.db, sql: "PRAGMA incremental_vacuum(\(Self.shrinkPages))")
                transaction.erasesBytes = true
                return false
            }
            if isDone { return }
        }
    }

    /// At most this number of steps of this number of pages in one call: 32 MiB.
    private static let shrinkSteps = 8
    private static let shrinkPages = 1024
}

extension WriteTransaction {
    /// Releases requests whose lease has expired.
    mutating func rescue(now: Timestamp, limit: Int) throws -> Int {
        try giveBack(
            rows("SELECT api, id FROM request WHERE state = 1 AND lease_end <= ? LIMIT ?", [now.microseconds, limit]))
    }

    /// Reschedules retries that a backward clock change left too far in the future.
    mutating func rescheduleAfterClockChange(now: Timestamp, limit: Int) throws -> Int {
        let far = try rows(
            "SELECT api, id FROM request WHERE state = 5 AND not_before > ? LIMIT ?",
            [(now + Limits.retryBackoff * 2).microseconds, limit])
        for row in far {
            let number: Int64 = row[0]
            try run(
                "UPDATE request SET not_before = ? WHERE api = ? AND id = ?",
                [now.microseconds, number, row[1] as Data])
            if let name = name(of: number) { changes.queued.insert(name) }
        }
        return far.count
    }

    /// Fails requests that waited longer than `max_queue_time`.
    mutating func expire(now: Timestamp, limit: Int) throws -> Int {
        let late = try rows(
            "SELECT api, id FROM request WHERE deadline <= ? AND state IN (0, 5) LIMIT ?",
            [now.microseconds, limit])
        for row in late {
            let number: Int64 = row[0]
            guard let name = name(of: number), let api = state.apis[name] else { continue }
            let id = try RequestID(row[1] as Data)
            guard let request = try requestRow(of: id, api: number) else { continue }
            let failure = RequestFailure(.expired, "The request waited in the queue longer than max_queue_time allows.")
            try end(id, api: api, request, to: .failed, failure: failure, now: now)
        }
        return late.count
    }

    /// Removes requests after their retention.
    mutating func purge(now: Timestamp, limit: Int) throws -> Int {
        let old = try rows("SELECT api, id FROM request WHERE purge_at <= ? LIMIT ?", [now.microseconds, limit])
        for row in old { try erase(RequestID(row[1] as Data), api: row[0]) }
        return old.count
    }

    /// Erases payloads of failed requests after `keep_failed`.
    mutating func dropKept(now: Timestamp, limit: Int) throws -> Int {
        let old = try rows(
            "SELECT api, id, items FROM request WHERE keep_until <= ? LIMIT ?", [now.microseconds, limit])
        for row in old {
            let number: Int64 = row[0]
            if (row[2] as Int64?) != nil {
                try dropItems(of: RequestID(row[1] as Data), job: number)
                continue
            }
            guard let request = try requestRow(of: RequestID(row[1] as Data), api: number) else { continue }
            try erase(request.payload, in: .payload)
            try run(
                "UPDATE request SET keep_until = NULL, payload = NULL WHERE api = ? AND id = ?",
                [number, row[1] as Data])
        }
        return old.count
    }
}
