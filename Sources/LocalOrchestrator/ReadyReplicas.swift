import Core
import Synchronization

/// Tells every listener the newest list of ready replicas; whoever is slow misses lists in between, never the last one.
final class ReadyReplicas: Sendable {
    private struct State {
        var latest: [ReadyReplica] = []
        var listeners: [Int: AsyncStream<[ReadyReplica]>.Continuation] = [:]
        var nextID = 0
    }

    private let state = Mutex(State())

    func publish(_ replicas: [ReadyReplica]) {
        // Yielding under the lock keeps the order: nobody's newest list is overtaken by an older one.
        state.withLock { state in
            state.latest = replicas
            for listener in state.listeners.values { listener.yield(replicas) }
        }
    }

    func stream() -> AsyncStream<[ReadyReplica]> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: [ReadyReplica].self, bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock { state in
            state.nextID += 1
            state.listeners[state.nextID] = continuation
            continuation.yield(state.latest)
            return state.nextID
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.listeners[id] = nil }
        }
        return stream
    }
}
