import Core
import Synchronization

/// Limits how much work runs at the same time. Work that must wait begins in the order of its calls.
///
/// Each piece of work names one or more keys, and for each key at most `width` pieces run at once. Work that shares no
/// key with waiting or running work does not wait. Safe from any task.
package final class Limiter: Sendable {
    private struct Waiter {
        let number: Int
        let keys: Set<String>
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State {
        let width: Int
        /// Running work by key.
        var running: [String: Int] = [:]
        /// In the order of the calls.
        var waiting: [Waiter] = []
        var nextNumber = 0

        /// Removes from the queue what may begin now. Work whose keys wait in front of it does not overtake.
        mutating func admit() -> [Waiter] {
            var admitted: [Waiter] = []
            var blocked: Set<String> = []
            waiting.removeAll { waiter in
                let isFree = waiter.keys.allSatisfy { !blocked.contains($0) && running[$0, default: 0] < width }
                guard isFree else {
                    blocked.formUnion(waiter.keys)
                    return false
                }
                for key in waiter.keys { running[key, default: 0] += 1 }
                admitted.append(waiter)
                return true
            }
            return admitted
        }

        mutating func end(_ keys: Set<String>) {
            for key in keys {
                let count = running[key, default: 0] - 1
                running[key] = count > 0 ? count : nil
            }
        }
    }

    private let state: Mutex<State>
    private let waitingLimit: Int
    private let subject: String

    /// - Parameters:
    ///   - width: pieces of work with the same key that run at once; at least 1.
    ///   - waitingLimit: pieces of work that may wait; further ones are refused.
    ///   - subject: the work in words, for the error, such as `changes of APIs`.
    package init(width: Int = 1, waitingLimit: Int, of subject: String) {
        self.state = Mutex(State(width: max(1, width)))
        self.waitingLimit = waitingLimit
        self.subject = subject
    }

    /// Runs `body` as soon as each of its keys is free.
    ///
    /// - Parameter keys: what the work must not share with too much other work; without one, all work shares one key.
    /// - Throws: what `body` throws; `unavailable` when too much work waits; `CancellationError` when the task is
    ///   cancelled while it waits.
    package func run<Value: Sendable>(
        _ keys: Set<String> = [""], _ body: () async throws -> Value
    ) async throws -> Value {
        try await enter(keys)
        defer { leave(keys) }
        return try await body()
    }

    /// The number of pieces of work that wait.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

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
                    guard state.waiting.count > waitingLimit else { return .wait(admitted) }
                    state.waiting.removeLast()
                    return .refuse(
                        PlatformError(
                            .unavailable, "\(waitingLimit) \(subject) are waiting already: try again later"))
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
            state.end(keys)
            return state.admit()
        }
        for waiter in admitted { waiter.continuation.resume() }
    }
}

/// Does a piece of work once at a time: callers that ask while it is being done share its result.
package actor SingleFlight<Value: Sendable> {
    private var current: Task<Value, any Error>?

    package init() {}

    /// Runs `body`, or waits for the run that is under way. Cancelling a caller does not cancel the shared work.
    package func run(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        if let current { return try await current.value }
        // Not a child of the caller: others wait for it too, so the caller's cancellation is not its own.
        let task = Task { try await body() }
        current = task
        defer { current = nil }
        return try await task.value
    }
}
