package import Core
import Foundation
import GRDB

extension SQLiteStore {
    package func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await committer.perform { try $0.finish(lease, outcome: outcome, now: now) }
    }

    package func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? {
        let wasCancelled = try await committer.perform { try $0.cancel(id, api: api, now: now) }
        guard let wasCancelled else { return nil }
        return try await read(id, api: api, now: now).map { ($0, wasCancelled) }
    }

    package func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        switch try await committer.perform({ try $0.retry(id, api: api, now: now) }) {
        case .success(let exists): return exists ? try await read(id, api: api, now: now) : nil
        case .failure(let error): throw error
        }
    }
}

extension WriteTransaction {
    mutating func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) throws -> LeaseResult {
        guard let api = state.deployed(lease.api) else { return .stale }
        switch outcome {
        case .completed(let body): return try complete(lease, api: api, result: body, now: now)
        case .failed(let failure): return try fail(lease, api: api, failure: failure, notBefore: nil, now: now)
        case .retry(let failure, let notBefore):
            return try fail(lease, api: api, failure: failure, notBefore: notBefore, now: now)
        }
    }

    private mutating func complete(_ lease: Lease, api: StoredAPI, result: Body, now: Timestamp) throws -> LeaseResult {
        let id = lease.id.data
        let changed = try run(
            """
            UPDATE request SET state = 2, attempts = attempts + 1, ended_at = ?, purge_at = ?,
                lease_end = NULL, holder = NULL, deadline = NULL
            WHERE api = ? AND id = ? AND state = 1 AND token = ?
            """,
            [
                now.microseconds, (now + api.policy.retention).microseconds, api.number, id, lease.token,
            ])
        guard changed == 1 else { return .stale }
        let columns = result.columns
        try run(
            "INSERT INTO result (api, id, bytes, file, size) VALUES (?, ?, ?, ?, ?)",
            [api.number, id, columns.bytes, columns.file, columns.size])
        try erasePayload(id, api: api.number)
        count(api, inProgress: -1)
        changes.ended.insert(lease.id)
        return .applied
    }

    private mutating func fail(
        _ lease: Lease, api: StoredAPI, failure: RequestFailure, notBefore: Timestamp?, now: Timestamp
    ) throws -> LeaseResult {
        let id = lease.id.data
        guard
            let row = try row(
                "SELECT failures FROM request WHERE api = ? AND id = ? AND state = 1 AND token = ?",
                [api.number, id, lease.token])
        else { return .stale }
        let failures = try FailureCoding.failures(row[0]) + [AttemptFailure(at: now, failure: failure)]
        let failuresData = try FailureCoding.encode(failures)
        if let notBefore {
            // The deadline was for the first delivery, and that has happened.
            try run(
                """
                UPDATE request SET state = 5, attempts = attempts + 1, failures = ?, not_before = ?,
                    lease_end = NULL, holder = NULL, deadline = NULL WHERE api = ? AND id = ?
                """, [failuresData, notBefore.microseconds, api.number, id])
            count(api, inQueue: 1, inProgress: -1)
            changes.queued.insert(lease.api)
        } else {
            try run(
                "UPDATE request SET attempts = attempts + 1, failures = ? WHERE api = ? AND id = ?",
                [failuresData, api.number, id])
            try end(lease.id, api: api, from: .inProgress, to: .failed, failure: failure, now: now)
        }
        return .applied
    }

    /// - Returns: whether this cancelled it; `nil` for an unknown request.
    mutating func cancel(_ id: RequestID, api name: String, now: Timestamp) throws -> Bool? {
        guard let api = state.deployed(name), let old = try storedState(of: id, api: api, now: now) else { return nil }
        guard RequestTransition.cancel.apply(to: old.status) != nil else { return false }
        try end(id, api: api, from: old, to: .cancelled, failure: nil, now: now)
        return true
    }

    /// - Returns: whether the request exists, or why it cannot run again.
    mutating func retry(_ id: RequestID, api name: String, now: Timestamp) throws -> Result<Bool, PlatformError> {
        guard let api = state.deployed(name), let old = try storedState(of: id, api: api, now: now) else {
            return .success(false)
        }
        guard RequestTransition.retryByHand.apply(to: old.status) != nil else {
            return .failure(
                PlatformError(.conflict, "Only a failed request can be retried; this one is \(old.status.rawValue)."))
        }
        let changed = try run(
            """
            UPDATE request SET state = 0, attempts = 0, failures = NULL, failure = NULL, ended_at = NULL, purge_at = NULL,
                keep_until = NULL, deadline = ?
            WHERE api = ? AND id = ? AND state = 3 AND keep_until > ?
                AND EXISTS (SELECT 1 FROM payload p WHERE p.api = request.api AND p.id = request.id)
            """,
            [api.policy.maxQueueTime.map { (now + $0).microseconds }, api.number, id.data, now.microseconds])
        guard changed == 1 else {
            return .failure(
                PlatformError(
                    .conflict, "The payload of this request is not kept any more (`keep_failed`). Submit it again."))
        }
        count(api, inQueue: 1)
        changes.queued.insert(name)
        return .success(true)
    }

    /// Ends a request other than by a result: what nobody needs any more is erased, and its retention begins.
    mutating func end(
        _ id: RequestID, api: StoredAPI, from old: StoredState, to new: StoredState, failure: RequestFailure?,
        now: Timestamp
    ) throws {
        let keepUntil = new == .failed && api.policy.keepFailed > .zero ? now + api.policy.keepFailed : nil
        let idData = id.data
        try run(
            """
            UPDATE request SET state = ?, failure = ?, ended_at = ?, purge_at = ?, keep_until = ?,
                not_before = NULL, deadline = NULL, lease_end = NULL, holder = NULL
            WHERE api = ? AND id = ?
            """,
            [
                new.rawValue, try failure.map(FailureCoding.encode), now.microseconds,
                (now + api.policy.retention).microseconds, keepUntil?.microseconds, api.number, idData,
            ])
        if keepUntil == nil {
            try erasePayload(idData, api: api.number)
        } else {
            try eraseCredentials(idData, api: api.number)
        }
        countOut(api, of: old)
        changes.ended.insert(id)
    }

    private mutating func eraseCredentials(_ id: Data, api: Int64) throws {
        guard let row = try row("SELECT head FROM payload WHERE api = ? AND id = ?", [api, id]) else { return }
        var head = try RequestHead(decoding: row[0])
        guard head.headers.contains(where: \.carriesCredential) else { return }
        head.headers.removeAll(where: \.carriesCredential)
        try run("UPDATE payload SET head = ? WHERE api = ? AND id = ?", [head.encoded, api, id])
        erasesBytes = true
    }

    mutating func erasePayload(_ id: Data, api: Int64) throws {
        orphan(try rows("DELETE FROM payload WHERE api = ? AND id = ? RETURNING file", [api, id]))
        erasesBytes = true
    }

    /// Forgets a request altogether.
    mutating func erase(_ id: RequestID, api: Int64) throws {
        let idData = id.data
        try erasePayload(idData, api: api)
        orphan(try rows("DELETE FROM result WHERE api = ? AND id = ? RETURNING file", [api, idData]))
        let keys = try rows("DELETE FROM request WHERE api = ? AND id = ? RETURNING key", [api, idData])
        for row in keys {
            guard let key: String = row[0] else { continue }
            try run("DELETE FROM idempotency WHERE api = ? AND key = ? AND id = ?", [api, key, idData])
        }
    }

    /// `nil` for a request that is unknown or past its retention.
    private func storedState(of id: RequestID, api: StoredAPI, now: Timestamp) throws -> StoredState? {
        let row = try row(
            "SELECT state FROM request WHERE api = ? AND id = ? AND (purge_at IS NULL OR purge_at > ?)",
            [api.number, id.data, now.microseconds])
        return try row.map { try StoredState(reading: $0[0]) }
    }
}

extension StoredState {
    init(reading value: Int) throws {
        guard let state = StoredState(rawValue: value) else { throw RequestHead.Damaged() }
        self = state
    }
}
