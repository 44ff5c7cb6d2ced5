import Core
package import Support
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// 128 + SIGINT.
private let exitInterrupted: CInt = 130
private let exitFailure: CInt = 1

/// Values that the signal handler sets for the thread. Only atomic values, because a handler may interrupt any code.
private enum Arrived {
    /// One bit per signal number.
    static let signals = Atomic<UInt64>(0)
    /// The number of signals to stop. A SIGHUP within ``besideAnother`` after the first signal belongs to it and is not
    /// counted.
    static let stops = Atomic<Int>(0)
    /// The time of the first of them, in milliseconds of the monotonic clock.
    static let firstStop = Atomic<Int64>(0)
    /// In milliseconds.
    static let besideAnother: Int64 = 1000
    static let wakeup = Atomic<CInt>(-1)
}

/// Milliseconds of the monotonic clock. May be called in a signal handler.
private func monotonicMilliseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
}

/// Runs on any thread that the system selects.
private func handleSignal(_ number: CInt) {
    let saved = errno
    defer { errno = saved }
    switch number {
    case SIGTERM, SIGINT:
        // The second signal ends the process here, independent of everything else (contract U4).
        if Arrived.stops.wrappingAdd(1, ordering: .relaxed).oldValue > 0 { _exit(exitInterrupted) }
        Arrived.firstStop.store(monotonicMilliseconds(), ordering: .relaxed)
    case SIGHUP:
        // Supervisors and terminals send SIGHUP together with SIGTERM or another SIGHUP; a later one is a second signal
        // (contract U4).
        let now = monotonicMilliseconds()
        if Arrived.stops.compareExchange(expected: 0, desired: 1, ordering: .relaxed).exchanged {
            Arrived.firstStop.store(now, ordering: .relaxed)
        } else {
            let first = Arrived.firstStop.load(ordering: .relaxed)
            if first > 0, now - first >= Arrived.besideAnother { _exit(exitInterrupted) }
        }
    default: break
    }
    Arrived.signals.bitwiseOr(1 << UInt64(number), ordering: .relaxed)
    ThreadWakeup.wake(Arrived.wakeup.load(ordering: .relaxed))
}

/// Handles the signals of `cortex up`, and ends the process when a shutdown does not (contract U4). It is a thread that
/// needs no tasks, event loops, engine or reader of standard error.
///
/// SIGTERM, SIGINT (Ctrl-C) and SIGHUP (the terminal was closed) stop the platform; SIGQUIT writes its state to
/// standard error.
package final class ShutdownThread: Sendable {
    private struct State {
        var isRequested = false
        var onStop: @Sendable () -> Void = {}
        var grace: @Sendable () -> Duration = { .zero }
        var report: @Sendable () -> String = { "" }
        /// Set until the shutdown has ended.
        var exitAt: Instant?
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let wakeup: ThreadWakeup
    private let output: BoundedWriter
    private let operations: OperationRegistry
    private let clock = SystemClock()

    private let exitAfter: Duration

    private init(
        wakeup: ThreadWakeup, exitAfter: Duration, output: BoundedWriter, operations: OperationRegistry
    ) {
        self.wakeup = wakeup
        self.exitAfter = exitAfter
        self.output = output
        self.operations = operations
    }

    /// Handles the signals from now on, for the rest of the process's life. Must be called once.
    ///
    /// - Parameter exitAfter: the time from the end of the grace period to the exit of the process, whatever still
    ///   runs.
    /// - Throws: ``PlatformError`` `unavailable` when the system has no thread or pipe left.
    package static func start(
        exitAfter: Duration = Limits.shutdownExit, output: BoundedWriter = .standardError,
        operations: OperationRegistry = .shared
    ) throws -> ShutdownThread {
        let thread = ShutdownThread(
            wakeup: try ThreadWakeup(), exitAfter: exitAfter, output: output, operations: operations)
        // Also initializes the values that the handler uses, because it must not be the first to access them.
        Arrived.signals.store(0, ordering: .relaxed)
        Arrived.stops.store(0, ordering: .relaxed)
        Arrived.firstStop.store(0, ordering: .relaxed)
        Arrived.wakeup.store(thread.wakeup.writing, ordering: .relaxed)
        try PlatformThread.start(name: "cortex-signals") { thread.run() }
        for number in [SIGTERM, SIGINT, SIGQUIT] { _ = signal(number, handleSignal) }
        // `nohup` and some supervisors ignore SIGHUP on purpose.
        let former = signal(SIGHUP, handleSignal)
        if unsafeBitCast(former, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) { _ = signal(SIGHUP, SIG_IGN) }
        return thread
    }

    /// Whether a signal requested the end.
    var isStopRequested: Bool { state.withLock { $0.isRequested } }

    /// Sets the action of a signal to stop; it must not block. It is called at once if such a signal has already
    /// arrived.
    package func onStop(_ action: @escaping @Sendable () -> Void) {
        let isRequested = state.withLock { state in
            state.onStop = action
            return state.isRequested
        }
        if isRequested { action() }
    }

    /// - Parameters:
    ///   - grace: how long the current pods may take to end.
    ///   - report: the platform's state; may block for a few seconds.
    func describe(grace: @escaping @Sendable () -> Duration, report: @escaping @Sendable () -> String) {
        state.withLock { state in
            state.grace = grace
            state.report = report
        }
    }

    /// Called when the shutdown begins, with or without a signal: from now on the process ends in time. Returns the
    /// grace period.
    @discardableResult
    func shutdownHasBegun() -> Duration {
        let grace = max(state.withLock { $0.grace }(), Limits.shutdownGrace)
        let exitAt = clock.instant() + grace + exitAfter
        let waiting = state.withLock { state in
            state.exitAt = state.exitAt ?? exitAt
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
        wakeup.wake()
        return grace
    }

    /// Returns when the shutdown begins, at the latest when the process ends.
    func waitUntilBegun() async {
        await withCheckedContinuation { continuation in
            let hasBegun = state.withLock { state in
                if state.exitAt == nil { state.waiting.append(continuation) }
                return state.exitAt != nil
            }
            if hasBegun { continuation.resume() }
        }
    }

    private func run() {
        while true {
            let exitAt = state.withLock { $0.exitAt }
            if let exitAt, exitAt <= clock.instant() { end() }
            _ = wakeup.wait(milliseconds: exitAt.map { Self.milliseconds($0 - clock.instant()) } ?? -1)
            let signals = Arrived.signals.exchange(0, ordering: .relaxed)
            func came(_ number: CInt) -> Bool { signals & 1 << UInt64(number) != 0 }
            if came(SIGTERM) || came(SIGINT) || came(SIGHUP) { stop() }
            if came(SIGQUIT) { output.write(state.withLock { $0.report }()) }
        }
    }

    private func stop() {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            defer { state.isRequested = true }
            return state.isRequested ? nil : state.onStop
        }
        guard let action else { return }
        output.write("stopping: requests inside containers may finish; press Ctrl-C again to exit at once\n")
        shutdownHasBegun()
        action()
    }

    private func end() -> Never {
        output.write("error: stopping exceeded its time limit\(Self.lines(of: operations))")
        output.flush(milliseconds: 1000)
        _exit(exitFailure)
    }

    /// The operations under way, one line for each.
    static func lines(of operations: OperationRegistry) -> String {
        let now = SystemClock().instant()
        let lines = operations.underWay().prefix(200).map { operation in
            "\n  \(operation.name) \(operation.subject), for \(Age.text(of: now - operation.startedAt))"
        }
        return (lines.isEmpty ? "; no operation is under way" : "; still under way:") + lines.joined() + "\n"
    }

    private static func milliseconds(_ duration: Duration) -> CInt {
        CInt(clamping: max(0, duration.wholeMicroseconds / 1000 + 1))
    }
}
