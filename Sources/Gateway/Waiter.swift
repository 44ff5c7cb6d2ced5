import Core
import Synchronization

/// One caller that waits for one request to end. It is woken by what comes first; a wake-up before the wait is kept for it.
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
        var continuation: CheckedContinuation<Wakeup, Never>?
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
        let continuation = state.withLock { state -> CheckedContinuation<Wakeup, Never>? in
            defer { state.continuation = nil }
            if state.continuation == nil, state.wakeup != .over { state.wakeup = wakeup }
            return state.continuation
        }
        continuation?.resume(returning: wakeup)
    }

    func wait() async -> Wakeup {
        await withCheckedContinuation { continuation in
            let kept = state.withLock { state -> Wakeup? in
                guard let wakeup = state.wakeup else {
                    state.continuation = continuation
                    return nil
                }
                // "Over" stays true for every later wait.
                if wakeup != .over { state.wakeup = nil }
                return wakeup
            }
            if let kept { continuation.resume(returning: kept) }
        }
    }
}
