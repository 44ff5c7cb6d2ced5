import Core
import Synchronization

/// Hands the store's hints on: new work to the workers of its API, ended requests to the worker that has them inside.
/// Safe from any thread.
///
/// One reader of the store's stream, however many replicas there are.
final class ChangeHub: Sendable {
    private struct State {
        var groups: [String: ClaimGroup] = [:]
        var inside: [RequestID: ReplicaWorker] = [:]
    }

    private let state = Mutex(State())

    /// Until cancelled. A stream that ends is opened again: hints only make things quick.
    func run(_ store: any RequestQueue, clock: any PlatformClock) async {
        while !Task.isCancelled {
            for await change in store.changes() { await handle(change, now: clock.instant()) }
            guard (try? await clock.sleep(for: .seconds(1))) != nil else { return }
        }
    }

    func handle(_ change: StoreChanges, now: Instant) async {
        let (groups, ended) = state.withLock { state in
            (
                change.queued.compactMap { state.groups[$0] },
                state.inside.isEmpty ? [] : change.ended.compactMap { id in state.inside[id].map { (id, $0) } }
            )
        }
        for group in groups { group.hint(now: now) }
        for (id, worker) in ended { await worker.requestEnded(id) }
    }

    /// Takes a worker in among those of its API.
    func join(
        _ signal: WorkerSignal, _ replica: ReadyReplica, _ configuration: DequeuerConfiguration, now: Instant
    ) -> (group: ClaimGroup, id: Int) {
        state.withLock { state in
            let api = replica.api.name
            let group =
                state.groups[api]
                ?? ClaimGroup(pollMin: configuration.pollMin, pollMax: configuration.pollMax, now: now)
            state.groups[api] = group
            return (group, group.join(signal, replica, now: now))
        }
    }

    /// Forgets a group when its last worker has left it.
    func release(_ group: ClaimGroup, api: String) {
        state.withLock { if $0.groups[api] === group, group.isEmpty { $0.groups[api] = nil } }
    }

    func entered(_ id: RequestID, _ worker: ReplicaWorker) {
        state.withLock { $0.inside[id] = worker }
    }

    func left(_ id: RequestID) {
        state.withLock { $0.inside[id] = nil }
    }
}
