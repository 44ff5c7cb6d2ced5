package import Core
import Synchronization

/// Runs `operation` and returns its result, or fails when `limit` has passed, also when the operation ignores its
/// cancellation.
///
/// The operation runs in a task of its own. It is cancelled when the time is up, and when the calling task is
/// cancelled; in both cases this function returns at once, and the operation may still continue. What it returns then
/// is dropped, so it must not return anything that needs to be closed.
///
/// - Throws: `timed_out` after `limit`; `CancellationError` when the calling task is cancelled; otherwise what
///   `operation` throws.
package func withTimeLimit<Value: Sendable>(
    _ limit: Duration, clock: any PlatformClock = SystemClock(),
    _ operation: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try Task.checkCancellation()
    let outcome = FirstOutcome<Value>()
    let work = Task {
        do {
            outcome.end(.success(try await operation()))
        } catch {
            outcome.end(.failure(error))
        }
    }
    let timer = Task {
        do {
            try await clock.sleep(for: limit)
        } catch {
            // The operation ended first.
            return
        }
        outcome.end(.failure(PlatformError(.timedOut, "It did not end within \(limit).")))
        work.cancel()
    }
    defer { timer.cancel() }
    return try await withTaskCancellationHandler {
        try await outcome.value()
    } onCancel: {
        outcome.end(.failure(CancellationError()))
        work.cancel()
    }
}

/// The first of several results, for one waiting task.
private final class FirstOutcome<Value: Sendable>: Sendable {
    private enum State {
        case open(CheckedContinuation<Value, any Error>?)
        case ended(Result<Value, any Error>)
    }

    private let state = Mutex(State.open(nil))

    func end(_ result: Result<Value, any Error>) {
        let waiting = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            guard case .open(let waiting) = state else { return nil }
            state = .ended(result)
            return waiting
        }
        waiting?.resume(with: result)
    }

    func value() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let result = state.withLock { state -> Result<Value, any Error>? in
                if case .ended(let result) = state { return result }
                state = .open(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
