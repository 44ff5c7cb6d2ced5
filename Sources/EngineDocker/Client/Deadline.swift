import Core
import Synchronization

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

/// Counts the signs of activity of a source.
final class Pulse: Sendable {
    private let beats = Atomic(0)

    var count: Int { beats.load(ordering: .relaxed) }
    func beat() { beats.add(1, ordering: .relaxed) }
}

/// Runs `body` for as long as the pulse beats: once it has not for `limit` (or up to twice as long), the body is
/// cancelled.
///
/// - Throws: `timed_out` then, else what `body` throws.
func withSilenceLimit<Value: Sendable>(
    _ limit: Duration, of pulse: Pulse, clock: any PlatformClock, _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await body() }
        group.addTask {
            var last = -1
            while true {
                let now = pulse.count
                guard now != last else {
                    throw PlatformError(.timedOut, "The container engine has said nothing for too long.")
                }
                last = now
                try await clock.sleep(for: limit)
            }
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}
