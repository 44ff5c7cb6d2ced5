import Core

/// The world's clock. Waits use the schedule's time; `now` can be set forward and back, as an operator or NTP does.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class SimulatedClock: PlatformClock, @unchecked Sendable {
    private let schedule: Schedule
    private let start = Timestamp(seconds: 1_800_000_000)
    private(set) var offset: Duration = .zero

    init(_ schedule: Schedule) { self.schedule = schedule }

    func now() -> Timestamp { start + .microseconds(schedule.elapsed) + offset }

    func instant() -> Instant { Instant(microseconds: schedule.elapsed) }

    func jump(by duration: Duration) { offset += duration }

    func sleep(for duration: Duration) async throws {
        let sleeper = Sleeper()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                guard !sleeper.isCancelled else { return continuation.resume(throwing: CancellationError()) }
                sleeper.continuation = continuation
                sleeper.timer = schedule.after(duration) { sleeper.continuation.take()?.resume() }
            }
        } onCancel: {
            sleeper.isCancelled = true
            guard let continuation = sleeper.continuation.take() else { return }
            if let timer = sleeper.timer { schedule.cancel(timer) }
            continuation.resume(throwing: CancellationError())
        }
    }

    /// `@unchecked Sendable`: confined to its world's thread.
    private final class Sleeper: @unchecked Sendable {
        var isCancelled = false
        var continuation: CheckedContinuation<Void, any Error>?
        var timer: Int?
    }
}
