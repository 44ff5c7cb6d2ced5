package import Core
import Foundation
import GRDB
import Records

extension SQLiteStore {
    package func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? {
        while true {
            let state = committer.state
            guard let owner = state.deployed(api)?.number else { return nil }
            // What is being delivered is only in memory.
            if let stored = state.jobs[id] { return stored.owner == owner ? stored.job : nil }
            let found = try await reading { db -> Job? in
                var reader = JobReader()
                return try Row.fetchOne(
                    db, sql: JobReader.sql + " WHERE j.api = ? AND j.id = ?", arguments: [owner, id.data]
                ).map { try reader.job($0) }
            }
            guard let found, found.status.isOpen else { return found.flatMap { $0.isPurged(at: now) ? nil : $0 } }
            // It was created meanwhile.
        }
    }

    package func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] {
        let limit = min(max(filter.limit, 0), Limits.listPage)
        guard limit > 0, let owner = committer.state.deployed(api)?.number else { return [] }
        let before = filter.before?.data ?? Data(repeating: 0xFF, count: 17)
        let statuses = filter.statuses.map { $0.map(\.rawValue).sorted() }
        let found = try await reading { db in
            var reader = JobReader()
            var jobs: [Job] = []
            // One range of an index for each status.
            for status in statuses?.map(Optional.some) ?? [nil] {
                let condition = status == nil ? "" : "AND j.status = ?5"
                var arguments: StatementArguments = [owner, before, now.microseconds, limit]
                if let status { arguments += [status] }
                let rows = try Row.fetchAll(
                    db,
                    sql: """
                        \(JobReader.sql) WHERE j.api = ?1 AND j.id < ?2 AND (j.purge_at IS NULL OR j.purge_at > ?3)
                        \(condition) ORDER BY j.id DESC LIMIT ?4
                        """, arguments: arguments)
                for row in rows { jobs.append(try reader.job(row)) }
            }
            return jobs.sorted { $0.id > $1.id }.prefix(limit)
        }
        let open = committer.state.jobs
        return found.map { $0.status.isOpen ? open[$0.id]?.job ?? $0 : $0 }
    }

    // MARK: Results

    package func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws
        -> [RecordedLine]
    {
        let limit = min(max(limit, 0), Limits.listPage)
        guard limit > 0 else { return [] }
        return try await reading { db in
            guard let row = try Self.number(ofJob: job, at: now, db) else { return [] }
            let statement = DirectStatement(
                try db.cachedStatement(
                    sql: """
                        SELECT o.line, o.kind, o.attempts, o.first, o.count, o.items, a.head, a.bytes, a.file, a.size
                        FROM outcome o LEFT JOIN answer a ON a.number = o.answer
                        WHERE o.job = ? AND o.line > ? ORDER BY o.line LIMIT ?
                        """))
            statement.bind(1, row)
            statement.bind(2, number)
            statement.bind(3, Int64(limit))
            defer { statement.reset() }
            var lines: [RecordedLine] = []
            lines.reserveCapacity(limit)
            while try statement.step() { lines.append(try RecordedLine(statement)) }
            return lines
        }
    }

    package func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] {
        let limit = min(max(limit, 0), Limits.listPage)
        guard limit > 0 else { return [] }
        let after = index.map { Batch.id(index: $0, of: job).data } ?? Data()
        return try await reading { db in
            guard let number = try Self.number(ofJob: job, at: now, db) else { return [] }
            var batches: [StoredBatch] = []
            for state in states {
                for source in state.sources {
                    let rows = try Row.fetchCursor(
                        try db.cachedStatement(
                            sql: """
                                SELECT r.attempts, r.keep_until, p.head, p.bytes, p.file, p.size, a.head
                                FROM (SELECT * FROM request \(source)
                                    AND api = ? AND id > ? AND items > 0 ORDER BY id LIMIT ?) r
                                JOIN payload p ON p.number = r.payload
                                LEFT JOIN answer a ON a.number = r.answer ORDER BY r.id
                                """), arguments: [number, after, limit])
                    while let row = try rows.next() {
                        batches.append(try StoredBatch(row, state: state, job: job, now: now))
                    }
                }
            }
            return Array(batches.sorted { $0.batch.index < $1.batch.index }.prefix(limit))
        }
    }

    /// The number of a job that callers see.
    private static func number(ofJob id: RequestID, at now: Timestamp, _ db: Database) throws -> Int64? {
        try Int64.fetchOne(
            db,
            sql: """
                SELECT j.number FROM api q JOIN job j ON j.number = q.number JOIN api o ON o.number = j.api
                WHERE q.name = ? AND o.deployed = 1 AND (j.purge_at IS NULL OR j.purge_at > ?)
                """, arguments: [Job.queue(of: id), now.microseconds])
    }

    // MARK: Runs

    package func runs(of job: RequestID, limit: Int) async throws -> [JobRun] {
        guard limit > 0 else { return [] }
        return try await reading { db in
            try Data.fetchAll(
                db,
                sql: """
                    SELECT a.head FROM api q JOIN run r ON r.job = q.number JOIN answer a ON a.number = r.answer
                    WHERE q.name = ? ORDER BY r.number DESC LIMIT ?
                    """, arguments: [Job.queue(of: job), limit]
            ).map { try JSONDecoder().decode(JobRunRecord.self, from: $0).run() }
        }
    }

    package func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile] {
        try await reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT f.worker, f.attempt, a.head, a.bytes, a.file, a.size
                    FROM api q JOIN job_file f ON f.job = q.number JOIN answer a ON a.number = f.answer
                    WHERE q.name = ? AND f.kind = ?
                    """, arguments: [Job.queue(of: job), kind.rawValue]
            ).map { row in
                let record = try JSONDecoder().decode(JobFileRecord.self, from: row[2] as Data)
                return JobFile(
                    kind: kind, worker: row[0], attempt: row[1], path: record.path,
                    content: try record.content(Body(row, from: 3)))
            }.sorted(by: JobFile.isOrderedBefore)
        }
    }

    // MARK: Schedules

    package func schedules(of api: String) async throws -> [String: ScheduleState] {
        guard let number = committer.state.deployed(api)?.number else { return [:] }
        return try await reading { db in
            var states: [String: ScheduleState] = [:]
            for row in try Row.fetchAll(
                db, sql: "SELECT name, document FROM schedule WHERE api = ?", arguments: [number])
            {
                let record = try JSONDecoder().decode(ScheduleStateRecord.self, from: row[1] as Data)
                states[row[0]] = try record.state()
            }
            return states
        }
    }
}

extension RecordedLine {
    /// Reads line, kind, attempts, first, count, items, and the answer's head and body.
    fileprivate init(_ row: DirectStatement) throws {
        guard let kind = LineKind(rawValue: Int(row.integer(1))) else { throw RequestHead.Damaged() }
        let first = row.integer(3)
        let items =
            row.isNull(5)
            ? ItemSet(first..<first + row.integer(4)) : try row.withBytes(5) { try ItemSet(decodingRanges: $0) }
        let verdict: ResultLine.Verdict
        switch kind {
        case .succeeded, .split: verdict = .succeeded(reply: row.body(from: 7), isSplit: kind == .split)
        case .failed:
            guard let failure = try FailureHead(decoding: Data(row.bytes(6))).failure else {
                throw RequestHead.Damaged()
            }
            verdict = .failed(failure)
        }
        self.init(
            number: row.integer(0), attempts: Int(row.integer(2)), line: ResultLine(items: items, verdict: verdict))
    }
}

extension StoredBatch {
    /// Reads attempts, keep_until, the payload's head and body, and the answer's head.
    fileprivate init(_ row: Row, state: State, job: RequestID, now: Timestamp) throws {
        let place = try BatchHead(decoding: row[2] as Data).place
        let keepUntil: Int64? = row[1]
        let body = keepUntil.map { now.microseconds < $0 } ?? true ? Body(row, from: 3) : nil
        self.init(
            batch: Batch(index: place.index, of: job, items: place.items, body: body ?? .empty), state: state,
            isKept: body != nil, attempts: row[0],
            failure: state == .failed ? try FailureHead(decoding: row[6]).failure : nil)
    }
}

extension StoredBatch.State {
    /// The index for the rows of the state, which contains only these.
    fileprivate var sources: [String] {
        switch self {
        case .inQueue: ["INDEXED BY request_queue WHERE state = 0", "INDEXED BY request_waiting WHERE state = 5"]
        case .inProgress: ["INDEXED BY request_leased WHERE state = 1"]
        case .failed: ["INDEXED BY request_failed WHERE state = 3"]
        case .cancelled: ["INDEXED BY request_cancelled WHERE state = 4"]
        }
    }
}
