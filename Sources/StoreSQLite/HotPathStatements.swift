import Core
import GRDB
import GRDBSQLite

/// The statements that every request uses, prepared once for the writer's connection.
///
/// `@unchecked Sendable`: created by the writer's thread inside a transaction, used and released only there
/// (``Committer``).
final class HotPathStatements: @unchecked Sendable {
    private let db: Database
    private let insertRequest: DirectStatement
    private let insertPayload: DirectStatement
    private let insertAnswer: DirectStatement
    private let wakeRetries: DirectStatement
    private let claim: DirectStatement
    private let readPayload: DirectStatement
    private let readLeased: DirectStatement
    private let complete: DirectStatement
    private let emptyPayload: DirectStatement
    /// Prepared by the first job.
    private var batches: BatchStatements?

    init(_ db: Database) throws {
        self.db = db
        insertRequest = try DirectStatement(
            db,
            """
            INSERT INTO request (api, id, state, submitted_at, deadline, key, payload) VALUES (?, ?, 0, ?, ?, ?, ?)
            ON CONFLICT DO NOTHING
            """)
        insertPayload = try DirectStatement(
            db, "INSERT INTO payload (number, api, id, head, bytes, file, size) VALUES (?, ?, ?, ?, ?, ?, ?)")
        insertAnswer = try DirectStatement(
            db, "INSERT INTO answer (number, api, id, head, bytes, file, size) VALUES (?, ?, ?, ?, ?, ?, ?)")
        wakeRetries = try DirectStatement(
            db, "UPDATE request SET state = 0, not_before = NULL WHERE api = ? AND state = 5 AND not_before <= ?")
        claim = try DirectStatement(
            db,
            """
            UPDATE request SET state = 1, token = token + 1, lease_end = ?1, holder = ?2
            WHERE api = ?3 AND id IN (
                SELECT id FROM request INDEXED BY request_queue
                WHERE api = ?3 AND state = 0 AND (deadline IS NULL OR deadline > ?4) ORDER BY id LIMIT ?5)
            RETURNING id, token, attempts, submitted_at, payload, answer
            """)
        readPayload = try DirectStatement(db, "SELECT head, bytes, file, size FROM payload WHERE number = ?")
        readLeased = try DirectStatement(
            db,
            """
            SELECT payload FROM request WHERE api = ? AND id = ? AND state = 1 AND token = ? AND answer IS NULL
            """)
        complete = try DirectStatement(
            db,
            """
            UPDATE request SET state = 2, attempts = attempts + 1, answer = ?, payload = NULL, ended_at = ?, purge_at = ?,
                keep_until = NULL, not_before = NULL, deadline = NULL, lease_end = NULL, holder = NULL
            WHERE api = ? AND id = ?
            """)
        emptyPayload = try DirectStatement(
            db,
            """
            UPDATE payload SET api = NULL, id = NULL, head = NULL, bytes = NULL, size = NULL
            WHERE number = ? AND file IS NULL
            """)
    }

    private var changes: Int32 { sqlite3_changes(db.sqliteConnection) }

    /// - Returns: whether there was no request of this id.
    func insertRequest(
        api: Int64, id: RequestID, now: Timestamp, deadline: Timestamp?, key: String?, payload: Int64
    ) throws -> Bool {
        insertRequest.bind(1, api)
        insertRequest.bind(2, id)
        insertRequest.bind(3, now.microseconds)
        insertRequest.bind(4, deadline?.microseconds)
        insertRequest.bind(5, key)
        insertRequest.bind(6, payload)
        try insertRequest.run()
        return changes == 1
    }

    func insert(
        into table: BodyLog.Table, number: Int64, api: Int64, id: RequestID, head: [UInt8]?, body: Body?
    ) throws {
        let insert = table == .payload ? insertPayload : insertAnswer
        insert.bind(1, number)
        insert.bind(2, api)
        insert.bind(3, id)
        insert.bind(4, head)
        switch body {
        case .inline(let bytes)?:
            insert.bind(5, bytes)
            insert.bind(6, nil as String?)
        case .stored(let name, _)?:
            insert.bind(5, nil as [UInt8]?)
            insert.bind(6, name)
        case nil:
            insert.bind(5, nil as [UInt8]?)
            insert.bind(6, nil as String?)
        }
        insert.bind(7, body?.size)
        try insert.run()
    }

    /// Makes requests whose retry time has come claimable.
    func wakeRetries(api: Int64, now: Timestamp) throws {
        wakeRetries.bind(1, api)
        wakeRetries.bind(2, now.microseconds)
        try wakeRetries.run()
    }

    struct Claimed {
        let id: RequestID
        let token: Int64
        let attempts: Int64
        let submittedAt: Timestamp
        let payload: Int64?
        /// The results of earlier deliveries; `nil` for nearly all.
        let answer: Int64?
    }

    func claim(api: Int64, limit: Int, leaseEnd: Timestamp, holder: LeaseHolder, now: Timestamp) throws -> [Claimed] {
        claim.bind(1, leaseEnd.microseconds)
        claim.bind(2, holder.bytes)
        claim.bind(3, api)
        claim.bind(4, now.microseconds)
        claim.bind(5, Int64(limit))
        // A row that cannot be read must not leave the statement open when the transaction ends.
        defer { claim.reset() }
        var claimed: [Claimed] = []
        while try claim.step() {
            claimed.append(
                Claimed(
                    id: try claim.requestID(0), token: claim.integer(1), attempts: claim.integer(2),
                    submittedAt: Timestamp(microseconds: claim.integer(3)), payload: claim.optionalInteger(4),
                    answer: claim.optionalInteger(5)))
        }
        return claimed
    }

    /// Head and body of a payload; `nil` if it was erased.
    func payload(_ number: Int64) throws -> (head: RequestHead, body: Body)? {
        readPayload.bind(1, number)
        guard try readPayload.step() else { return nil }
        defer { readPayload.reset() }
        guard let body = readPayload.body(from: 1) else { return nil }
        return (try readPayload.withBytes(0) { try RequestHead(decoding: $0) }, body)
    }

    /// Place and body of a batch; the body is `nil` if it was erased.
    func batch(_ number: Int64) throws -> (head: BatchHead, body: Body?)? {
        readPayload.bind(1, number)
        guard try readPayload.step() else { return nil }
        defer { readPayload.reset() }
        guard !readPayload.isNull(0) else { return nil }
        return (try readPayload.withBytes(0) { try BatchHead(decoding: $0) }, readPayload.body(from: 1))
    }

    /// The place of a batch; its body is not read.
    func batchHead(_ number: Int64) throws -> BatchHead? {
        readPayload.bind(1, number)
        guard try readPayload.step() else { return nil }
        defer { readPayload.reset() }
        return try readPayload.isNull(0) ? nil : readPayload.withBytes(0) { try BatchHead(decoding: $0) }
    }

    /// The further statements of batches.
    func batchStatements() throws -> BatchStatements {
        if let batches { return batches }
        let prepared = try BatchStatements(db)
        batches = prepared
        return prepared
    }

    /// The number of the payload of a request that is leased with this token and has no answer row of earlier attempts.
    ///
    /// - Returns: `nil` if there is no such request; a `nil` inside if it has no payload row.
    func leased(_ lease: Lease, api: Int64) throws -> Int64?? {
        readLeased.bind(1, api)
        readLeased.bind(2, lease.id)
        readLeased.bind(3, lease.token)
        guard try readLeased.step() else { return nil }
        defer { readLeased.reset() }
        return .some(readLeased.optionalInteger(0))
    }

    func complete(_ id: RequestID, api: Int64, answer: Int64, now: Timestamp, purgeAt: Timestamp) throws {
        complete.bind(1, answer)
        complete.bind(2, now.microseconds)
        complete.bind(3, purgeAt.microseconds)
        complete.bind(4, api)
        complete.bind(5, id)
        try complete.run()
    }

    /// - Returns: `false` for a payload in a file, of which nothing was changed.
    func emptyPayload(_ number: Int64) throws -> Bool {
        emptyPayload.bind(1, number)
        try emptyPayload.run()
        return changes == 1
    }
}
