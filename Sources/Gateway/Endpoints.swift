import Core
import HTTPServing
import Synchronization

/// The endpoint table, kept like the store's deployed APIs.
///
/// A path that is not in it makes the store be read again before the answer is "unknown", so an API is reachable the
/// moment its deploy has returned. Such reads are shared, and at most one begins per `pause`: callers of unknown paths
/// wait rather than burden the store.
final class Endpoints: Sendable {
    private struct State {
        var table: EndpointTable
        var startedAt: Instant?
        var running: Task<Void, any Error>?
        var next: Task<Void, any Error>?
    }

    static let pause: Duration = .milliseconds(100)

    private let store: any Store
    private let clock: any PlatformClock
    private let makeTable: @Sendable ([DeployedAPI]) async throws -> EndpointTable
    private let state: Mutex<State>

    /// - Parameter makeTable: the table of all deployed APIs. Its calls follow each other.
    init(
        store: any Store, clock: any PlatformClock,
        makeTable: @escaping @Sendable ([DeployedAPI]) async throws -> EndpointTable
    ) {
        self.store = store
        self.clock = clock
        self.makeTable = makeTable
        self.state = Mutex(State(table: EndpointTable([]) { _ in nil }))
    }

    /// - Throws: ``PlatformError`` `not_found`; `store_unavailable` when it is not in the table and the store cannot be
    ///   read.
    nonisolated(nonsending) func find(_ path: String) async throws -> EndpointTable.Match {
        if let match = state.withLock({ $0.table }).match(path) { return match }
        try await refresh()
        guard let match = state.withLock({ $0.table }).match(path) else {
            throw GatewayRoutes.unknownPath
        }
        return match
    }

    /// The handler of a path that an exchange answers, as far as the table knows now.
    func exchange(_ path: String) -> ExchangeMatch? {
        guard let match = state.withLock({ $0.table }).match(path), case .exchanges(let handler) = match.endpoint else {
            return nil
        }
        return ExchangeMatch(handler: handler, rest: match.rest)
    }

    /// Returns after a read of the store that began after this call.
    func refresh() async throws {
        let task = state.withLock { state -> Task<Void, any Error> in
            // One that has not begun yet serves every caller that comes until it does.
            if let next = state.next { return next }
            let previous = state.running
            // Shared by many callers, so no single caller's task can own it; it ends with one read of the store.
            let task = Task {
                _ = await previous?.result
                try await self.load()
            }
            state.next = task
            return task
        }
        try await task.value
    }

    private func load() async throws {
        let now = clock.instant()
        if let started = state.withLock({ $0.startedAt }), now < started + Self.pause {
            try await clock.sleep(for: started + Self.pause - now)
        }
        state.withLock { state in
            state.startedAt = clock.instant()
            state.running = state.next
            state.next = nil
        }
        let table = try await makeTable(try await store.deployedAPIs())
        state.withLock { $0.table = table }
    }
}
