import Synchronization

/// The addresses that a server's listeners got, for the callers that wait for them.
final class BoundListeners: Sendable {
    private struct State {
        var addresses: [HTTPListener?]
        var failure: (any Error)?
        var waiting: [CheckedContinuation<[HTTPListener], any Error>] = []

        var result: Result<[HTTPListener], any Error>? {
            let all = addresses.compactMap { $0 }
            if all.count == addresses.count { return .success(all) }
            return failure.map { .failure($0) }
        }
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(addresses: Array(repeating: nil, count: count)))
    }

    func set(_ index: Int, to listener: HTTPListener) {
        update { $0.addresses[index] = listener }
    }

    /// The server ended; without effect for who has the addresses already.
    func fail(_ error: any Error) {
        update { if $0.failure == nil { $0.failure = error } }
    }

    func wait() async throws -> [HTTPListener] {
        try await withCheckedThrowingContinuation { continuation in
            let result = state.withLock { state -> Result<[HTTPListener], any Error>? in
                if let result = state.result { return result }
                state.waiting.append(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }

    private func update(_ change: (inout State) -> Void) {
        let (waiting, result) = state.withLock { state in
            change(&state)
            let result = state.result
            defer { if result != nil { state.waiting = [] } }
            return (result == nil ? [] : state.waiting, result)
        }
        guard let result else { return }
        for continuation in waiting { continuation.resume(with: result) }
    }
}
