package import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// An attempt to connect that can be cancelled at any time, for one caller. Safe from any thread.
///
/// It runs in a task of its own, because a connector may ignore cancellation. A descriptor that arrives too late is
/// closed.
package final class ConnectionAttempt: Sendable {
    private struct State {
        var isOver = false
        var waiter: CheckedContinuation<CInt, any Error>?
        var task: Task<Void, Never>?
    }

    private let state = Mutex(State())

    package init() {}

    /// Connects to a port inside the pod.
    ///
    /// - Returns: a connected descriptor, which the caller owns.
    /// - Throws: what the connector throws; `CancellationError` after ``cancel()``.
    package func descriptor(
        _ connector: any Connector, port: Int, isolation: isolated (any Actor)? = #isolation
    ) async throws -> CInt {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<CInt, any Error>) in
            let isOver = state.withLock { state -> Bool in
                guard !state.isOver else { return true }
                state.waiter = continuation
                state.task = Task {
                    do {
                        let descriptor = try await connector.connect(port: port)
                        if !self.end(.success(descriptor)) { _ = close(descriptor) }
                    } catch {
                        self.end(.failure(error))
                    }
                }
                return false
            }
            if isOver { continuation.resume(throwing: CancellationError()) }
        }
    }

    /// Ends the attempt at once.
    package func cancel() {
        let task = state.withLock { $0.task }
        end(.failure(CancellationError()))
        task?.cancel()
    }

    /// - Returns: whether a caller was still waiting.
    @discardableResult
    private func end(_ result: Result<CInt, any Error>) -> Bool {
        let waiter = state.withLock { state -> CheckedContinuation<CInt, any Error>? in
            state.isOver = true
            return state.waiter.take()
        }
        waiter?.resume(with: result)
        return waiter != nil
    }
}
