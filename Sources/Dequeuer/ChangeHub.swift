import Core
import Synchronization

/// Hands the store's hints on: new work to the workers of its API, ended requests to the worker that has them inside.
///
/// One reader of the store's stream, however many replicas there are.
final class ChangeHub: Sendable {
    private struct State {
        /// Few for each API, and always in the same order.
        var signals: [String: [WorkerSignal]] = [:]
        var inside: [RequestID: ReplicaWorker] = [:]
    }

    private let state = Mutex(State())

    /// Until cancelled. A stream that ends is opened again: hints only make things quick.
    func run(_ store: any Store, clock: any PlatformClock) async {
        while !Task.isCancelled {
            for await change in store.changes() { await handle(change) }
            guard (try? await clock.sleep(for: .seconds(1))) != nil else { return }
        }
    }

    func handle(_ change: StoreChanges) async {
        let (signals, ended) = state.withLock { state in
            (
                change.queued.flatMap { state.signals[$0] ?? [] },
                state.inside.isEmpty ? [] : change.ended.compactMap { id in state.inside[id].map { (id, $0) } }
            )
        }
        for signal in signals { signal.fire(.hint) }
        for (id, worker) in ended { await worker.requestEnded(id) }
    }

    func add(_ signal: WorkerSignal, api: String) {
        state.withLock { $0.signals[api, default: []].append(signal) }
    }

    func remove(_ signal: WorkerSignal, api: String) {
        state.withLock {
            $0.signals[api]?.removeAll { $0 === signal }
            if $0.signals[api]?.isEmpty == true { $0.signals[api] = nil }
        }
    }

    func entered(_ id: RequestID, _ worker: ReplicaWorker) {
        state.withLock { $0.inside[id] = worker }
    }

    func left(_ id: RequestID) {
        state.withLock { $0.inside[id] = nil }
    }
}
