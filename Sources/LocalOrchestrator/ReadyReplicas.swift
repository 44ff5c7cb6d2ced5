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
        let listeners = state.withLock { state -> [AsyncStream<[ReadyReplica]>.Continuation] in
            state.latest = replicas
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.yield(replicas) }
    }

    func stream() -> AsyncStream<[ReadyReplica]> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: [ReadyReplica].self, bufferingPolicy: .bufferingNewest(1))
        let (id, latest) = state.withLock { state -> (Int, [ReadyReplica]) in
            state.nextID += 1
            state.listeners[state.nextID] = continuation
            return (state.nextID, state.latest)
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.listeners[id] = nil }
        }
        continuation.yield(latest)
        return stream
    }
}
