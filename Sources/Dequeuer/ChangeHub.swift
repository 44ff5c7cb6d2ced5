import Core
import Synchronization

/// Hands the store's hints on: new work to the worker of its API whose turn it is, ended requests to the worker that has them inside.
///
/// One reader of the store's stream, however many replicas there are.
final class ChangeHub: Sendable {
    private struct State {
        var turns: [String: ClaimTurns] = [:]
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
        let (turns, ended) = state.withLock { state in
            (
                change.queued.compactMap { state.turns[$0] },
                state.inside.isEmpty ? [] : change.ended.compactMap { id in state.inside[id].map { (id, $0) } }
            )
        }
        for turns in turns { turns.hint() }
        for (id, worker) in ended { await worker.requestEnded(id) }
    }

    /// Takes a worker in among those of its API.
    func join(_ signal: WorkerSignal, _ activity: ReplicaActivity, api: String) -> (turns: ClaimTurns, id: Int) {
        state.withLock { state in
            let turns = state.turns[api] ?? ClaimTurns()
            state.turns[api] = turns
            return (turns, turns.join(signal, activity))
        }
    }

    func leave(_ turns: ClaimTurns, _ id: Int, api: String) {
        turns.leave(id)
        state.withLock { if turns.isEmpty, $0.turns[api] === turns { $0.turns[api] = nil } }
    }

    func entered(_ id: RequestID, _ worker: ReplicaWorker) {
        state.withLock { $0.inside[id] = worker }
    }

    func left(_ id: RequestID) {
        state.withLock { $0.inside[id] = nil }
    }
}
