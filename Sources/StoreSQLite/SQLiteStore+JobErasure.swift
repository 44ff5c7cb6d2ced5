import Core
import Foundation
import GRDB

/// The end of jobs whose retention is over or whose API is deleted. A job disappears in one step: its row is deleted
/// and its queue loses its name. The rest is erased in steps like that of a deleted API.
extension SQLiteStore {
    /// At a start: what was staged for a job that was not created is erased like a deleted API.
    static func dropStaged(_ db: Database) throws {
        try db.execute(
            sql: """
                UPDATE api SET name = NULL
                WHERE owner IS NOT NULL AND name IS NOT NULL AND number NOT IN (SELECT number FROM job)
                """)
    }
}

extension WriteTransaction {
    /// Stops the open jobs of an API that is deleted, or makes them disappear.
    mutating func endJobs(of api: Int64, areKept: Bool) throws {
        for var stored in state.jobs.values.filter({ $0.owner == api }) {
            if areKept {
                if stored.job.stop(by: .apiDeleted) { try save(stored) }
                continue
            }
            // Deliveries are cut off now.
            for row in try rows(
                "SELECT id FROM request INDEXED BY request_leased WHERE state = 1 AND api = ?", [stored.number])
            {
                changes.ended.insert(try RequestID(row[0] as Data))
            }
            changes.jobs.insert(stored.job.id)
            forget(stored)
        }
    }

    /// Makes jobs disappear whose retention is over.
    mutating func purgeJobs(now: Timestamp, limit: Int) throws -> Int {
        let old = try rows(
            "SELECT number, id, payload, answer FROM job WHERE purge_at <= ? LIMIT ?", [now.microseconds, limit])
        for row in old {
            changes.jobs.insert(try RequestID(row[1] as Data))
            try beginErasing(row[0], payload: row[2], answer: row[3])
        }
        return old.count
    }

    /// Makes some jobs of a deleted API disappear.
    ///
    /// - Returns: whether there was one.
    mutating func beginErasingJobs(of api: Int64, limit: Int) throws -> Bool {
        let queues = try rows(
            """
            SELECT q.number, j.payload, j.answer FROM api q LEFT JOIN job j ON j.number = q.number
            WHERE q.owner = ? AND q.name IS NOT NULL LIMIT ?
            """, [api, limit])
        for row in queues { try beginErasing(row[0], payload: row[1], answer: row[2]) }
        return !queues.isEmpty
    }

    private mutating func beginErasing(_ number: Int64, payload: Int64?, answer: Int64?) throws {
        if let payload { try erase(BodyLog.Place(number: payload, file: nil), in: .payload) }
        if let answer { try erase(BodyLog.Place(number: answer, file: nil), in: .answer) }
        try run("DELETE FROM job WHERE number = ?", [number])
        try run("UPDATE api SET name = NULL WHERE number = ?", [number])
    }

    /// Erases the next rows of a job that has disappeared. There may be millions, so each kind is done by a few
    /// statements, and emptied rows are deleted while their pages are still in memory.
    ///
    /// - Returns: whether there is more to do.
    mutating func eraseJob(_ number: Int64, limit: Int) throws -> Bool {
        let hasMore = try eraseRows(ofJob: number, limit: limit)
        for table in [BodyLog.Table.payload, .answer] where state[table].isDirty { try trim(table, limit: limit) }
        return hasMore
    }

    private mutating func eraseRows(ofJob number: Int64, limit: Int) throws -> Bool {
        if let found = try row(
            """
            SELECT max(line), count(answer), min(answer), max(answer)
            FROM (SELECT line, answer FROM outcome WHERE job = ? ORDER BY line LIMIT ?)
            """, [number, limit]), let line: Int64 = found[0]
        {
            if let first: Int64 = found[2], let last: Int64 = found[3] {
                let count: Int64 = found[1]
                if last - first < 2 * count {
                    // Nearly always the answers follow each other: one range is faster than many numbers.
                    try eraseLogRows(.answer, "number BETWEEN ? AND ? AND api = ?", [first, last, number])
                } else {
                    try eraseLogRows(
                        .answer, "number IN (SELECT answer FROM outcome WHERE job = ? AND line <= ?)", [number, line])
                }
            }
            try run("DELETE FROM outcome WHERE job = ? AND line <= ?", [number, line])
            return true
        }
        if let last = try row(
            "SELECT max(id) FROM (SELECT id FROM request WHERE api = ? ORDER BY id LIMIT ?)", [number, limit]),
            let id: Data = last[0]
        {
            try eraseLogRows(
                .payload, "number IN (SELECT payload FROM request WHERE api = ? AND id <= ?)", [number, id])
            try eraseLogRows(.answer, "number IN (SELECT answer FROM request WHERE api = ? AND id <= ?)", [number, id])
            try run("DELETE FROM request WHERE api = ? AND id <= ?", [number, id])
            return true
        }
        for table in ["job_file", "run"] {
            let last = try row(
                "SELECT max(number) FROM (SELECT number FROM \(table) WHERE job = ? ORDER BY number LIMIT ?)",
                [number, limit])
            guard let last, let end: Int64 = last[0] else { continue }
            try eraseLogRows(
                .answer, "number IN (SELECT answer FROM \(table) WHERE job = ? AND number <= ?)", [number, end])
            try run("DELETE FROM \(table) WHERE job = ? AND number <= ?", [number, end])
            return true
        }
        try run("DELETE FROM api WHERE number = ?", [number])
        state.counts[number] = nil
        return false
    }

    /// Empties the rows of a table that satisfy a condition, and releases their files.
    private mutating func eraseLogRows(_ table: BodyLog.Table, _ condition: String, _ arguments: StatementArguments)
        throws
    {
        for row in try rows(
            "SELECT file FROM \(table.rawValue) WHERE \(condition) AND file IS NOT NULL", arguments)
        {
            orphanedFiles.append(row[0])
        }
        let count = try run(
            """
            UPDATE \(table.rawValue)
            SET api = NULL, id = NULL, head = NULL, bytes = NULL, file = NULL, size = NULL WHERE \(condition)
            """, arguments)
        noteErased(in: table, count: count)
    }
}
