import Core
import NIOPosix
import Synchronization

/// Runs blocking calls (files, `statfs`, `waitpid`, name lookup) on threads of its own, so that neither an event loop
/// nor the cooperative thread pool ever waits for the system:
///
///     let text = try await blocking { try read(path) }
///
/// The number of threads is fixed, see ``Core/Limits``. Work that finds no free thread waits in order. Safe from any
/// task.
///
/// A call that may hang for ever, because a file system or a device does not answer, needs a pool of its own
/// (``checks``) and ``withTimeLimit(_:clock:_:)`` around it.
package final class BlockingPool: Sendable {
    /// For calls that end by themselves.
    package static let shared = BlockingPool(threads: Limits.blockingThreads)
    /// For looking at what may not answer, such as the file system of a volume.
    package static let checks = BlockingPool(threads: Limits.checkThreads)

    private let pool: NIOThreadPool
    private let waiting = Mutex(0)
    private let limit: Int

    /// Starts `threads` threads, which live as long as the process.
    ///
    /// - Parameter limit: work that may wait for a thread; more is refused.
    package init(threads: Int, limit: Int = Limits.blockingQueue) {
        self.pool = NIOThreadPool(numberOfThreads: threads)
        self.limit = limit
        pool.start()
    }

    /// Runs `body` on one of the threads.
    ///
    /// A task that is cancelled before `body` begins leaves the queue at once, and `body` never runs: work that must
    /// happen also in a cancelled task needs a task of its own. A `body` that has begun runs to its end, and the caller
    /// waits for it.
    ///
    /// - Throws: what `body` throws; `CancellationError` when it never began; `unavailable` when too much work waits.
    package func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try Task.checkCancellation()
        let isAccepted = waiting.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        guard isAccepted else {
            throw PlatformError(.unavailable, "Too many operations wait for the file system. Try again later.")
        }
        let work = Work<Value>()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard work.wait(continuation) else {
                    waiting.withLock { $0 -= 1 }
                    return
                }
                pool.submit { [self] state in
                    waiting.withLock { $0 -= 1 }
                    guard let continuation = work.begin() else { return }
                    guard case .active = state else { return continuation.resume(throwing: CancellationError()) }
                    continuation.resume(with: Result(catching: body))
                }
            }
        } onCancel: {
            work.begin()?.resume(throwing: CancellationError())
        }
    }

    /// One piece of work, which either begins or is cancelled.
    private final class Work<Value: Sendable>: Sendable {
        private enum State {
            case new
            case waiting(CheckedContinuation<Value, any Error>)
            case begun
        }

        private let state = Mutex(State.new)

        /// Returns false, with the caller resumed, where the task was cancelled before.
        func wait(_ continuation: CheckedContinuation<Value, any Error>) -> Bool {
            let isNew = state.withLock { state in
                guard case .new = state else { return false }
                state = .waiting(continuation)
                return true
            }
            if !isNew { continuation.resume(throwing: CancellationError()) }
            return isNew
        }

        /// The caller, to the first that asks.
        func begin() -> CheckedContinuation<Value, any Error>? {
            state.withLock { state in
                defer { state = .begun }
                guard case .waiting(let continuation) = state else { return nil }
                return continuation
            }
        }
    }
}

/// Runs a blocking call on ``BlockingPool/shared``: see ``BlockingPool/run(_:)`` for cancellation and errors.
package func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await BlockingPool.shared.run(body)
}
