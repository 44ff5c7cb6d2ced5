package import Core

/// A store that does what another does, but for what a test's own type says otherwise.
package protocol WrappedStore: Store {
    associatedtype Base: Store
    var base: Base { get }
}

/// A process with one replica, both of this name.
extension LeaseHolder: ExpressibleByStringInterpolation {
    package init(stringLiteral name: String) { self.init(process: name, replica: name) }
}

extension Store {
    /// Makes `api` the present version, whatever was deployed before.
    package func deploy(_ api: DeployedAPI, now: Timestamp) async throws {
        while true {
            let present = try await versions(of: api.name).first?.id
            if try await deploy(api, expecting: present, now: now) { return }
        }
    }

    /// Requests so many replicas of a deployed API, whatever was requested before.
    package func saveRequestedReplicas(_ count: Int, of api: String) async throws {
        guard let version = try await versions(of: api).first?.id else { return }
        let current = try await requestedReplicas(of: api) ?? 0
        _ = try await replaceRequestedReplicas(count, of: api, version: version, expecting: current)
    }
}

extension WrappedStore {
    package var name: String { base.name }
    package func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        try await base.deploy(api, expecting: expecting, now: now)
    }
    package func deployedAPIs() async throws -> [DeployedAPI] { try await base.deployedAPIs() }
    package func versions(of api: String) async throws -> [DeployedAPI] { try await base.versions(of: api) }
    package func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try await base.delete(api: api, keepRequests: keepRequests, now: now)
    }
    package func requestedReplicas(of api: String) async throws -> Int? { try await base.requestedReplicas(of: api) }
    package func replaceRequestedReplicas(
        _ count: Int, of api: String, version: String, expecting current: Int
    ) async throws -> Bool {
        try await base.replaceRequestedReplicas(count, of: api, version: version, expecting: current)
    }
    package func splitState(of splitter: String) async throws -> SplitState? {
        try await base.splitState(of: splitter)
    }
    package func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool {
        try await base.saveSplitState(state, of: splitter, version: version)
    }
    package func makeBodyWriter() async throws -> any BodyWriter { try await base.makeBodyWriter() }
    package func reader(of body: Body) async throws -> any BodyReader { try await base.reader(of: body) }
    package func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try await base.submit(submission, maxQueueLength: maxQueueLength, now: now)
    }
    package func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    { try await base.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now) }
    package func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        try await base.extend(leases, visibility: visibility, now: now)
    }
    package func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await base.finish(lease, outcome: outcome, now: now)
    }
    package func release(_ leases: [Lease], now: Timestamp) async throws { try await base.release(leases, now: now) }
    package func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int {
        try await base.releaseLeases(heldBy: process, now: now)
    }
    package func beat(process: String, now: Timestamp) async throws -> Int {
        try await base.beat(process: process, now: now)
    }
    package func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? { try await base.cancel(id, api: api, now: now) }
    package func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await base.retry(id, api: api, now: now)
    }
    package func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await base.read(id, api: api, now: now)
    }
    package func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        try await base.list(api: api, filter: filter, now: now)
    }
    package func counts() async throws -> [String: QueueCounts] { try await base.counts() }
    package func maintain(now: Timestamp) async throws -> Upkeep { try await base.maintain(now: now) }
    package func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> { base.changes(kinds) }
}
