package import Core
import Support

extension MemoryStore {
    package func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        guard var api = deployed(submission.api) else { return .unknownAPI }
        if let key = submission.idempotency, let used = api.keys[key.key] {
            if let request = api.requests[used.id], !request.isPurged(at: now) {
                return used.fingerprint == key.fingerprint ? .duplicate(of: used.id) : .idempotencyMismatch
            }
            erase(used.id, of: &api)
        }
        if let maxQueueLength, api.requests.values.count(where: { $0.status == .inQueue }) >= maxQueueLength {
            return .queueFull
        }
        guard api.requests[submission.id] == nil else {
            throw PlatformError(.conflict, "A request with this id exists already. Submit it with a new id.")
        }
        api.requests[submission.id] = MemoryRequest(submission, now: now)
        if let key = submission.idempotency {
            api.keys[key.key] = .init(fingerprint: key.fingerprint, id: submission.id)
        }
        apis[submission.api] = api
        hints.publish(StoreChanges(queued: [submission.api]))
        return .accepted
    }

    package func claim(
        api name: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp
    ) async throws -> [ClaimedRequest] {
        guard limit > 0, let api = deployed(name) else { return [] }
        let next = api.requests.values.filter { $0.isClaimable(at: now) }.sorted { $0.id < $1.id }.prefix(limit)
        return next.map { request in
            var request = request
            request.status = .inProgress
            request.token += 1
            request.leaseEnd = now + visibility
            request.holder = holder
            request.notBefore = nil
            apis[name]?.requests[request.id] = request
            return ClaimedRequest(
                lease: Lease(api: name, id: request.id, token: request.token), payload: request.payload ?? .empty,
                headers: request.headers, query: request.query, attempts: request.attempts,
                interruptions: request.interruptions, submittedAt: request.submittedAt)
        }
    }

    package func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        leases.filter { lease in
            guard leased(lease) != nil else { return true }
            apis[lease.api]?.requests[lease.id]?.leaseEnd = now + visibility
            return false
        }
    }

    package func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        guard var api = deployed(lease.api), leased(lease) != nil else { return .stale }
        if outcome != .interrupted { api.requests[lease.id]?.attempts += 1 }
        switch outcome {
        case .completed(let result):
            end(lease.id, of: &api, by: .complete, now: now)
            api.requests[lease.id]?.result = result
        case .failed(let failure):
            api.requests[lease.id]?.failures.append(AttemptFailure(at: now, failure: failure))
            api.requests[lease.id]?.failure = failure
            end(lease.id, of: &api, by: .fail, now: now)
        case .retry(let failure, let notBefore):
            api.requests[lease.id]?.failures.append(AttemptFailure(at: now, failure: failure))
            api.requests[lease.id]?.notBefore = notBefore
            // The deadline applied to the first delivery, which has happened.
            api.requests[lease.id]?.queueDeadline = nil
            requeue(lease.id, of: &api, by: .retryAttempt)
        case .interrupted:
            api.requests[lease.id]?.interruptions += 1
            requeue(lease.id, of: &api, by: .giveBack)
        }
        apis[lease.api] = api
        switch outcome {
        case .retry, .interrupted: hints.publish(StoreChanges(queued: [lease.api]))
        case .completed, .failed: hints.publish(StoreChanges(ended: [lease.id]))
        }
        return .applied
    }

    package func release(_ leases: [Lease], now: Timestamp) async throws {
        for lease in leases where leased(lease) != nil {
            guard var api = apis[lease.api] else { continue }
            requeue(lease.id, of: &api, by: .giveBack)
            apis[lease.api] = api
            hints.publish(StoreChanges(queued: [lease.api]))
        }
    }

    package func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int {
        giveBack { $0.holder?.process == process }
    }

    package func beat(process: String, now: Timestamp) async throws -> Int {
        let isNew = heartbeats.updateValue(now, forKey: process) == nil
        guard isNew, !isShared else { return 0 }
        heartbeats = [process: now]
        return giveBack { $0.holder?.process != process }
    }

    package func cancel(_ id: RequestID, api name: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? {
        guard var api = deployed(name), let request = api.requests[id], !request.isPurged(at: now) else { return nil }
        let wasCancelled = end(id, of: &api, by: .cancel, now: now)
        apis[name] = api
        if wasCancelled { hints.publish(StoreChanges(ended: [id])) }
        return api.requests[id].map { ($0.record(of: name), wasCancelled) }
    }

    package func retry(_ id: RequestID, api name: String, now: Timestamp) async throws -> RequestRecord? {
        guard var api = deployed(name), var request = api.requests[id], !request.isPurged(at: now) else { return nil }
        guard let status = RequestTransition.retryByHand.apply(to: request.status) else {
            throw PlatformError(
                .conflict, "Only a failed request can be retried; this one is \(request.status.rawValue).")
        }
        guard request.payload != nil, let keepUntil = request.keepUntil, now < keepUntil else {
            throw PlatformError(
                .conflict, "The payload of this request is not kept any more (`keep_failed`). Submit it again.")
        }
        request.status = status
        request.attempts = 0
        request.interruptions = 0
        request.failures = []
        request.failure = nil
        request.endedAt = nil
        request.purgeAt = nil
        request.keepUntil = nil
        request.notBefore = nil
        request.queueDeadline = api.policy.maxQueueTime.map { now + $0 }
        api.requests[id] = request
        apis[name] = api
        hints.publish(StoreChanges(queued: [name]))
        return request.record(of: name)
    }
}
