import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The time was up.
struct ProbeTimeout: Error {}

/// Runs `operation`, but returns by `timeout` at the latest, and at once when the task is cancelled.
///
/// The operation gets a task of its own, which is cancelled and then left to itself: an engine that does not heed cancellation must not
/// hold up the probe. So the operation has to clean up after itself whenever it ends.
func withTimeout(
    _ timeout: Duration, clock: any PlatformClock, _ operation: @escaping @Sendable () async throws -> Void
) async throws {
    let race = Race()
    let work = Task {
        do {
            try await operation()
            race.end(.success(()))
        } catch {
            race.end(.failure(error))
        }
    }
    let timer = Task {
        guard (try? await clock.sleep(for: timeout)) != nil else { return }
        race.end(.failure(ProbeTimeout()))
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    try await withTaskCancellationHandler {
        try await race.result()
    } onCancel: {
        race.end(.failure(CancellationError()))
    }
}

/// The first result counts.
private final class Race: Sendable {
    private struct State {
        var result: Result<Void, any Error>?
        var waiter: CheckedContinuation<Void, any Error>?
    }

    private let state = Mutex(State())

    func end(_ result: Result<Void, any Error>) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            guard state.result == nil else { return nil }
            state.result = result
            return state.waiter.take()
        }
        waiter?.resume(with: result)
    }

    func result() async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            let result = state.withLock { state -> Result<Void, any Error>? in
                if state.result == nil { state.waiter = continuation }
                return state.result
            }
            if let result { continuation.resume(with: result) }
        }
    }
}

/// Closes a descriptor that was not handed on.
func closeSocket(_ descriptor: CInt) {
    _ = close(descriptor)
}
