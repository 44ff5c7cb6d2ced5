package import Core
import Support

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
        return upkeep
    }

    /// The processes whose last heartbeat is too old. The only process of a store is never gone for itself.
    private func processesGone(at now: Timestamp) -> Set<String> {
        guard isShared else { return [] }
        return Set(heartbeats.filter { $0.value + Limits.processTimeout <= now }.keys)
    }

    /// The request of a valid lease. An expired lease stays valid until its request is released.
    func leased(_ lease: Lease) -> MemoryRequest? {
        guard let request = deployed(lease.api)?.requests[lease.id], request.status == .inProgress,
            request.token == lease.token
        else { return nil }
        return request
    }

    /// Releases every request in progress for which `condition` is true.
    func giveBack(where condition: (MemoryRequest) -> Bool) -> Int {
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
        api.requests[id]?.status = status
        api.requests[id]?.leaseEnd = nil
        api.requests[id]?.holder = nil
    }

    /// Ends a request: data that is no longer needed is erased, and its retention begins.
    ///
    /// - Returns: `false` when the transition is not allowed; then nothing was changed.
    @discardableResult
    func end(_ id: RequestID, of api: inout MemoryAPI, by transition: RequestTransition, now: Timestamp) -> Bool {
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
