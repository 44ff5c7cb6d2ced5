package import Core
import Support

/// The reference store: everything is in memory, one operation runs at a time, nothing survives the process.
///
/// It implements the requirements of the conformance suite in their simplest form. Tests and the simulation use it. One
/// process uses it at a time, as the default store; or several, which are all in this one and have one clock.
package actor MemoryStore: Store {
    package nonisolated let name = "memory"
    var apis: [String: MemoryAPI] = [:]
    let bodies = MemoryBodies()
    let hints = StoreHints()
    /// Whether several processes use it at a time.
    private let isShared: Bool
    /// The last heartbeat of each process that is not gone.
    var heartbeats: [String: Timestamp] = [:]

    package init(isShared: Bool = false) { self.isShared = isShared }

    // MARK: Deployed APIs

    package func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        guard deployed(api.name)?.versions.first?.id == expecting else { return false }
        var stored = apis[api.name] ?? MemoryAPI()
        if stored.versions.first?.id != api.id { stored.splitState = nil }
        stored.isDeployed = true
        stored.versions.removeAll { $0.id == api.id }
        stored.versions.insert(api, at: 0)
        stored.versions.removeLast(max(0, stored.versions.count - Limits.versions))
        apis[api.name] = stored
        hints.publish(StoreChanges(apis: [api.name]))
        return true
    }

    package func deployedAPIs() async throws -> [DeployedAPI] {
        apis.values.filter { $0.isDeployed && $0.job == nil }.compactMap(\.versions.first).sorted { $0.name < $1.name }
    }

    package func versions(of api: String) async throws -> [DeployedAPI] {
        deployed(api)?.versions ?? []
    }

    package func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        guard var stored = deployed(api) else { return false }
        let open = stored.requests.values.filter { !$0.status.isEnded }.map(\.id)
        var changes = StoreChanges(ended: Set(open), apis: [api])
        if keepRequests {
            stopJobs(of: api, &changes)
            stored.schedules = [:]
            for id in open { end(id, of: &stored, by: .cancel, now: now) }
            stored.isDeployed = false
            stored.requestedReplicas = nil
            stored.splitState = nil
            apis[api] = stored
        } else {
            for id in Array(stored.requests.keys) { erase(id, of: &stored) }
            apis[api] = nil
            eraseJobs(of: api, &changes)
        }
        hints.publish(changes)
        return true
    }

    package func requestedReplicas(of api: String) async throws -> Int? {
        deployed(api)?.requestedReplicas
    }

    package func replaceRequestedReplicas(
        _ count: Int, of api: String, version: String, expecting current: Int
    ) async throws -> Bool {
        guard let stored = deployed(api), stored.versions.first?.id == version,
            (stored.requestedReplicas ?? current) == current
        else { return false }
        guard stored.requestedReplicas != count else { return true }
        apis[api]?.requestedReplicas = count
        hints.publish(StoreChanges(replicas: [api]))
        return true
    }

    package func splitState(of splitter: String) async throws -> SplitState? {
        deployed(splitter)?.splitState
    }

    package func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool {
        guard deployed(splitter)?.versions.first?.id == version else { return false }
        apis[splitter]?.splitState = state
        return true
    }

    // MARK: Bodies

    package func makeBodyWriter() async throws -> any BodyWriter {
        MemoryBodyWriter(bodies: bodies)
    }

    package func reader(of body: Body) async throws -> any BodyReader {
        try bodies.reader(of: body)
    }

    // MARK: Reading

    package func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        guard let request = queue(api)?.requests[id], !request.isPurged(at: now) else { return nil }
        return request.record(of: api)
    }

    package func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        let limit = min(max(filter.limit, 0), Limits.listPage)
        let matching = (deployed(api)?.requests ?? [:]).values.filter { request in
            !request.isPurged(at: now)
                && (filter.status ?? request.status) == request.status
                && filter.before.map { request.id < $0 } ?? true
        }
        return matching.sorted { $0.id > $1.id }.prefix(limit).map { request in
            var record = request.record(of: api)
            record.result = nil
            return record
        }
    }

    package func counts() async throws -> [String: QueueCounts] {
        apis.filter { $0.value.isDeployed && $0.value.job == nil }.mapValues { api in
            QueueCounts(
                inQueue: api.requests.values.count { $0.status == .inQueue },
                inProgress: api.requests.values.count { $0.status == .inProgress })
        }
    }

    package nonisolated func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        hints.stream(kinds)
    }

    func deployed(_ api: String) -> MemoryAPI? {
        guard let stored = apis[api], stored.isDeployed, stored.job == nil else { return nil }
        return stored
    }

    /// A deployed API, or the queue of an open job.
    func queue(_ name: String) -> MemoryAPI? {
        guard let stored = apis[name], stored.isDeployed else { return nil }
        guard let job = stored.job else { return stored }
        return !job.isStaged && job.job.status.isOpen ? stored : nil
    }
}

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
        guard limit > 0, let api = queue(name), api.job?.job.isClaimable ?? true else { return [] }
        let next = api.requests.values.filter { $0.isClaimable(at: now) }.sorted { $0.id < $1.id }.prefix(limit)
        beganDelivery(of: next.compactMap(\.place), from: name, now: now)
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
                interruptions: request.interruptions, submittedAt: request.submittedAt, batch: request.place)
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
        guard var api = queue(lease.api), let request = leased(lease) else { return .stale }
        if let place = request.place { return try finish(lease, at: place, outcome, now: now) }
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
        // No queue of an API has such requests.
        case .batch, .completion: return .stale
        }
        apis[lease.api] = api
        switch outcome {
        case .retry, .interrupted: hints.publish(StoreChanges(queued: [lease.api]))
        case .completed, .failed, .batch, .completion: hints.publish(StoreChanges(ended: [lease.id]))
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

extension MemoryStore {
    package func maintain(now: Timestamp) async throws -> Upkeep {
        var upkeep = Upkeep()
        let gone = processesGone(at: now)
        upkeep.rescued = giveBack { request in
            request.leaseEnd.map { $0 <= now } ?? false || request.holder.map { gone.contains($0.process) } ?? false
        }
        for process in gone { heartbeats[process] = nil }
        for (name, stored) in apis {
            var api = stored
            var ended: Set<RequestID> = []
            var isHastened = false
            for request in stored.requests.values {
                if request.status == .inQueue, let deadline = request.queueDeadline, deadline <= now {
                    api.requests[request.id]?.failure = RequestFailure(
                        .expired, "The request waited in the queue longer than max_queue_time allows.")
                    end(request.id, of: &api, by: .expire, now: now)
                    ended.insert(request.id)
                    upkeep.expired += 1
                } else if request.isPurged(at: now) {
                    erase(request.id, of: &api)
                    upkeep.purged += 1
                } else if let keepUntil = request.keepUntil, keepUntil <= now {
                    erasePayload(request.id, of: &api)
                } else if let notBefore = request.notBefore, notBefore > now + Limits.retryBackoff * 2 {
                    api.requests[request.id]?.notBefore = now
                    isHastened = true
                }
            }
            apis[name] = api
            hints.publish(StoreChanges(queued: isHastened ? [name] : [], ended: ended))
        }
        upkeep.purged += purgeJobs(at: now)
        return upkeep
    }

    /// The processes whose last heartbeat is too old. The only process of a store is never gone for itself.
    private func processesGone(at now: Timestamp) -> Set<String> {
        guard isShared else { return [] }
        return Set(heartbeats.filter { $0.value + Limits.processTimeout <= now }.keys)
    }

    /// The request of a valid lease. An expired lease stays valid until its request is released.
    func leased(_ lease: Lease) -> MemoryRequest? {
        guard let request = queue(lease.api)?.requests[lease.id], request.status == .inProgress,
            request.token == lease.token
        else { return nil }
        return request
    }

    /// Releases every request in progress for which `condition` is true.
    private func giveBack(where condition: (MemoryRequest) -> Bool) -> Int {
        var count = 0
        for (name, stored) in apis {
            var api = stored
            let lost = stored.requests.values.filter { $0.status == .inProgress && condition($0) }
            for request in lost { requeue(request.id, of: &api, by: .giveBack) }
            apis[name] = api
            count += lost.count
            if !lost.isEmpty { hints.publish(StoreChanges(queued: [name])) }
        }
        return count
    }

    /// Puts a request in progress back into the queue; its lease becomes invalid.
    func requeue(_ id: RequestID, of api: inout MemoryAPI, by transition: RequestTransition) {
        guard let request = api.requests[id], let status = transition.apply(to: request.status) else { return }
        if transition == .giveBack, let place = request.place, !place.isCompletion {
            api.job?.job.returned(items: Int64(place.items.count))
        }
        api.requests[id]?.status = status
        api.requests[id]?.leaseEnd = nil
        api.requests[id]?.holder = nil
    }

    /// Ends a request: data that is no longer needed is erased, and its retention begins.
    ///
    /// - Returns: `false` when the transition is not allowed; then nothing was changed.
    @discardableResult
    private func end(_ id: RequestID, of api: inout MemoryAPI, by transition: RequestTransition, now: Timestamp) -> Bool
    {
        guard var request = api.requests[id], let status = transition.apply(to: request.status) else { return false }
        request.status = status
        request.endedAt = now
        request.purgeAt = now + api.policy.retention
        request.leaseEnd = nil
        request.holder = nil
        request.notBefore = nil
        request.queueDeadline = nil
        request.headers.removeAll(where: \.carriesCredential)
        let isKept = status == .failed && api.policy.keepFailed > .zero
        if isKept { request.keepUntil = now + api.policy.keepFailed }
        api.requests[id] = request
        if !isKept { erasePayload(id, of: &api) }
        return true
    }

    func erasePayload(_ id: RequestID, of api: inout MemoryAPI) {
        if let payload = api.requests[id]?.payload { bodies.erase(payload) }
        api.requests[id]?.payload = nil
        api.requests[id]?.headers = []
        api.requests[id]?.query = nil
        api.requests[id]?.keepUntil = nil
    }

    /// Removes a request completely.
    func erase(_ id: RequestID, of api: inout MemoryAPI) {
        erasePayload(id, of: &api)
        guard let request = api.requests.removeValue(forKey: id) else { return }
        if let result = request.result { bodies.erase(result) }
        if let key = request.idempotencyKey, api.keys[key]?.id == id { api.keys[key] = nil }
    }
}
