import Core

/// Runs `body` for at most `duration` of `clock`'s time; then it is cancelled.
///
/// - Throws: `timed_out` when the time is up, else what `body` throws.
func withDeadline<Value: Sendable>(
    _ duration: Duration, clock: any PlatformClock, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await clock.sleep(for: duration)
            throw PlatformError(.timedOut, "The container engine did not answer in time.")
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}
