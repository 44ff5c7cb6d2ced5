import Core
import Synchronization

/// One caller that waits for one request to end. It is woken by what comes first; a wake-up before the wait is kept for
/// it.
final class Waiter: Sendable {
    enum Wakeup: Sendable {
        /// The store says that the request ended.
        case ended
        /// The time to look, or to give up, has come.
        case time
        /// Nobody is left to wait, or the server is shutting down.
        case over
    }

    private struct State {
        var wakeup: Wakeup?
        var action: (@Sendable () -> Void)?
    }

    let id: RequestID
    /// The hub's own count of waiters.
    let number: UInt64
    /// The hub's place for its time-out; the hub's lock guards it by being held around every use.
    let slot = Mutex<Int64?>(nil)
    private let state = Mutex(State())

    init(id: RequestID, number: UInt64) {
        self.id = id
        self.number = number
    }

    func wake(_ wakeup: Wakeup) {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            if state.wakeup != .over { state.wakeup = wakeup }
            return state.action.take()
        }
        action?()
    }

    /// Calls `action` once when there is a wake-up to take; at once if there is one.
    func whenWoken(_ action: @escaping @Sendable () -> Void) {
        let isWoken = state.withLock { state -> Bool in
            guard state.wakeup == nil else { return true }
            state.action = action
            return false
        }
        if isWoken { action() }
    }

    /// The wake-up, if there is one. "Over" stays true for ever.
    func take() -> Wakeup? {
        state.withLock { state in
            defer { if state.wakeup != .over { state.wakeup = nil } }
            return state.wakeup
        }
    }
}
