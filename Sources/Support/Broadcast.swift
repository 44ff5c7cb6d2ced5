import Synchronization

/// Sends values to any number of listeners. A listener that is slow loses the oldest values beyond its limit and never
/// delays the sender.
///
/// Safe from any thread.
package final class Broadcast<Value: Sendable>: Sendable {
    private struct State {
        /// What a new listener gets first.
        var latest: Value?
        var listeners: [Int: AsyncStream<Value>.Continuation] = [:]
        var nextID = 0
        var isFinished = false
    }

    private let state: Mutex<State>
    private let limit: Int
    private let replaysLatest: Bool

    /// - Parameter limit: values that may wait for one listener.
    package init(limit: Int) {
        self.state = Mutex(State())
        self.limit = limit
        self.replaysLatest = false
    }

    /// Every listener gets the latest value, beginning with the one of the moment; it may miss values in between.
    package init(latest value: Value) {
        self.state = Mutex(State(latest: value))
        self.limit = 1
        self.replaysLatest = true
    }

    /// Gives `value` to every listener. Where one has not taken as many as may wait, it loses the oldest.
    package func send(_ value: Value) {
        // Yielding under the lock keeps the order: no listener's newest value is overtaken by an older one.
        state.withLock { state in
            if replaysLatest { state.latest = value }
            for listener in state.listeners.values { listener.yield(value) }
        }
    }

    /// What is sent from now on. Ends when its task is cancelled, and with ``finish()``.
    package func stream() -> AsyncStream<Value> {
        let (stream, continuation) = AsyncStream.makeStream(of: Value.self, bufferingPolicy: .bufferingNewest(limit))
        let id = state.withLock { state -> Int? in
            if let latest = state.latest { continuation.yield(latest) }
            guard !state.isFinished else { return nil }
            state.nextID += 1
            state.listeners[state.nextID] = continuation
            return state.nextID
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { $0.listeners[id] = nil }
        }
        return stream
    }

    /// Ends every stream, after what is still to be taken from it.
    package func finish() {
        let listeners = state.withLock { state in
            defer { state.listeners = [:] }
            state.isFinished = true
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }

    deinit {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.finish() }
    }
}
