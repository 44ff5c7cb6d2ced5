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
    let isShared: Bool
    /// The last heartbeat of each process that is not gone.
    var heartbeats: [String: Timestamp] = [:]

    package init(isShared: Bool = false) { self.isShared = isShared }

    // MARK: Deployed APIs

    package func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        guard deployed(api.name)?.versions.first?.id == expecting else { return false }
        var stored = apis[api.name] ?? MemoryAPI()
        stored.isDeployed = true
        stored.versions.removeAll { $0.id == api.id }
        stored.versions.insert(api, at: 0)
        stored.versions.removeLast(max(0, stored.versions.count - Limits.versions))
        apis[api.name] = stored
        hints.publish(StoreChanges(apis: [api.name]))
        return true
    }

    package func deployedAPIs() async throws -> [DeployedAPI] {
        apis.values.filter(\.isDeployed).compactMap(\.versions.first).sorted { $0.name < $1.name }
    }

    package func versions(of api: String) async throws -> [DeployedAPI] {
        deployed(api)?.versions ?? []
    }

    package func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        guard var stored = deployed(api) else { return false }
        let open = stored.requests.values.filter { !$0.status.isEnded }.map(\.id)
        if keepRequests {
            for id in open { end(id, of: &stored, by: .cancel, now: now) }
            stored.isDeployed = false
            stored.requestedReplicas = nil
            apis[api] = stored
        } else {
            for id in Array(stored.requests.keys) { erase(id, of: &stored) }
            apis[api] = nil
        }
        hints.publish(StoreChanges(ended: Set(open), apis: [api]))
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

    // MARK: Bodies

    package func makeBodyWriter() async throws -> any BodyWriter {
        MemoryBodyWriter(bodies: bodies)
    }

    package func reader(of body: Body) async throws -> any BodyReader {
        try bodies.reader(of: body)
    }

    // MARK: Reading

    package func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        guard let request = deployed(api)?.requests[id], !request.isPurged(at: now) else { return nil }
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
        apis.filter(\.value.isDeployed).mapValues { api in
            QueueCounts(
                inQueue: api.requests.values.count { $0.status == .inQueue },
                inProgress: api.requests.values.count { $0.status == .inProgress })
        }
    }

    package nonisolated func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        hints.stream(kinds)
    }

    func deployed(_ api: String) -> MemoryAPI? {
        guard let stored = apis[api], stored.isDeployed else { return nil }
        return stored
    }
}
