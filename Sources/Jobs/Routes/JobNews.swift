import Core
import HTTPServing
import Synchronization

/// Wakes callers that wait for a job to change (contract J3, B8). Safe from any thread.
final class JobNews: Sendable {
    private struct State {
        var isClosed = false
        var next: UInt64 = 0
        var waiting: [RequestID: [UInt64: AsyncStream<Void>.Continuation]] = [:]
    }

    private let clock: any PlatformClock
    private let state = Mutex(State())

    init(clock: any PlatformClock) { self.clock = clock }

    /// Whether the platform is shutting down: nothing is waited for any more.
    var isClosed: Bool { state.withLock(\.isClosed) }

    /// The changes of a job from now on. Those that nobody took yet are one.
    struct Listener: Sendable {
        fileprivate let number: UInt64
        fileprivate let job: RequestID
        fileprivate let stream: AsyncStream<Void>
        fileprivate let continuation: AsyncStream<Void>.Continuation
    }

    /// Each listener needs a ``leave(_:)``.
    func enter(_ job: RequestID) -> Listener {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.next += 1
            if !state.isClosed { state.waiting[job, default: [:]][state.next] = continuation }
            return state.next
        }
        return Listener(number: number, job: job, stream: stream, continuation: continuation)
    }

    func leave(_ listener: Listener) {
        state.withLock { state in
            state.waiting[listener.job]?[listener.number] = nil
            if state.waiting[listener.job]?.isEmpty == true { state.waiting[listener.job] = nil }
        }
        listener.continuation.finish()
    }

    /// Returns after the next change, or after `limit`.
    ///
    /// - Parameter caller: its leaving ends the wait too.
    func wait(_ listener: Listener, upTo limit: Duration, caller: CallerPresence? = nil) async {
        guard !isClosed, limit > .zero else { return }
        let action = caller?.onEndOfInput { listener.continuation.yield() }
        defer { if let caller, let action { caller.forget(action) } }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in listener.stream { return } }
            group.addTask { [clock] in try? await clock.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    func changed(_ jobs: Set<RequestID>) {
        let woken = state.withLock { state in
            state.waiting.isEmpty ? [] : jobs.flatMap { state.waiting[$0].map { Array($0.values) } ?? [] }
        }
        for continuation in woken { continuation.yield() }
    }

    /// Hints may have been lost: everyone looks again.
    func changedAll() {
        let all = state.withLock { $0.waiting.values.flatMap { Array($0.values) } }
        for continuation in all { continuation.yield() }
    }

    /// Ends all waiting, now and later.
    func close() {
        let all = state.withLock { state in
            state.isClosed = true
            return state.waiting.values.flatMap { Array($0.values) }
        }
        for continuation in all { continuation.yield() }
    }
}
