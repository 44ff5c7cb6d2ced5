import Core
import Foundation
import GRDB

/// A table of bodies that only grows at its end, so that erased bytes are really erased.
///
/// SQLite's `secure_delete` overwrites a row in its place. But when pages are split or merged, copies of the moved rows
/// stay in the unused part of a page and are not overwritten when a row is deleted later (measured: about one row in
/// 500 with random deletes). Rows that are appended with a growing number and emptied in place never move. Emptied rows
/// are deleted only far from rows with content. Old rows that delay this for long are written again at the end of the
/// table.
struct BodyLog: Sendable {
    enum Table: String, Sendable {
        /// The data of callers; the head is a ``RequestHead``.
        case payload
        /// The answers of containers; the head is a ``FailureHead``.
        case answer
    }

    /// A row, and the file that it names.
    struct Place {
        let number: Int64
        let file: String?

        init(number: Int64, file: String?) {
            self.number = number
            self.file = file
        }

        init?(number: Int64?, file: String?) {
            guard let number else { return nil }
            self.init(number: number, file: file)
        }
    }

    /// Emptied rows that stay between the deleted ones and the first row with content. A page has at most about 300
    /// emptied rows, and SQLite moves rows between a page and its two neighbours.
    static let margin: Int64 = 2000
    /// A shorter table is not compacted: most rows stay for a while, and a few empty ones cost little.
    static let sparseLength: Int64 = 50_000

    /// Limits for the rows, and approximately for the bytes, that one step writes again.
    static let moveCount = 500
    static let moveLimit: Int64 = 4 << 20

    let table: Table
    /// The number of the next row.
    var next: Int64 = 1
    /// Rows before this one are empty.
    var head: Int64 = 1
    /// Rows before this one are deleted.
    var first: Int64 = 1
    /// How many rows may be written again: one for each emptied row, so that the size of the table stays proportional
    /// to its content, at a cost proportional to the traffic.
    var credit = 0
    /// Whether rows were emptied since the last compaction.
    var isDirty = false

    init(table: Table) { self.table = table }

    mutating func load(_ db: Database) throws {
        let row = try Row.fetchOne(db, sql: "SELECT min(number), max(number) FROM \(table.rawValue)")
        first = row?[0] ?? 1
        head = first
        next = (row?[1] ?? 0) + 1
        // An earlier process may have left work to do.
        isDirty = next > first
    }
}

extension StoreState {
    subscript(table: BodyLog.Table) -> BodyLog {
        get { table == .payload ? payloads : answers }
        set { if table == .payload { payloads = newValue } else { answers = newValue } }
    }
}

extension WriteTransaction {
    /// - Returns: the number of the new row.
    @discardableResult
    mutating func append(
        to table: BodyLog.Table, api: Int64, id: RequestID, head: [UInt8]?, body: Body?
    ) throws -> Int64 {
        let number = state[table].next
        try hotPath.insert(into: table, number: number, api: api, id: id, head: head, body: body)
        state[table].next += 1
        return number
    }

    /// Empties a row and releases its file.
    mutating func erase(_ place: BodyLog.Place?, in table: BodyLog.Table) throws {
        guard let place else { return }
        try run(
            table == .payload
                ? """
                UPDATE payload SET api = NULL, id = NULL, head = NULL, bytes = NULL, file = NULL, size = NULL WHERE number = ?
                """
                : """
                UPDATE answer SET api = NULL, id = NULL, head = NULL, bytes = NULL, file = NULL, size = NULL WHERE number = ?
                """,
            [place.number])
        if let file = place.file { orphanedFiles.append(file) }
        noteErased(in: table)
    }

    /// Empties the row of a payload, and releases its file.
    mutating func erasePayload(_ number: Int64) throws {
        if try hotPath.emptyPayload(number) { return noteErased(in: .payload) }
        let file = try row("SELECT file FROM payload WHERE number = ?", [number])?[0] as String?
        try erase(BodyLog.Place(number: number, file: file), in: .payload)
    }

    mutating func noteErased(in table: BodyLog.Table, count: Int = 1) {
        guard count > 0 else { return }
        state[table].credit += count
        state[table].isDirty = true
        erasesBytes = true
    }

    /// Advances the beginning of a table and deletes empty rows well before it.
    ///
    /// - Returns: whether there is more to do.
    mutating func compact(_ table: BodyLog.Table, limit: Int) throws -> Bool {
        let hasMore: Bool
        switch try skipEmpty(in: table, limit: limit) {
        case .content: hasMore = try relocateOld(in: table, limit: min(limit, BodyLog.moveCount))
        case .end: hasMore = false
        case .more: hasMore = true
        }
        guard try deleteEmpty(in: table, limit: limit), !hasMore else { return true }
        let log = state[table]
        state[table].isDirty = false
        state[table].credit = min(log.credit, Int(log.next - log.head))
        return false
    }

    /// Deletes empty rows well before the beginning of a table, without moving others.
    mutating func trim(_ table: BodyLog.Table, limit: Int) throws {
        _ = try skipEmpty(in: table, limit: limit)
        _ = try deleteEmpty(in: table, limit: limit)
    }

    private enum Skipped { case content, end, more }

    /// Advances the beginning of a table to the next row with content, by at most `limit` rows.
    private mutating func skipEmpty(in table: BodyLog.Table, limit: Int) throws -> Skipped {
        let row = try row(
            """
            SELECT count(*), max(number), min(CASE WHEN api IS NOT NULL THEN number END)
            FROM (SELECT number, api FROM \(table.rawValue) WHERE number >= ? ORDER BY number LIMIT ?)
            """, [state[table].head, limit])
        guard let row, let last: Int64 = row[1] else { return .end }
        if let content: Int64 = row[2] {
            state[table].head = content
            return .content
        }
        state[table].head = last + 1
        return (row[0] as Int) < limit ? .end : .more
    }

    /// Writes the first rows of a table again at its end while that is allowed.
    ///
    /// - Returns: whether there is more to do.
    private mutating func relocateOld(in table: BodyLog.Table, limit: Int) throws -> Bool {
        let rows = try rows(
            "SELECT number, api, id FROM \(table.rawValue) WHERE number >= ? ORDER BY number LIMIT ?",
            [state[table].head, limit])
        var moved: Int64 = 0
        for row in rows {
            let number: Int64 = row[0]
            if let api: Int64 = row[1] {
                let log = state[table]
                guard log.credit > 0, log.next - log.head > BodyLog.sparseLength else { return false }
                // A step must not delay other callers for long.
                guard moved < BodyLog.moveLimit else { return true }
                moved += try relocate(number, in: table, api: api, id: row[2])
                // The row that this emptied gives no right to move another one.
                state[table].credit = log.credit - 1
            }
            state[table].head = number + 1
        }
        return rows.count == limit
    }

    /// - Returns: whether all rows that may be deleted are deleted.
    private mutating func deleteEmpty(in table: BodyLog.Table, limit: Int) throws -> Bool {
        let log = state[table]
        // A table without content has nothing that could be copied.
        let margin = log.head == log.next ? 0 : BodyLog.margin
        let end = min(log.head - margin, log.first + Int64(limit))
        if end > log.first {
            try run("DELETE FROM \(table.rawValue) WHERE number < ?", [end])
            state[table].first = end
        }
        return log.head - margin <= state[table].first
    }

    /// Writes a row again at the end.
    ///
    /// - Returns: its bytes.
    private mutating func relocate(_ number: Int64, in table: BodyLog.Table, api: Int64, id: Data) throws -> Int64 {
        let row = try row("SELECT head, bytes, file, size FROM \(table.rawValue) WHERE number = ?", [number])
        guard let row else { return 0 }
        let body = Body(row, from: 1)
        let head: Data? = row[0]
        let owner = try RequestID(id)
        let new = try append(to: table, api: api, id: owner, head: head.map(Array.init), body: body)
        switch LogOwner(owner) {
        case .request: try run("UPDATE request SET \(table.rawValue) = ? WHERE api = ? AND id = ?", [new, api, id])
        case .job: try run("UPDATE job SET \(table.rawValue) = ? WHERE number = ?", [new, api])
        case .outcome(let line): try run("UPDATE outcome SET answer = ? WHERE job = ? AND line = ?", [new, api, line])
        case .run(let number): try run("UPDATE run SET answer = ? WHERE number = ?", [new, number])
        case .file(let number): try run("UPDATE job_file SET answer = ? WHERE number = ?", [new, number])
        }
        try erase(BodyLog.Place(number: number, file: nil), in: table)
        if case .inline(let bytes)? = body { return Int64(bytes.count) }
        return 0
    }
}
