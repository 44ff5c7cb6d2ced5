import Core
import Foundation
import GRDB

/// Deliveries from the hidden queues of jobs. Each batch costs the statements of a request and one more, the row of its
/// line; the counts of a job are written once per commit.
extension WriteTransaction {
    mutating func claimBatches(
        of id: RequestID, limit: Int, leaseEnd: Timestamp, holder: LeaseHolder, now: Timestamp
    ) throws -> [ClaimedRequest] {
        guard var stored = state.jobs[id], stored.job.isClaimable else { return [] }
        try hotPath.wakeRetries(api: stored.number, now: now)
        let claimed = try hotPath.claim(
            api: stored.number, limit: limit, leaseEnd: leaseEnd, holder: holder, now: now)
        guard !claimed.isEmpty else { return [] }
        var batches: Int64 = 0
        var items: Int64 = 0
        let queue = stored.job.queue
        let requests = try claimed.map { request in
            guard let payload = try request.payload.flatMap({ try hotPath.batch($0) }) else {
                throw RequestHead.Damaged()
            }
            let place = payload.head.place
            if !place.isCompletion {
                batches += 1
                items += Int64(place.items.count)
            }
            let interruptions = try request.answer.flatMap { try interruptionCount($0) } ?? 0
            return ClaimedRequest(
                lease: Lease(api: queue, id: request.id, token: request.token), payload: payload.body ?? .empty,
                headers: [], query: nil, attempts: Int(request.attempts), interruptions: interruptions,
                submittedAt: request.submittedAt, batch: place)
        }
        let status = stored.job.status
        stored.job.began(batches: batches, items: items, now: now)
        // What is being delivered is not written: a start counts the leases.
        if status == stored.job.status { state.jobs[id] = stored } else { try save(stored) }
        return requests.sorted { $0.id < $1.id }
    }

    /// Releases a delivery of a batch.
    mutating func releaseBatch(_ lease: Lease) throws {
        guard let stored = state.job(ofQueue: lease.api) else { return }
        let released = try row(
            """
            UPDATE request SET state = 0, lease_end = NULL, holder = NULL
            WHERE api = ? AND id = ? AND state = 1 AND token = ? RETURNING items
            """, [stored.number, lease.id.data, lease.token])
        guard let released else { return }
        returned(items: released[0], of: stored.job.id)
        changes.queued.insert(lease.api)
    }

    /// A batch in delivery was put back into its queue.
    mutating func returned(_ id: Data, ofJob number: Int64) throws {
        guard let job = state.jobNumbers[number] else { return }
        let row = try row("SELECT items FROM request WHERE api = ? AND id = ?", [number, id])
        returned(items: row?[0] ?? 0, of: job)
    }

    private mutating func returned(items: Int64, of job: RequestID) {
        if items > 0 { state.jobs[job]?.job.returned(items: items) }
    }

    // MARK: Ends of deliveries

    mutating func finishBatch(_ lease: Lease, outcome: Outcome, now: Timestamp) throws -> LeaseResult {
        guard let stored = state.job(ofQueue: lease.api) else { return .stale }
        let statements = try hotPath.batchStatements()
        guard let leased = try statements.leased(lease, job: stored.number) else { return .stale }
        guard let head = try leased.payload.flatMap({ try hotPath.batchHead($0) }) else {
            throw RequestHead.Damaged()
        }
        guard let end = JobDeliveryEnd(outcome, of: head.place) else { return .stale }
        switch end {
        case .batch(let outcome):
            guard outcome.fits(head.place.items) else { throw BatchOutcome.misfit }
            if outcome.isWholeSuccess {
                try recordSuccess(outcome, lease, leased, stored, now: now)
            } else {
                try record(outcome, lease, leased, at: head.place, stored, now: now)
            }
        case .completion(let completion):
            var stored = stored
            try erase(lease.id, api: stored.number)
            stored.job.ended(by: completion, now: now)
            changes.ended.insert(lease.id)
            try save(stored)
        case .retriedCompletion(let notBefore):
            try run(
                """
                UPDATE request SET state = 5, attempts = attempts + 1, not_before = ?, lease_end = NULL, holder = NULL
                WHERE api = ? AND id = ?
                """, [notBefore.microseconds, stored.number, lease.id.data])
            changes.queued.insert(lease.api)
        case .interrupted:
            let answer = try replaceAnswer(
                leased.answer.map { BodyLog.Place(number: $0, file: nil) }, api: stored.number, id: lease.id,
                isInterruption: true)
            try run(
                "UPDATE request SET answer = ? WHERE api = ? AND id = ?", [answer, stored.number, lease.id.data])
            try releaseBatch(lease)
        }
        return .applied
    }

    /// Records a batch of which every item succeeded: its line is all that stays.
    private mutating func recordSuccess(
        _ outcome: BatchOutcome, _ lease: Lease, _ leased: BatchStatements.Leased, _ stored: StoredJob, now: Timestamp
    ) throws {
        var stored = stored
        let lines = stored.job.ended(outcome, items: leased.items, attempts: Int(leased.attempts) + 1)
        for line in lines { try insert(line, job: stored.number) }
        if let payload = leased.payload { try erasePayload(payload) }
        if let answer = leased.answer { try erase(BodyLog.Place(number: answer, file: nil), in: .answer) }
        try hotPath.batchStatements().remove(lease.id, job: stored.number)
        changes.ended.insert(lease.id)
        try count(&stored, now: now)
    }

    private mutating func record(
        _ outcome: BatchOutcome, _ lease: Lease, _ leased: BatchStatements.Leased, at place: BatchPlace,
        _ stored: StoredJob, now: Timestamp
    ) throws {
        var stored = stored
        let number = stored.number
        let lines = stored.job.ended(outcome, items: leased.items, attempts: Int(leased.attempts) + 1)
        for line in lines { try insert(line, job: number) }
        switch outcome.next {
        case .retry(_, let notBefore):
            let payload = try replaceItems(
                of: lease.id, job: number, leased.payload, at: place, by: outcome.remainder)
            try run(
                """
                UPDATE request SET state = 5, attempts = attempts + 1, not_before = ?, payload = ?, items = ?,
                    lease_end = NULL, holder = NULL WHERE api = ? AND id = ?
                """,
                [
                    notBefore.microseconds, payload, outcome.remainder?.items.count ?? place.items.count, number,
                    lease.id.data,
                ])
            changes.queued.insert(lease.api)
        case .ended:
            let failed = outcome.unsucceeded(of: place.items) ?? place.items
            let keepFailed = stored.job.keepFailed
            var payload = leased.payload
            // The body of a batch that failed in part has items that succeeded.
            let hasBody = outcome.remainder != nil || failed == place.items
            let isKept = keepFailed > .zero && hasBody
            if let remainder = outcome.remainder, isKept {
                payload = try replaceItems(of: lease.id, job: number, payload, at: place, by: remainder)
            } else if !isKept {
                if let file = outcome.remainder?.body.fileName { orphanedFiles.append(file) }
                payload = try dropItems(
                    of: lease.id, job: number, payload, at: BatchPlace(index: place.index, items: failed))
            }
            let answer = try replaceAnswer(
                leased.answer.map { BodyLog.Place(number: $0, file: nil) }, api: number, id: lease.id,
                failure: lines.lazy.compactMap(\.line.failure).first)
            try run(
                """
                UPDATE request SET state = 3, attempts = attempts + 1, ended_at = ?, keep_until = ?, payload = ?,
                    items = ?, answer = ?, not_before = NULL, lease_end = NULL, holder = NULL WHERE api = ? AND id = ?
                """,
                [
                    now.microseconds, isKept ? (now + keepFailed).microseconds : nil, payload, failed.count, answer,
                    number, lease.id.data,
                ])
            changes.ended.insert(lease.id)
        }
        try count(&stored, now: now)
    }

    /// The end of a delivery changed the counts of a job.
    private mutating func count(_ stored: inout StoredJob, now: Timestamp) throws {
        changes.jobs.insert(stored.job.id)
        if stored.job.isCompletionDue {
            try callWhenDue(&stored, now: now)
            try save(stored)
        } else {
            state.jobs[stored.job.id] = stored
            countedJobs.insert(stored.job.id)
        }
    }

    private mutating func insert(_ recorded: RecordedLine, job: Int64) throws {
        var answer: Int64?
        let owner = LogOwner.outcome(line: recorded.number).id
        switch recorded.line.verdict {
        case .succeeded(let reply?, _):
            answer = try append(to: .answer, api: job, id: owner, head: nil, body: reply)
        case .succeeded(nil, _): break
        case .failed(let failure):
            var head = FailureHead()
            head.failure = failure
            answer = try append(
                to: .answer, api: job, id: owner, head: Array(try JSONCoding.encode(head)), body: nil)
        }
        try hotPath.batchStatements().insert(recorded, job: job, answer: answer)
    }

    /// Makes the request of the call after the last batch when it is due; the job is saved by the caller.
    mutating func callWhenDue(_ stored: inout StoredJob, now: Timestamp) throws {
        guard stored.job.isCompletionDue else { return }
        stored.job.completion = .running
        let call = Batch(index: Batch.completionIndex, of: stored.job.id, items: ItemSet([]), body: .empty)
        try insert([call], job: stored.number, now: now)
        changes.queued.insert(stored.job.queue)
    }

    // MARK: Items

    /// Writes the remainder of a batch in place of its items.
    ///
    /// - Returns: the number of the payload's row.
    private mutating func replaceItems(
        of id: RequestID, job: Int64, _ payload: Int64?, at place: BatchPlace, by remainder: BatchOutcome.Remainder?
    ) throws -> Int64? {
        guard let remainder else { return payload }
        if let payload { try erasePayload(payload) }
        let head = BatchHead(BatchPlace(index: place.index, items: remainder.items))
        return try append(to: .payload, api: job, id: id, head: head.bytes, body: remainder.body)
    }

    /// Erases the items of a batch; what they were stays known.
    private mutating func dropItems(of id: RequestID, job: Int64, _ payload: Int64?, at place: BatchPlace) throws
        -> Int64
    {
        if let payload { try erasePayload(payload) }
        return try append(to: .payload, api: job, id: id, head: BatchHead(place).bytes, body: nil)
    }

    /// Erases the items of a batch that has ended.
    mutating func dropItems(of id: RequestID, job: Int64) throws {
        let row = try row("SELECT payload FROM request WHERE api = ? AND id = ?", [job, id.data])
        let payload: Int64? = row?[0]
        guard let head = try payload.flatMap({ try hotPath.batchHead($0) }) else { throw RequestHead.Damaged() }
        let new = try dropItems(of: id, job: job, payload, at: head.place)
        try run(
            "UPDATE request SET keep_until = NULL, payload = ? WHERE api = ? AND id = ?", [new, job, id.data])
    }

    // MARK: Cancelling

    /// - Returns: the requests of the job that are still open.
    mutating func cancelRest(of id: RequestID, limit: Int, now: Timestamp) throws -> Int {
        guard var stored = state.jobs[id] else { return 0 }
        guard stored.job.stop != nil, limit > 0 else { return stored.job.openRequests }
        var rest = limit
        let keepUntil = stored.job.keepFailed > .zero ? now + stored.job.keepFailed : nil
        for (state, source) in Self.openSources where rest > 0 {
            let cancelled = try rows(
                """
                UPDATE request SET state = 4, ended_at = ?1, keep_until = ?2, not_before = NULL, lease_end = NULL,
                    holder = NULL
                WHERE api = ?3 AND id IN (SELECT id FROM request \(source) AND api = ?3 LIMIT ?4)
                RETURNING id, items
                """, [now.microseconds, keepUntil?.microseconds, stored.number, rest])
            rest -= cancelled.count
            for row in cancelled {
                let request = try RequestID(row[0] as Data)
                let items: Int64 = row[1]
                if state == .inProgress { changes.ended.insert(request) }
                if items == 0 {
                    try erase(request, api: stored.number)
                    stored.job.cancelledCompletion()
                } else {
                    if keepUntil == nil { try dropItems(of: request, job: stored.number) }
                    stored.job.cancelled(items: items, isDelivered: state == .inProgress)
                }
            }
        }
        return try save(stored).openRequests
    }

    private static let openSources: [(StoredState, String)] = [
        (.queued, "INDEXED BY request_queue WHERE state = 0"),
        (.waiting, "INDEXED BY request_waiting WHERE state = 5"),
        (.inProgress, "INDEXED BY request_leased WHERE state = 1"),
    ]
}

extension BatchOutcome {
    /// Whether all items succeeded: the common end of a batch.
    fileprivate var isWholeSuccess: Bool {
        guard case .ended = next, remainder == nil else { return false }
        return lines.allSatisfy(\.isSuccess)
    }
}
