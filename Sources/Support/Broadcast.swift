import Synchronization

/// Sends values to any number of listeners. A slow listener loses the oldest values beyond its limit and never delays
/// the sender.
///
/// May be used from any thread.
package final class Broadcast<Value: Sendable>: Sendable {
    private struct State {
        /// The first value of a new listener.
        var latest: Value?
        var listeners: [Int: AsyncStream<Value>.Continuation] = [:]
        var nextID = 0
        var isFinished = false
    }

    private let state: Mutex<State>
    private let limit: Int
    private let replaysLatest: Bool

    /// - Parameter limit: the number of values that may wait for one listener.
    package init(limit: Int) {
        self.state = Mutex(State())
        self.limit = limit
        self.replaysLatest = false
    }

    /// Every listener gets the latest value, beginning with the current one; it may miss values in between.
    package init(latest value: Value) {
        self.state = Mutex(State(latest: value))
        self.limit = 1
        self.replaysLatest = true
    }

    /// Sends `value` to every listener. A listener with a full buffer loses the oldest value.
    package func send(_ value: Value) {
        // Yielding with the lock held keeps the order: no listener gets an older value after a newer one.
        state.withLock { state in
            if replaysLatest { state.latest = value }
            for listener in state.listeners.values { listener.yield(value) }
        }
    }

    /// The values that are sent from now on. Ends when its task is cancelled, and with ``finish()``.
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

    /// Ends every stream after its waiting values.
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
