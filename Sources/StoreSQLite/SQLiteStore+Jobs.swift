package import Core
import Foundation
import GRDB
import Records

extension SQLiteStore {
    /// Rows of batches that one transaction inserts: a few milliseconds.
    private static let batchStep = 1000

    // MARK: Submission

    package func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws {
        for start in stride(from: 0, to: batches.count, by: Self.batchStep) {
            let step = batches[start..<min(start + Self.batchStep, batches.count)]
            // It becomes durable together with the job, which is committed later.
            try await committer.perform(durable: false) { try $0.stage(step, of: job, now: now) }
        }
    }

    package func discardStaged(_ job: RequestID) async throws {
        guard committer.state.staged[job] != nil else { return }
        // The upkeep erases the rows.
        try await committer.perform { try $0.discardStaged(job) }
    }

    package func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        var rest = batches[...]
        if batches.count > Self.batchStep {
            // Other callers do not wait for all of them at once.
            let refusal = try await committer.perform(durable: false) { try $0.refusal(of: job, now: now) }
            if let refusal {
                try await discardStaged(job.id)
                return refusal
            }
            let last = batches.count - Self.batchStep
            try await stage(Array(batches[..<last]), of: job, now: now)
            rest = batches[last...]
        }
        let result = try await committer.perform { [rest] in try $0.create(job, batches: rest, now: now) }
        if case .created = result { return result }
        continueDeletions(now: now)
        return result
    }

    package func append(
        _ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp
    ) async throws -> Job? {
        try await committer.perform { transaction in
            guard var stored = transaction.state.jobs[job], stored.job.acceptsInput else { return nil }
            try transaction.insert(batches[...], job: stored.number, now: now)
            stored.job.added(batches)
            stored.job.cursor = cursor
            if isLast { stored.job.completeInput(now: now) }
            if !batches.isEmpty { transaction.changes.queued.insert(stored.job.queue) }
            try transaction.callWhenDue(&stored, now: now)
            return try transaction.save(stored)
        }
    }

    // MARK: State

    package func openJobs() async throws -> [Job] {
        committer.state.jobs.values.map(\.job).sorted { $0.id < $1.id }
    }

    package func jobCounts(of api: String) async throws -> (pending: Int, active: Int) {
        let state = committer.state
        guard let number = state.deployed(api)?.number else { return (0, 0) }
        let open = state.jobs.values.filter { $0.owner == number }
        let pending = open.count { $0.job.isPending }
        return (pending, open.count - pending)
    }

    package func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        try await committer.perform { transaction in
            guard var stored = transaction.state.jobs[job], stored.job.change(to: status, reason: reason, now: now)
            else { return nil }
            return try transaction.save(stored)
        }
    }

    package func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? {
        try await committer.perform { transaction in
            guard var stored = transaction.state.jobs[job], stored.job.stop(by: stop) else { return nil }
            return try transaction.save(stored)
        }
    }

    package func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int {
        var rest = max(0, limit)
        while true {
            let step = min(rest, Self.batchStep)
            let left = try await committer.perform { try $0.cancelRest(of: job, limit: step, now: now) }
            rest -= step
            if left == 0 || rest == 0 { return left }
        }
    }

    // MARK: Runs

    package func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        try await committer.perform { transaction in
            guard let number = try transaction.number(ofJob: job, at: now) else { return false }
            switch try transaction.save(run, job: number) {
            case .refused: return false
            case .same: return true
            case .change, .next:
                try transaction.add(files, job: number)
                transaction.changes.jobs.insert(job)
                return true
            }
        }
    }

    package func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws {
        guard !files.isEmpty else { return }
        try await committer.perform { transaction in
            guard let number = try transaction.number(ofJob: job, at: now) else {
                transaction.orphanedFiles += files.compactMap(\.body?.fileName)
                transaction.erasesBytes = true
                return
            }
            try transaction.add(files, job: number)
            transaction.changes.jobs.insert(job)
        }
    }

    // MARK: Schedules

    package func save(_ state: ScheduleState, of schedule: String, api: String) async throws {
        let document = try JSONCoding.encode(ScheduleStateRecord(state))
        try await committer.perform { transaction in
            guard let number = transaction.state.deployed(api)?.number else { return }
            try transaction.run(
                "INSERT OR REPLACE INTO schedule (api, name, document) VALUES (?, ?, ?)", [number, schedule, document])
        }
    }

    package func removeSchedule(_ schedule: String, of api: String) async throws {
        try await committer.perform { transaction in
            guard let number = transaction.state.deployed(api)?.number else { return }
            try transaction.run("DELETE FROM schedule WHERE api = ? AND name = ?", [number, schedule])
        }
    }
}

extension WriteTransaction {
    // MARK: Creation

    mutating func stage(_ batches: ArraySlice<Batch>, of job: Job, now: Timestamp) throws {
        guard let owner = state.deployed(job.api)?.number else { throw Job.unknownAPI }
        var staged = try stagedJob(job.id, owner: owner)
        guard staged.owner == owner else { throw Job.unknownAPI }
        try insert(batches, job: staged.number, now: now)
        staged.batches += Int64(batches.count)
        staged.items += batches.reduce(0) { $0 + Int64($1.items.count) }
        state.staged[job.id] = staged
    }

    private func stagedJob(_ id: RequestID, owner: Int64) throws -> StagedJob {
        if let staged = state.staged[id] { return staged }
        let inserted = try row(
            "INSERT INTO api (name, deployed, owner) VALUES (?, 0, ?) ON CONFLICT DO NOTHING RETURNING number",
            [Job.queue(of: id), owner])
        guard let inserted else { throw Job.idIsUsed }
        return StagedJob(number: inserted[0], owner: owner)
    }

    /// Removes the name of a queue that is not a job's; its rows are erased like those of a deleted API.
    mutating func discardStaged(_ id: RequestID) throws {
        guard let staged = state.staged.removeValue(forKey: id) else { return }
        try run("UPDATE api SET name = NULL WHERE number = ?", [staged.number])
    }

    mutating func create(_ job: Job, batches: ArraySlice<Batch>, now: Timestamp) throws -> JobCreation {
        if let refusal = try refusal(of: job, now: now) {
            try discardStaged(job.id)
            return refusal
        }
        guard let owner = state.deployed(job.api)?.number else { return .unknownAPI }
        let staged = try stagedJob(job.id, owner: owner)
        try insert(batches, job: staged.number, now: now)
        var stored = StoredJob(number: staged.number, owner: owner, job: job)
        stored.job.added(batches: staged.batches, items: staged.items)
        stored.job.added(batches)
        if case .batch = job.submission.work, job.isInputComplete { stored.job.completeInput(now: now) }
        let payload = try append(
            to: .payload, api: staged.number, id: LogOwner.job.id,
            head: Array(try JSONCoding.encode(JobRecord(job))),
            body: .inline(Array(try JSONCoding.encode(DeployedAPIRecord(job.version)))))
        let submission = job.submission
        let planned = submission.schedule.flatMap { $0.isManual ? nil : $0.plannedAt.microseconds }
        try run(
            """
            INSERT INTO job (number, api, id, status, key, fingerprint, schedule, planned_at, payload, answer)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
            """,
            [
                staged.number, owner, job.id.data, stored.job.status.rawValue, submission.idempotency?.key,
                submission.idempotency.map { Data($0.fingerprint) }, submission.schedule?.name, planned, payload,
            ])
        state.staged[job.id] = nil
        state.jobNumbers[staged.number] = job.id
        if stored.job.counts.openBatches > 0 { changes.queued.insert(job.queue) }
        return .created(try save(stored))
    }

    /// Why a job cannot be created, or the job that is there in its place.
    mutating func refusal(of job: Job, now: Timestamp) throws -> JobCreation? {
        guard let owner = state.deployed(job.api)?.number, state.staged[job.id]?.owner ?? owner == owner else {
            return .unknownAPI
        }
        if let key = job.submission.idempotency {
            try run(
                "UPDATE job SET key = NULL WHERE api = ? AND key = ? AND purge_at <= ?",
                [owner, key.key, now.microseconds])
            if let row = try row("SELECT id, fingerprint FROM job WHERE api = ? AND key = ?", [owner, key.key]) {
                let fingerprint: Data = row[1]
                guard fingerprint.elementsEqual(key.fingerprint) else { return .idempotencyMismatch }
                return .existing(try self.job(RequestID(row[0] as Data), owner: owner))
            }
        }
        if let time = job.submission.schedule, !time.isManual {
            let row = try row(
                "SELECT id FROM job WHERE api = ? AND schedule = ? AND planned_at = ?",
                [owner, time.name, time.plannedAt.microseconds])
            if let row { return .existing(try self.job(RequestID(row[0] as Data), owner: owner)) }
        }
        if let limit = job.version.specification.jobs?.maxQueuedJobs,
            state.jobs.values.count(where: { $0.owner == owner && $0.job.isPending }) >= limit
        {
            return .queueFull
        }
        return nil
    }

    private func job(_ id: RequestID, owner: Int64) throws -> Job {
        if let stored = state.jobs[id] { return stored.job }
        var reader = JobReader()
        guard let row = try row(JobReader.sql + " WHERE j.api = ? AND j.id = ?", [owner, id.data]) else {
            throw RequestHead.Damaged()
        }
        return try reader.job(row)
    }

    mutating func insert(_ batches: ArraySlice<Batch>, job: Int64, now: Timestamp) throws {
        let statements = try hotPath.batchStatements()
        for batch in batches {
            let items = Int64(batch.items.count)
            let isNew = try statements.insert(
                batch.id, items: items, job: job, payload: state.payloads.next, now: now)
            guard isNew else { throw Job.idIsUsed }
            try append(
                to: .payload, api: job, id: batch.id,
                head: BatchHead(BatchPlace(index: batch.index, items: batch.items)).bytes, body: batch.body)
        }
    }

    // MARK: State

    /// Saves an open job that changed, also in its status.
    @discardableResult
    mutating func save(_ stored: StoredJob) throws -> Job {
        let job = stored.job
        let old: Int64? = try row("SELECT answer FROM job WHERE number = ?", [stored.number])?[0]
        // A new row has 0.
        if let old, old > 0 { try erase(BodyLog.Place(number: old, file: nil), in: .answer) }
        let answer = try append(
            to: .answer, api: stored.number, id: LogOwner.job.id,
            head: Array(try JSONCoding.encode(JobStateRecord(job))), body: nil)
        try run(
            "UPDATE job SET status = ?, purge_at = ?, answer = ? WHERE number = ?",
            [job.status.rawValue, job.purgeAt?.microseconds, answer, stored.number])
        changes.jobs.insert(job.id)
        if job.status.isOpen {
            state.jobs[job.id] = stored
            countedJobs.insert(job.id)
        } else {
            try hotPath.batchStatements().write(job.counts, job: stored.number)
            forget(stored)
        }
        return job
    }

    mutating func forget(_ stored: StoredJob) {
        state.jobs[stored.job.id] = nil
        state.jobNumbers[stored.number] = nil
        countedJobs.remove(stored.job.id)
    }

    /// Writes the counts that changed; called once, before the commit.
    mutating func writeJobCounts() throws {
        guard !countedJobs.isEmpty else { return }
        let statements = try hotPath.batchStatements()
        for id in countedJobs {
            guard let stored = state.jobs[id] else { continue }
            try statements.write(stored.job.counts, job: stored.number)
        }
        countedJobs = []
    }

    /// The number of a job that is created and not past its retention.
    func number(ofJob id: RequestID, at now: Timestamp) throws -> Int64? {
        if let stored = state.jobs[id] { return stored.number }
        let row = try row(
            """
            SELECT j.number FROM api q JOIN job j ON j.number = q.number
            WHERE q.name = ? AND (j.purge_at IS NULL OR j.purge_at > ?)
            """, [Job.queue(of: id), now.microseconds])
        return row?[0]
    }

    // MARK: Runs and files

    mutating func save(_ run: JobRun, job: Int64) throws -> JobRun.Replacement {
        let last = try row(
            """
            SELECT r.number, r.answer, a.head FROM run r JOIN answer a ON a.number = r.answer
            WHERE r.job = ? AND r.worker = ? AND r.attempt = ? ORDER BY r.number DESC LIMIT 1
            """, [job, run.worker, run.attempt])
        let head = Array(try JSONCoding.encode(JobRunRecord(run)))
        if let last {
            let old = try JSONDecoder().decode(JobRunRecord.self, from: last[2] as Data).run()
            let replacement = old.replacement(by: run)
            switch replacement {
            case .same, .refused: return replacement
            case .change:
                let number: Int64 = last[0]
                try erase(BodyLog.Place(number: last[1] as Int64, file: nil), in: .answer)
                let answer = try append(
                    to: .answer, api: job, id: LogOwner.run(number: number).id, head: head, body: nil)
                try self.run("UPDATE run SET answer = ? WHERE number = ?", [answer, number])
                return .change
            case .next: break
            }
        }
        let number = try nextNumber(of: "run")
        let answer = try append(to: .answer, api: job, id: LogOwner.run(number: number).id, head: head, body: nil)
        try self.run(
            "INSERT INTO run (number, job, worker, attempt, answer) VALUES (?, ?, ?, ?, ?)",
            [number, job, run.worker, run.attempt, answer])
        return .next
    }

    mutating func add(_ files: [JobFile], job: Int64) throws {
        // A search for each file would take the square of their number.
        var present = try self.files(atPlacesLike: files, job: job)
        for file in files {
            if let old = present[file.place] {
                // The same body again keeps its file.
                let isKept = old.file != nil && old.file == file.body?.fileName
                try erase(BodyLog.Place(number: old.answer, file: isKept ? nil : old.file), in: .answer)
                try run("DELETE FROM job_file WHERE number = ?", [old.number])
            }
            let number = try nextNumber(of: "job_file")
            let answer = try append(
                to: .answer, api: job, id: LogOwner.file(number: number).id,
                head: Array(try JSONCoding.encode(JobFileRecord(file))), body: file.body)
            try run(
                "INSERT INTO job_file (number, job, kind, worker, attempt, answer) VALUES (?, ?, ?, ?, ?, ?)",
                [number, job, file.kind.rawValue, file.worker, file.attempt, answer])
            present[file.place] = PresentFile(number: number, answer: answer, file: file.body?.fileName)
        }
    }

    private struct PresentFile {
        var number: Int64
        var answer: Int64
        var file: String?
    }

    /// What the job has of the kinds, workers and attempts of these files.
    private func files(atPlacesLike files: [JobFile], job: Int64) throws -> [JobFile.Place: PresentFile] {
        var present: [JobFile.Place: PresentFile] = [:]
        let groups = Set(files.map { JobFile.Place(kind: $0.kind, worker: $0.worker, attempt: $0.attempt, path: "") })
        for group in groups {
            let rows = try rows(
                """
                SELECT f.number, f.answer, a.head, a.file FROM job_file f JOIN answer a ON a.number = f.answer
                WHERE f.job = ? AND f.kind = ? AND f.worker = ? AND f.attempt = ?
                """, [job, group.kind.rawValue, group.worker, group.attempt])
            for row in rows {
                let record = try JSONDecoder().decode(JobFileRecord.self, from: row[2] as Data)
                let place = JobFile.Place(
                    kind: group.kind, worker: group.worker, attempt: group.attempt, path: record.path)
                present[place] = PresentFile(number: row[0], answer: row[1], file: row[3])
            }
        }
        return present
    }

    private func nextNumber(of table: String) throws -> Int64 {
        try row("SELECT coalesce(max(number), 0) + 1 FROM \(table)", [])?[0] ?? 1
    }
}

extension Job {
    mutating func added(_ batches: some Collection<Batch>) {
        added(batches: Int64(batches.count), items: batches.reduce(0) { $0 + Int64($1.items.count) })
    }
}

extension Body {
    /// The name of a body outside the database.
    var fileName: String? {
        if case .stored(let key, _) = self { key } else { nil }
    }
}
