import Synchronization

/// Limits concurrent reads of the store; an excess caller is called back, and holds no task until
/// then.
///
/// Without it thousands of callers that begin to wait at once, or whose requests end at once, would have a task each
/// for that moment.
final class ReadLimiter: Sendable {
    private struct State {
        var free: Int
        var waiting: [@Sendable () -> Void] = []
        /// Taken of those that wait.
        var next = 0
    }

    private let state: Mutex<State>

    init(places: Int) {
        self.state = Mutex(State(free: places))
    }

    /// Takes a place, to be released with `leave`.
    ///
    /// - Returns: whether there was one.
    func enter() -> Bool {
        state.withLock { state in
            guard state.free > 0 else { return false }
            state.free -= 1
            return true
        }
    }

    /// Calls `action` once with a place that was taken for it, at once or later, in the order of asking.
    func whenEntered(_ action: @escaping @Sendable () -> Void) {
        let isFree = state.withLock { state -> Bool in
            guard state.free > 0 else {
                state.waiting.append(action)
                return false
            }
            state.free -= 1
            return true
        }
        if isFree { action() }
    }

    func leave() {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            guard state.next < state.waiting.count else {
                state.waiting = []
                state.next = 0
                state.free += 1
                return nil
            }
            defer { state.next += 1 }
            return state.waiting[state.next]
        }
        action?()
    }
}
