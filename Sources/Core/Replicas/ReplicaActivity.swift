import Synchronization

/// Why requests inside a replica end without an answer of its container (contract C13).
package enum CutReason: Sendable, Hashable {
    /// The replica is stopped and its grace period is over, or the platform ends.
    case stopped
    /// The platform kills a container because of its `liveness_probe`. The text names the container and what the probe saw.
    case livenessProbe(String)
    /// A container used more than its limit of memory, and the kernel killed it.
    case outOfMemory(container: String)
    /// The platform ends the pod because it used more disk than it may, or most of all while the disk was nearly full.
    case diskLimit(String)

    /// Whether the platform ended the requests: they go back to the queue and use no attempt.
    package var isByPlatform: Bool {
        if case .outOfMemory = self { false } else { true }
    }

    /// The cause in one sentence without a full stop, for messages.
    package var explanation: String {
        switch self {
        case .stopped: "the replica was stopped"
        case .livenessProbe(let failure): "the container was killed by its liveness probe: \(failure)"
        case .outOfMemory(let container): "container \(container) ran out of memory (raise compute.mem)"
        case .diskLimit(let text): text
        }
    }
}

/// The requests inside one replica: counted by the dequeuer, awaited by the orchestrator when it drains the replica (contract C13).
///
/// Safe from any task. After `close` no request begins; `cut` asks the dequeuer to end those inside.
///
/// A delivery that loses its connection reads ``cutReason`` to learn whether the platform is the cause.
package final class ReplicaActivity: Sendable {
    private struct State {
        var inFlight = 0
        /// When the requests inside began; those that are still being claimed are not among them.
        var starts: [Instant] = []
        var isClosed = false
        var isCut = false
        var reason: CutReason?
        var idle: [Int: CheckedContinuation<Void, Never>] = [:]
        var nextIdle = 0
        var cut: [@Sendable () -> Void] = []

        /// Nothing is inside and nothing can begin: what waits for the cut holds memory for nothing.
        mutating func releaseActionsIfDone() {
            if isClosed, inFlight == 0 { cut = [] }
        }
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

    /// Whether requests inside are to end now and go back to the queue.
    package var isCut: Bool { state.withLock { $0.isCut } }

    /// Why connections into the replica break, as far as the platform knows: set by ``cut(_:)`` and ``expectLoss(_:)``; `nil` when it knows nothing.
    package var cutReason: CutReason? { state.withLock { $0.reason } }

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
            state.releaseActionsIfDone()
            defer { state.idle = [:] }
            return Array(state.idle.values)
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
        state.withLock { state in
            state.isClosed = true
            state.releaseActionsIfDone()
        }
    }

    /// A container of the replica is being killed: requests whose connection breaks from now on end because of `reason`. Others go on.
    ///
    /// It holds until ``expectNoLoss()``.
    package func expectLoss(_ reason: CutReason) {
        state.withLock { state in
            if !state.isCut { state.reason = reason }
        }
    }

    /// The replica's containers run again: a connection that breaks from now on breaks for a reason of its own.
    package func expectNoLoss() {
        state.withLock { state in
            if !state.isCut { state.reason = nil }
        }
    }

    /// Closes, and runs what was handed to `onCut`: the requests inside end and go back to the queue.
    package func cut(_ reason: CutReason = .stopped) {
        let actions = state.withLock { state -> [@Sendable () -> Void] in
            state.isClosed = true
            if !state.isCut { state.reason = reason }
            state.isCut = true
            defer { state.cut = [] }
            return state.cut
        }
        for action in actions { action() }
    }

    /// Runs `action` once when the replica is cut; at once if it already is. Never, and without keeping it, when nothing can be inside any more.
    package func onCut(_ action: @escaping @Sendable () -> Void) {
        let now = state.withLock { state -> Bool in
            guard !state.isCut else { return true }
            state.cut.append(action)
            state.releaseActionsIfDone()
            return false
        }
        if now { action() }
    }

    /// Returns when no request is inside, or when the calling task is cancelled.
    package func waitUntilIdle() async {
        let id = state.withLock { state in
            state.nextIdle += 1
            return state.nextIdle
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let now = state.withLock { state -> Bool in
                    guard state.inFlight > 0, !Task.isCancelled else { return true }
                    state.idle[id] = continuation
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.idle.removeValue(forKey: id) }?.resume()
        }
    }
}
