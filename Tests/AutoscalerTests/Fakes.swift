import Core
import Synchronization
import TestSupport

/// A store that knows APIs and counts, and can be broken; everything else is beyond this suite and says so.
final class FakeStore: StoreWithoutJobs {
    struct State {
        var apis: [DeployedAPI] = []
        var counts: [String: QueueCounts] = [:]
        var saved: [String: Int] = [:]
        var isBroken = false
        var cannotSave = false
        var looks = 0
        /// Runs once when counts are read.
        var afterCounts: (@Sendable (inout State) -> Void)?
        /// Runs once when a number of replicas is read.
        var afterReplicas: (@Sendable (inout State) -> Void)?
    }

    let name = "fake"
    let state: Mutex<State>
    private let stream: AsyncStream<StoreChanges>
    private let hints: AsyncStream<StoreChanges>.Continuation

    init(_ state: State) {
        self.state = Mutex(state)
        (stream, hints) = AsyncStream.makeStream()
    }

    func hint(_ changes: StoreChanges) { hints.yield(changes) }

    func deployedAPIs() async throws -> [DeployedAPI] {
        try state.withLock { state in
            if state.isBroken { throw PlatformError(.storeUnavailable, "broken") }
            return state.apis
        }
    }

    func counts() async throws -> [String: QueueCounts] {
        try state.withLock { state in
            if state.isBroken { throw PlatformError(.storeUnavailable, "broken") }
            state.looks += 1
            let counts = state.counts
            let action = state.afterCounts
            state.afterCounts = nil
            action?(&state)
            return counts
        }
    }

    func replaceRequestedReplicas(_ count: Int, of api: String, version: String, expecting current: Int) async throws
        -> Bool
    {
        try state.withLock { state in
            if state.cannotSave { throw PlatformError(.storeUnavailable, "full") }
            guard state.apis.contains(where: { $0.name == api && $0.id == version }),
                (state.saved[api] ?? current) == current
            else { return false }
            state.saved[api] = count
            return true
        }
    }

    func requestedReplicas(of api: String) async throws -> Int? {
        state.withLock { state in
            let count = state.saved[api]
            let action = state.afterReplicas
            state.afterReplicas = nil
            action?(&state)
            return count
        }
    }
    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> { stream }

    private var beyond: PlatformError { PlatformError(.internal, "beyond this suite") }

    func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool { throw beyond }
    func versions(of api: String) async throws -> [DeployedAPI] { throw beyond }
    func splitState(of splitter: String) async throws -> SplitState? { throw beyond }
    func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool { throw beyond }
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool { throw beyond }
    func makeBodyWriter() async throws -> any BodyWriter { throw beyond }
    func reader(of body: Body) async throws -> any BodyReader { throw beyond }
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        throw beyond
    }
    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    { throw beyond }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] { throw beyond }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult { throw beyond }
    func release(_ leases: [Lease], now: Timestamp) async throws { throw beyond }
    func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int { throw beyond }
    func beat(process: String, now: Timestamp) async throws -> Int { throw beyond }
    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? { throw beyond }
    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? { throw beyond }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? { throw beyond }
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] { throw beyond }
    func maintain(now: Timestamp) async throws -> Upkeep { throw beyond }
}

/// Applies what the store has, and records each change.
final class FakeReconciler: Reconciling {
    let events = Mutex<[String]>([])
    let heldBack = Mutex<Set<String>>([])
    private let store: FakeStore
    private let applied = Mutex<[String: Int]>([:])

    init(_ store: FakeStore) { self.store = store }

    func reconcile(_ api: String) async {
        guard let saved = store.state.withLock({ $0.saved[api] }) else { return }
        let before = applied.withLock { $0.updateValue(saved, forKey: api) }
        if before != saved { events.withLock { $0.append("\(api) \(saved)") } }
    }

    func admit(_ api: String) async { await reconcile(api) }
    func reasonHeldBack(_ api: String) -> String? { heldBack.withLock { $0.contains(api) } ? "held back" : nil }
}

/// A source of load in a test's hands.
final class FakeLoad: LoadSource {
    struct State {
        var load: [String: Int] = [:]
        var isBroken = false
    }

    let state = Mutex(State())
    let hints: AsyncStream<Set<String>>.Continuation
    private let stream: AsyncStream<Set<String>>

    init() { (stream, hints) = AsyncStream.makeStream() }

    func load() async throws -> [String: APILoad] {
        try state.withLock { state in
            if state.isBroken { throw PlatformError(.unavailable, "broken") }
            return state.load.mapValues { APILoad($0) }
        }
    }

    func arrivals() -> any AsyncSequence<Set<String>, Never> & Sendable { stream }
}
