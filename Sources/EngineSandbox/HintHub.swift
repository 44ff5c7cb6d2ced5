import PodInitClient
import Synchronization

/// Listens to the pods' supervisors and tells whoever asked that something happened in one.
final class HintHub: Sendable {
    private struct State {
        var listeners: [Int: AsyncStream<String>.Continuation] = [:]
        var nextListener = 0
        var watched: [String: PodInitClient.Subscription] = [:]
    }

    private let state = Mutex(State())

    /// A slow reader loses hints of pods that it has a hint of already waiting, at worst the oldest.
    func stream() -> AsyncStream<String> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1024)) { continuation in
            let number = state.withLock { state in
                state.nextListener += 1
                state.listeners[state.nextListener] = continuation
                return state.nextListener
            }
            continuation.onTermination = { [weak self] _ in
                self?.state.withLock { $0.listeners[number] = nil }
            }
        }
    }

    func tell(_ pod: String) {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener.yield(pod) }
    }

    /// Listens to a pod until it is gone. Nothing to do when that is done already.
    func watch(_ pod: String, _ client: PodInitClient) {
        // Made and noted in one step, so that two callers never listen twice, and the end of one never ends the other.
        let subscription = state.withLock { state -> PodInitClient.Subscription? in
            guard state.watched[pod] == nil else { return nil }
            let subscription = client.subscribe { [weak self] _ in
                self?.tell(pod)
            } onEnd: { [weak self] in
                self?.forget(pod)
                self?.tell(pod)
            }
            state.watched[pod] = subscription
            return subscription
        }
        subscription?.begin()
    }

    func forget(_ pod: String) {
        state.withLock { $0.watched.removeValue(forKey: pod) }?.cancel()
    }

    deinit {
        state.withLock { state in
            for subscription in state.watched.values { subscription.cancel() }
            for listener in state.listeners.values { listener.finish() }
        }
    }
}
