package import Core
import Foundation
import GRDB

extension SQLiteStore {
    package func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await committer.perform { try $0.finish(lease, outcome: outcome, now: now) }
    }

    package func finish(_ deliveries: [(lease: Lease, outcome: Outcome)], now: Timestamp) async
        -> [Result<LeaseResult, any Error>]
    {
        do {
            return try await committer.perform { transaction in
                try deliveries.map { .success(try transaction.finish($0.lease, outcome: $0.outcome, now: now)) }
            }
        } catch {
            let isDown = (error as? PlatformError)?.code == .storeUnavailable
            guard deliveries.count > 1, !isDown else { return deliveries.map { _ in .failure(error) } }
        }
        // One of them may be the cause: each is stored separately.
        var results: [Result<LeaseResult, any Error>] = []
        for delivery in deliveries { results += await finish([delivery], now: now) }
        return results
    }

    package func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? {
        // Read in the same transaction: the answer must not fail after the change.
        try await committer.perform { transaction in
            guard let wasCancelled = try transaction.cancel(id, api: api, now: now) else { return nil }
            return try transaction.record(of: id, api: api).map { ($0, wasCancelled) }
        }
    }

    package func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await committer.perform { transaction -> Result<RequestRecord?, PlatformError> in
            switch try transaction.retry(id, api: api, now: now) {
            case .success(let exists): .success(exists ? try transaction.record(of: id, api: api) : nil)
            case .failure(let error): .failure(error)
            }
        }.get()
    }
}

/// The state of a stored request, with the places of its bodies.
struct RequestRow {
    let state: StoredState
    let token: Int64
    let isPastKeeping: Bool
    let key: String?
    let payload: BodyLog.Place?
    let answer: BodyLog.Place?
}

extension WriteTransaction {
    mutating func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) throws -> LeaseResult {
        guard let api = state.deployed(lease.api) else { return try finishBatch(lease, outcome: outcome, now: now) }
        if case .completed(let result) = outcome, try complete(lease, api: api, result: result, now: now) {
            return .applied
        }
        guard let request = try requestRow(of: lease.id, api: api.number),
            request.state == .inProgress, request.token == lease.token
        else { return .stale }
        let id = lease.id.data
        if outcome != .interrupted {
            try run("UPDATE request SET attempts = attempts + 1 WHERE api = ? AND id = ?", [api.number, id])
        }
        switch outcome {
        case .completed(let body):
            try end(lease.id, api: api, request, to: .completed, result: body, now: now)
        case .failed(let failure):
            let attempt = AttemptFailure(at: now, failure: failure)
            try end(lease.id, api: api, request, to: .failed, failure: failure, attempt: attempt, now: now)
        case .retry(let failure, let notBefore):
            let attempt = AttemptFailure(at: now, failure: failure)
            let answer = try replaceAnswer(
                request.answer, api: api.number, id: lease.id, attempt: attempt, failure: nil, result: nil)
            // The deadline applied to the first delivery, which has happened.
            try run(
                """
                UPDATE request SET state = 5, answer = ?, not_before = ?, lease_end = NULL, holder = NULL, deadline = NULL
                WHERE api = ? AND id = ?
                """, [answer, notBefore.microseconds, api.number, id])
            count(api, inQueue: 1, inProgress: -1)
            changes.queued.insert(lease.api)
        case .interrupted:
            let answer = try replaceAnswer(request.answer, api: api.number, id: lease.id, isInterruption: true)
            try run("UPDATE request SET answer = ? WHERE api = ? AND id = ?", [answer, api.number, id])
            try release(lease)
        // No queue of an API has such requests.
        case .batch, .completion: return .stale
        }
        return .applied
    }

    /// Ends a request with its result in the common case.
    ///
    /// - Returns: `false` if this is not the common case (a valid lease and no failed attempt before); then nothing was
    ///   changed.
    private mutating func complete(_ lease: Lease, api: StoredAPI, result: Body, now: Timestamp) throws -> Bool {
        guard let payload = try hotPath.leased(lease, api: api.number) else { return false }
        let answer = try append(to: .answer, api: api.number, id: lease.id, head: nil, body: result)
        if let payload { try erasePayload(payload) }
        try hotPath.complete(
            lease.id, api: api.number, answer: answer, now: now, purgeAt: now + api.policy.retention)
        count(api, inProgress: -1)
        changes.ended.insert(lease.id)
        return true
    }

    /// - Returns: whether this call cancelled it; `nil` for an unknown request.
    mutating func cancel(_ id: RequestID, api name: String, now: Timestamp) throws -> Bool? {
        guard let api = state.deployed(name), let request = try requestRow(of: id, api: api.number, at: now) else {
            return nil
        }
        guard RequestTransition.cancel.apply(to: request.state.status) != nil else { return false }
        try end(id, api: api, request, to: .cancelled, now: now)
        return true
    }

    /// - Returns: whether the request exists, or why it cannot run again.
    mutating func retry(_ id: RequestID, api name: String, now: Timestamp) throws -> Result<Bool, PlatformError> {
        guard let api = state.deployed(name), let request = try requestRow(of: id, api: api.number, at: now) else {
            return .success(false)
        }
        let status = request.state.status
        guard RequestTransition.retryByHand.apply(to: status) != nil else {
            return .failure(
                PlatformError(.conflict, "Only a failed request can be retried; this one is \(status.rawValue)."))
        }
        guard request.payload != nil, !request.isPastKeeping else {
            return .failure(
                PlatformError(
                    .conflict, "The payload of this request is not kept any more (`keep_failed`). Submit it again."))
        }
        try erase(request.answer, in: .answer)
        try run(
            """
            UPDATE request SET state = 0, attempts = 0, answer = NULL, ended_at = NULL, purge_at = NULL, keep_until = NULL,
                deadline = ? WHERE api = ? AND id = ?
            """,
            [api.policy.maxQueueTime.map { (now + $0).microseconds }, api.number, id.data])
        count(api, inQueue: 1)
        changes.queued.insert(name)
        return .success(true)
    }

    /// Ends a request: data that is no longer needed is erased, and its retention begins.
    mutating func end(
        _ id: RequestID, api: StoredAPI, _ request: RequestRow, to new: StoredState, failure: RequestFailure? = nil,
        attempt: AttemptFailure? = nil, result: Body? = nil, now: Timestamp
    ) throws {
        let idData = id.data
        let keepUntil = new == .failed && api.policy.keepFailed > .zero ? now + api.policy.keepFailed : nil
        let answer = try replaceAnswer(
            request.answer, api: api.number, id: id, attempt: attempt, failure: failure, result: result)
        let payload =
            keepUntil == nil ? nil : try dropCredentials(request.payload, api: api.number, id: id)
        if payload == nil { try erase(request.payload, in: .payload) }
        try run(
            """
            UPDATE request SET state = ?, answer = ?, payload = ?, ended_at = ?, purge_at = ?, keep_until = ?,
                not_before = NULL, deadline = NULL, lease_end = NULL, holder = NULL
            WHERE api = ? AND id = ?
            """,
            [
                new.rawValue, answer, payload, now.microseconds, (now + api.policy.retention).microseconds,
                keepUntil?.microseconds, api.number, idData,
            ])
        countOut(api, of: request.state)
        changes.ended.insert(id)
    }

    /// Writes the failures of a request to a new row, if there are any; the old row is erased.
    ///
    /// - Returns: the number of the new row.
    mutating func replaceAnswer(
        _ old: BodyLog.Place?, api: Int64, id: RequestID, attempt: AttemptFailure? = nil,
        failure: RequestFailure? = nil, result: Body? = nil, isInterruption: Bool = false
    ) throws -> Int64? {
        guard attempt != nil || failure != nil || result != nil || isInterruption else { return old?.number }
        var head: FailureHead?
        if let old {
            let row = try row("SELECT head FROM answer WHERE number = ?", [old.number])
            head = try FailureHead(decoding: row?[0])
            try erase(old, in: .answer)
        }
        if attempt != nil || failure != nil || isInterruption {
            var changed = head ?? FailureHead()
            if let attempt { changed.failures.append(attempt) }
            changed.failure = failure
            if isInterruption { changed.interruptions += 1 }
            head = changed
        }
        return try append(
            to: .answer, api: api, id: id, head: try head.map { Array(try JSONCoding.encode($0)) }, body: result)
    }

    /// Writes a kept payload to a new row without the headers that contain a credential, if there are any.
    ///
    /// - Returns: the current number of its row.
    private mutating func dropCredentials(_ place: BodyLog.Place?, api: Int64, id: RequestID) throws -> Int64? {
        guard let place else { return nil }
        guard let row = try row("SELECT head, bytes, file, size FROM payload WHERE number = ?", [place.number]) else {
            return nil
        }
        var head = try RequestHead(decoding: row[0])
        guard head.headers.contains(where: \.carriesCredential), let body = Body(row, from: 1) else {
            return place.number
        }
        head.headers.removeAll(where: \.carriesCredential)
        try erase(BodyLog.Place(number: place.number, file: nil), in: .payload)
        return try append(to: .payload, api: api, id: id, head: head.bytes, body: body)
    }

    /// Removes a request completely.
    mutating func erase(_ id: RequestID, api: Int64) throws {
        guard let request = try requestRow(of: id, api: api) else { return }
        try erase(request.payload, in: .payload)
        try erase(request.answer, in: .answer)
        try run("DELETE FROM request WHERE api = ? AND id = ?", [api, id.data])
        guard let key = request.key else { return }
        try run("DELETE FROM idempotency WHERE api = ? AND key = ? AND id = ?", [api, key, id.data])
    }

    /// A request in the state of this transaction.
    func record(of id: RequestID, api name: String) throws -> RequestRecord? {
        guard let api = state.deployed(name) else { return nil }
        let row = try row(
            """
            SELECT r.id, r.state, r.attempts, r.submitted_at, r.ended_at, a.head, a.bytes, a.file, a.size
            FROM request r LEFT JOIN answer a ON a.number = r.answer WHERE r.api = ? AND r.id = ?
            """, [api.number, id.data])
        guard let row else { return nil }
        var record = try RequestRecord(row, api: name)
        record.result = Body(row, from: 6)
        return record
    }

    /// `nil` for an unknown request, and with a time also for one whose retention has ended by then.
    func requestRow(of id: RequestID, api: Int64, at now: Timestamp? = nil) throws -> RequestRow? {
        let row = try row(
            """
            SELECT r.state, r.token, r.keep_until, r.key, r.payload, p.file, r.answer, a.file, r.purge_at
            FROM request r LEFT JOIN payload p ON p.number = r.payload LEFT JOIN answer a ON a.number = r.answer
            WHERE r.api = ? AND r.id = ?
            """, [api, id.data])
        guard let row else { return nil }
        if let now, let purgeAt: Int64 = row[8], purgeAt <= now.microseconds { return nil }
        let keepUntil: Int64? = row[2]
        return RequestRow(
            state: try StoredState(reading: row[0]), token: row[1],
            isPastKeeping: now.map { (keepUntil ?? .min) <= $0.microseconds } ?? false, key: row[3],
            payload: BodyLog.Place(number: row[4], file: row[5]), answer: BodyLog.Place(number: row[6], file: row[7]))
    }
}

extension StoredState {
    init(reading value: Int) throws {
        guard let state = StoredState(rawValue: value) else { throw RequestHead.Damaged() }
        self = state
    }
}
