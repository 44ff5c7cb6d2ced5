import Synchronization

/// The requests inside one replica: counted by the dequeuer, awaited by the orchestrator when it drains the replica (contract C13).
///
/// Safe from any task. After `close` no request begins; `cut` asks the dequeuer to break off those inside.
package final class ReplicaActivity: Sendable {
    private struct State {
        var inFlight = 0
        /// When the requests inside began; those that are still being claimed are not among them.
        var starts: [Instant] = []
        var isClosed = false
        var isCut = false
        var idle: [CheckedContinuation<Void, Never>] = []
        var cut: [@Sendable () -> Void] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// Requests inside the replica now.
    package var inFlight: Int { state.withLock { $0.inFlight } }

    /// When the youngest of the requests inside began; `nil` when none has.
    ///
    /// Requests of one API last about equally long, as far as anyone knows before they end: so of two replicas the one whose youngest request
    /// began first is likely to be free first.
    package var youngestStart: Instant? { state.withLock { $0.starts.max() } }

    /// Whether the replica takes no more requests.
    package var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Whether requests inside are to be broken off and given back to the queue.
    package var isCut: Bool { state.withLock { $0.isCut } }

    /// Counts up to `limit` requests in, never more than the room that `maxConcurrency` leaves.
    ///
    /// - Returns: how many may begin; 0 once the replica is closed. Each needs an `end`.
    package func begin(upTo limit: Int, maxConcurrency: Int) -> Int {
        state.withLock {
            guard !$0.isClosed else { return 0 }
            let granted = max(0, min(limit, maxConcurrency - $0.inFlight))
            $0.inFlight += granted
            return granted
        }
    }

    /// Counts `count` requests out.
    package func end(_ count: Int = 1) {
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.inFlight -= count
            guard state.inFlight == 0 else { return [] }
            defer { state.idle = [] }
            return state.idle
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Notes that `count` of the requests counted in have really begun.
    package func started(_ count: Int = 1, at now: Instant) {
        state.withLock { $0.starts.append(contentsOf: repeatElement(now, count: count)) }
    }

    /// Counts a request out that was noted with ``started(_:at:)``.
    package func end(startedAt: Instant) {
        state.withLock { state in
            if let index = state.starts.firstIndex(of: startedAt) { state.starts.remove(at: index) }
        }
        end()
    }

    /// From now on no request begins.
    package func close() {
        state.withLock { $0.isClosed = true }
    }

    /// Closes, and runs what was handed to `onCut`: those inside are broken off and given back.
    package func cut() {
        let actions = state.withLock { state -> [@Sendable () -> Void] in
            state.isClosed = true
            state.isCut = true
            defer { state.cut = [] }
            return state.cut
        }
        for action in actions { action() }
    }

    /// Runs `action` once when the replica is cut; at once if it already is.
    package func onCut(_ action: @escaping @Sendable () -> Void) {
        let now = state.withLock { state -> Bool in
            guard !state.isCut else { return true }
            state.cut.append(action)
            return false
        }
        if now { action() }
    }

    /// Returns when no request is inside. Not cancellable: whoever waits with a deadline calls `cut` when it passes.
    package func waitUntilIdle() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let now = state.withLock { state -> Bool in
                guard state.inFlight > 0 else { return true }
                state.idle.append(continuation)
                return false
            }
            if now { continuation.resume() }
        }
    }
}
