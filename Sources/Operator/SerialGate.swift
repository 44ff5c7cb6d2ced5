import Core
import Synchronization

/// Runs changes that touch the same names or endpoints one at a time, in order of arrival. Other changes run at the
/// same time.
final class SerialGate: Sendable {
    private struct Waiter {
        let number: Int
        let keys: Set<String>
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var held: Set<String> = []
        /// In order of arrival.
        var waiting: [Waiter] = []
        var nextNumber = 0

        /// Removes from the queue the changes that may run now: those that share no key with a running change or with
        /// one that waits before them.
        mutating func admit() -> [Waiter] {
            var admitted: [Waiter] = []
            var blocked = held
            waiting.removeAll { waiter in
                defer { blocked.formUnion(waiter.keys) }
                guard waiter.keys.isDisjoint(with: blocked) else { return false }
                held.formUnion(waiter.keys)
                admitted.append(waiter)
                return true
            }
            return admitted
        }
    }

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: changes that may wait; more are refused.
    init(limit: Int = Limits.waitingChanges) { self.limit = limit }

    /// Runs `body` while no other change that touches one of `keys` runs.
    ///
    /// - Throws: what `body` throws; `unavailable` when too many changes wait; `CancellationError` when the task is
    ///   cancelled while it waits.
    func run<Result: Sendable>(_ keys: Set<String>, _ body: () async throws -> Result) async throws -> Result {
        try await enter(keys)
        defer { leave(keys) }
        return try await body()
    }

    private func enter(_ keys: Set<String>) async throws {
        let number = state.withLock { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                enum Next { case wait([Waiter]), refuse(any Error) }
                let next = state.withLock { state -> Next in
                    if Task.isCancelled { return .refuse(CancellationError()) }
                    state.waiting.append(Waiter(number: number, keys: keys, continuation: continuation))
                    let admitted = state.admit()
                    guard state.waiting.count > limit else { return .wait(admitted) }
                    state.waiting.removeLast()
                    return .refuse(
                        PlatformError(
                            .unavailable, "\(limit) changes of APIs are waiting already: try again later"))
                }
                switch next {
                case .wait(let admitted): for waiter in admitted { waiter.continuation.resume() }
                case .refuse(let error): continuation.resume(throwing: error)
                }
            }
        } onCancel: {
            let (cancelled, admitted) = state.withLock { state -> (Waiter?, [Waiter]) in
                guard let index = state.waiting.firstIndex(where: { $0.number == number }) else { return (nil, []) }
                return (state.waiting.remove(at: index), state.admit())
            }
            cancelled?.continuation.resume(throwing: CancellationError())
            for waiter in admitted { waiter.continuation.resume() }
        }
    }

    private func leave(_ keys: Set<String>) {
        let admitted = state.withLock { state in
            state.held.subtract(keys)
            return state.admit()
        }
        for waiter in admitted { waiter.continuation.resume() }
    }
}
