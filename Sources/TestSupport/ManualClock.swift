package import Core
import Synchronization

/// A clock that only a test advances. Sleepers wake in the order of their deadlines.
package final class ManualClock: PlatformClock {
    private struct Sleeper {
        let deadline: Instant
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var now: Timestamp
        var instant = Instant(seconds: 1_000_000)
        var nextID = 0
        var sleepers: [Int: Sleeper] = [:]
        var cancelledEarly: Set<Int> = []
    }

    private let state: Mutex<State>

    package init(_ start: Timestamp = Timestamp(seconds: 1_800_000_000)) {
        self.state = Mutex(State(now: start))
    }

    package func now() -> Timestamp { state.withLock { $0.now } }

    package func instant() -> Instant { state.withLock { $0.instant } }

    /// How many tasks are asleep now.
    package var sleepers: Int { state.withLock { $0.sleepers.count } }

    /// Moves time forward and wakes the sleepers that are due.
    package func advance(by duration: Duration) {
        let due = state.withLock { state -> [Sleeper] in
            state.now = state.now + duration
            state.instant = state.instant + duration
            let woken = state.sleepers.filter { $0.value.deadline <= state.instant }
            for id in woken.keys { state.sleepers[id] = nil }
            return woken.values.sorted { $0.deadline < $1.deadline }
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// Sets the clock forward or back, as an administrator or a time server does. The remaining times of sleepers do
    /// not change.
    package func jump(by duration: Duration) {
        state.withLock { $0.now = $0.now + duration }
    }

    package func sleep(for duration: Duration) async throws {
        let id = state.withLock { state -> Int in
            state.nextID += 1
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Next { case wait, wake, cancel }
                let next = state.withLock { state -> Next in
                    if state.cancelledEarly.remove(id) != nil { return .cancel }
                    if duration <= .zero { return .wake }
                    state.sleepers[id] = Sleeper(deadline: state.instant + duration, continuation: continuation)
                    return .wait
                }
                switch next {
                case .wait: break
                case .wake: continuation.resume()
                case .cancel: continuation.resume(throwing: CancellationError())
                }
            }
        } onCancel: {
            let sleeper = state.withLock { state -> Sleeper? in
                guard let sleeper = state.sleepers.removeValue(forKey: id) else {
                    state.cancelledEarly.insert(id)
                    return nil
                }
                return sleeper
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }
}

extension Instant {
    package init(seconds: Int64) { self.init(microseconds: seconds * 1_000_000) }
}
