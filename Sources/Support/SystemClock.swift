package import Core
import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The machine's clock. Only `Platform`, `Commands` and tests with real processes create one.
///
/// Sleeps are timers of a separate NIO event loop. They do not depend on the cooperative thread pool's timers.
package struct SystemClock: PlatformClock {
    /// The event loop with the timers of all sleeping tasks of this process.
    private static let loop: any EventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
    /// The longest timer; a longer sleep is repeated.
    private static let longest: Duration = .seconds(30 * 86400)

    package init() {}

    package func now() -> Timestamp { Timestamp(microseconds: Self.read(CLOCK_REALTIME)) }

    package func instant() -> Instant { Instant(microseconds: Self.read(CLOCK_MONOTONIC)) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    package func sleep(for duration: Duration) async throws {
        var rest = duration
        while rest > Self.longest {
            try await Sleep().wait(Self.longest, on: Self.loop)
            rest -= Self.longest
        }
        try await Sleep().wait(rest, on: Self.loop)
    }
}

/// One sleeping task.
private final class Sleep: NIOScheduledCallbackHandler, Sendable {
    private enum State {
        case idle
        case waiting(CheckedContinuation<Void, any Error>, NIOScheduledCallback?)
        case ended
    }

    private let state = Mutex(State.idle)

    /// - Throws: `CancellationError` as soon as the task is cancelled.
    func wait(_ duration: Duration, on loop: any EventLoop) async throws {
        try Task.checkCancellation()
        guard duration > .zero else { return await Task.yield() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if case .ended = state { return true }
                    state = .waiting(continuation, nil)
                    return false
                }
                if isCancelled { return continuation.resume(throwing: CancellationError()) }
                schedule(duration, on: loop)
            }
        } onCancel: {
            end(throwing: CancellationError())
        }
    }

    private func schedule(_ duration: Duration, on loop: any EventLoop) {
        do {
            // Rounded up: a sleep is never shorter than requested.
            let amount = TimeAmount.microseconds(duration.wholeMicroseconds + 1)
            let timer = try loop.scheduleCallback(in: amount, handler: self)
            let isEnded = state.withLock { state in
                guard case .waiting(let continuation, _) = state else { return true }
                state = .waiting(continuation, timer)
                return false
            }
            // The task was cancelled, or the timer fired, before the timer was recorded here.
            if isEnded { timer.cancel() }
        } catch {
            end(throwing: error)
        }
    }

    func handleScheduledCallback(eventLoop: some EventLoop) { end(throwing: nil) }

    func didCancelScheduledCallback(eventLoop: some EventLoop) { end(throwing: CancellationError()) }

    private func end(throwing error: (any Error)?) {
        let (continuation, timer) = state.withLock { state in
            defer { state = .ended }
            guard case .waiting(let continuation, let timer) = state else {
                return (CheckedContinuation<Void, any Error>?.none, NIOScheduledCallback?.none)
            }
            return (continuation, timer)
        }
        guard let continuation else { return }
        if let error {
            timer?.cancel()
            continuation.resume(throwing: error)
        } else {
            continuation.resume()
        }
    }
}
