package import Core
import Foundation
import GRDB

extension SQLiteStore {
    package func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        guard let stored = committer.state.deployed(api) else { return nil }
        return try await reading(id, of: api, number: stored.number, now: now)
    }

    package func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        let limit = min(max(filter.limit, 0), Limits.listPage)
        guard limit > 0, let stored = committer.state.deployed(api) else { return [] }
        let before = filter.before?.data ?? Data(repeating: 0xFF, count: 17)
        let sources = Self.sources(for: filter.status)
        return try await reading { db in
            var records: [RequestRecord] = []
            for source in sources {
                let statement = try db.cachedStatement(
                    sql: """
                        SELECT r.id, r.state, r.attempts, r.submitted_at, r.ended_at, a.head
                        FROM (SELECT * FROM request \(source)
                            AND api = ? AND id < ? AND (purge_at IS NULL OR purge_at > ?) ORDER BY id DESC LIMIT ?) r
                        LEFT JOIN answer a ON a.number = r.answer ORDER BY r.id DESC
                        """)
                let rows = try Row.fetchCursor(
                    statement, arguments: [stored.number, before, now.microseconds, limit])
                while let row = try rows.next() { records.append(try RequestRecord(row, api: api)) }
            }
            guard sources.count > 1 else { return records }
            return Array(records.sorted { $0.id > $1.id }.prefix(limit))
        }
    }

    package func counts() async throws -> [String: QueueCounts] {
        let state = committer.state
        return state.apis.filter(\.value.isDeployed).mapValues { state.counts[$0.number, default: QueueCounts()] }
    }

    /// The index for the rows of each status, which contains only these; completed requests need none, because most
    /// requests are completed.
    private static func sources(for status: RequestStatus?) -> [String] {
        switch status {
        case nil: ["WHERE true"]
        case .inQueue:
            ["INDEXED BY request_queue WHERE state = 0", "INDEXED BY request_waiting WHERE state = 5"]
        case .inProgress: ["INDEXED BY request_leased WHERE state = 1"]
        case .completed: ["WHERE state = 2"]
        case .failed: ["INDEXED BY request_failed WHERE state = 3"]
        case .cancelled: ["INDEXED BY request_cancelled WHERE state = 4"]
        }
    }
}

extension RequestRecord {
    /// Reads id, state, attempts, submitted_at, ended_at and the answer's head.
    init(_ row: Row, api: String) throws {
        let ended: Int64? = row[4]
        let head = try FailureHead(decoding: row[5])
        self.init(
            id: try RequestID(row[0] as Data), api: api, status: try StoredState(reading: row[1]).status,
            attempts: row[2],
            submittedAt: Timestamp(microseconds: row[3]), endedAt: ended.map(Timestamp.init(microseconds:)),
            failure: head.failure, failures: head.failures)
    }
}
