package import Core
import Foundation
import GRDB
import Synchronization

extension SQLiteStore {
    package func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        let result = try await committer.perform { transaction in
            try transaction.submit(submission, maxQueueLength: maxQueueLength, now: now)
        }
        guard let result else {
            throw PlatformError(.conflict, "A request with this id exists already. Submit it with a new id.")
        }
        return result
    }

    package func claim(
        api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp
    ) async throws -> [ClaimedRequest] {
        // An empty queue, the common case of a poll, costs no transaction.
        let state = committer.state
        guard limit > 0 else { return [] }
        guard let stored = state.deployed(api) else {
            guard let stored = state.job(ofQueue: api), stored.job.mayHaveWork else { return [] }
            // A status must not be taken back by a power cut.
            return try await committer.perform(durable: stored.job.status != .running) { transaction in
                try transaction.claimBatches(
                    of: stored.job.id, limit: limit, leaseEnd: now + visibility, holder: holder, now: now)
            }
        }
        guard state.counts[stored.number, default: .init()].inQueue > 0 else { return [] }
        return try await committer.perform(durable: false) { transaction in
            try transaction.claim(api: api, limit: limit, leaseEnd: now + visibility, holder: holder, now: now)
        }
    }

    package func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        guard !leases.isEmpty else { return [] }
        return try await committer.perform(durable: false) { transaction in
            try leases.filter { try !transaction.extend($0, until: now + visibility) }
        }
    }

    package func release(_ leases: [Lease], now: Timestamp) async throws {
        guard !leases.isEmpty else { return }
        try await committer.perform { transaction in
            for lease in leases { try transaction.release(lease) }
        }
    }

    package func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int {
        try await releaseLeases(where: "IS", process)
    }

    /// One process uses the directory at a time, which its lock ensures. So no heartbeat is stored: the first call of a
    /// process releases what others held, and further calls do nothing. Leases of releases that did not store the
    /// process are among those of others.
    package func beat(process: String, now: Timestamp) async throws -> Int {
        guard self.process.withLock({ $0 != process }) else { return 0 }
        let count = try await releaseLeases(where: "IS NOT", process)
        self.process.withLock { $0 = process }
        return count
    }

    /// - Parameter comparison: of a holder's process with `process`.
    private func releaseLeases(where comparison: String, _ process: String) async throws -> Int {
        let prefix = Data(LeaseHolder(process: process, replica: "").bytes)
        return try await committer.perform { transaction in
            try transaction.giveBack(
                transaction.rows(
                    """
                    SELECT api, id FROM request
                    WHERE state = 1 AND lease_end IS NOT NULL AND substr(holder, 1, ?2) \(comparison) ?1
                    """, [prefix, prefix.count]))
        }
    }
}

extension WriteTransaction {
    /// - Returns: `nil` if a request of this id exists.
    mutating func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) throws -> SubmitResult? {
        guard let api = state.deployed(submission.api) else { return .unknownAPI }
        if let key = submission.idempotency, let used = try useOf(key, api: api, now: now) { return used }
        if let maxQueueLength, state.counts[api.number, default: .init()].inQueue >= maxQueueLength {
            return .queueFull
        }
        let id = submission.id
        let isNew = try hotPath.insertRequest(
            api: api.number, id: id, now: now, deadline: submission.queueDeadline, key: submission.idempotency?.key,
            payload: state.payloads.next)
        guard isNew else { return nil }
        try append(
            to: .payload, api: api.number, id: id,
            head: RequestHead(headers: submission.headers, query: submission.query).bytes, body: submission.payload)
        if let key = submission.idempotency {
            try run(
                "INSERT OR REPLACE INTO idempotency (api, key, fingerprint, id) VALUES (?, ?, ?, ?)",
                [api.number, key.key, Data(key.fingerprint), id.data])
        }
        count(api, inQueue: 1)
        changes.queued.insert(submission.api)
        return .accepted
    }

    /// The request of an idempotency key; `nil` if the key is free.
    private mutating func useOf(
        _ key: Submission.Idempotency, api: StoredAPI, now: Timestamp
    ) throws -> SubmitResult? {
        guard
            let row = try row(
                """
                SELECT i.id, i.fingerprint, r.purge_at FROM idempotency i
                JOIN request r ON r.api = i.api AND r.id = i.id WHERE i.api = ? AND i.key = ?
                """, [api.number, key.key])
        else { return nil }
        let id = try RequestID(row[0] as Data)
        if let purgeAt: Int64 = row[2], purgeAt <= now.microseconds {
            try erase(id, api: api.number)
            return nil
        }
        let fingerprint: Data = row[1]
        return fingerprint.elementsEqual(key.fingerprint) ? .duplicate(of: id) : .idempotencyMismatch
    }

    mutating func claim(
        api name: String, limit: Int, leaseEnd: Timestamp, holder: LeaseHolder, now: Timestamp
    ) throws -> [ClaimedRequest] {
        guard let api = state.deployed(name) else { return [] }
        try hotPath.wakeRetries(api: api.number, now: now)
        let claimed = try hotPath.claim(
            api: api.number, limit: limit, leaseEnd: leaseEnd, holder: holder, now: now)
        count(api, inQueue: -claimed.count, inProgress: claimed.count)
        return try claimed.map { request in
            let payload = try request.payload.flatMap { try hotPath.payload($0) }
            let interruptions = try request.answer.flatMap { try interruptionCount($0) } ?? 0
            return ClaimedRequest(
                lease: Lease(api: name, id: request.id, token: request.token), payload: payload?.body ?? .empty,
                headers: payload?.head.headers ?? [], query: payload?.head.query, attempts: Int(request.attempts),
                interruptions: interruptions, submittedAt: request.submittedAt)
        }.sorted { $0.id < $1.id }
    }

    /// The number of interrupted deliveries of a request, which is stored in its answer row.
    func interruptionCount(_ answer: Int64) throws -> Int {
        let row = try row("SELECT head FROM answer WHERE number = ?", [answer])
        return try FailureHead(decoding: row?[0]).interruptions
    }

    /// - Returns: whether the lease is still valid.
    func extend(_ lease: Lease, until end: Timestamp) throws -> Bool {
        guard let number = state.queueNumber(lease.api) else { return false }
        return try run(
            "UPDATE request SET lease_end = ? WHERE api = ? AND id = ? AND state = 1 AND token = ?",
            [end.microseconds, number, lease.id.data, lease.token]) == 1
    }

    mutating func release(_ lease: Lease) throws {
        guard let api = state.deployed(lease.api) else { return try releaseBatch(lease) }
        let released = try run(
            """
            UPDATE request SET state = 0, lease_end = NULL, holder = NULL
            WHERE api = ? AND id = ? AND state = 1 AND token = ?
            """, [api.number, lease.id.data, lease.token])
        guard released == 1 else { return }
        count(api, inQueue: 1, inProgress: -1)
        changes.queued.insert(lease.api)
    }

    /// Puts these requests in progress, as (api, id), back into their queues.
    mutating func giveBack(_ rows: [Row]) throws -> Int {
        for row in rows {
            let number: Int64 = row[0]
            let id: Data = row[1]
            try run(
                "UPDATE request SET state = 0, lease_end = NULL, holder = NULL WHERE api = ? AND id = ? AND state = 1",
                [number, id])
            if state.jobNumbers[number] == nil {
                state.counts[number, default: .init()].inQueue += 1
                state.counts[number, default: .init()].inProgress -= 1
            } else {
                try returned(id, ofJob: number)
            }
            if let name = name(of: number) { changes.queued.insert(name) }
        }
        return rows.count
    }

    func name(of number: Int64) -> String? {
        if let job = state.jobNumbers[number] { return Job.queue(of: job) }
        return state.apis.first { $0.value.number == number }?.key
    }
}

extension LeaseHolder {
    /// The value of the column `holder`: the process, a zero byte, the replica. Earlier releases wrote the replica
    /// alone.
    var bytes: [UInt8] { Array(process.utf8) + [0] + Array(replica.utf8) }
}
