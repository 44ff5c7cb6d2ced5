/// The reason why requests inside a replica end without an answer of its container (contract C13).
package enum CutReason: Sendable, Hashable {
    /// The replica is stopped and its grace period is over, or the platform ends.
    case stopped
    /// The platform kills a container because of its `liveness_probe`. The text names the container and the probe's
    /// result.
    case livenessProbe(String)
    /// A container used more than its limit of memory, and the kernel killed it.
    case outOfMemory(container: String)
    /// The platform stops the pod because of `compute.disk`. The text contains action and reason, as the end of a
    /// sentence about the replica.
    case diskLimit(String)
    /// The platform stops the pod because the machine's disk is nearly full and this pod stores the most. The text is
    /// as for ``diskLimit(_:)``.
    case diskShortage(String)
    /// The pod is gone, and the platform did not end it. The text says how, as a sentence without a full stop.
    case podLost(String)

    /// The cost of a delivery that ended for this reason.
    package enum Cost: Sendable, Hashable {
        /// None: the request is not the cause, and returns to the queue each time.
        case nothing
        /// One of ``Limits/interruptions``: the container's behaviour is the cause, and the request may cause that
        /// behaviour.
        case interruption
        /// An attempt.
        case attempt
    }

    package var cost: Cost {
        switch self {
        case .stopped: .nothing
        case .livenessProbe, .diskLimit, .diskShortage: .interruption
        case .outOfMemory, .podLost: .attempt
        }
    }

    /// The cause in one sentence without a full stop, for messages.
    package var explanation: String {
        switch self {
        case .stopped: "the replica was stopped"
        case .livenessProbe(let failure): "the container was killed by its liveness probe: \(failure)"
        case .outOfMemory(let container): "container \(container) ran out of memory (raise compute.mem)"
        case .diskLimit(let text), .diskShortage(let text): "the replica \(text)"
        case .podLost(let text): "the replica was lost: \(text)"
        }
    }

    /// Advice for the API's owner, as a sentence; `nil` if there is none.
    package var remedy: String? {
        switch self {
        case .stopped, .outOfMemory, .podLost: nil
        case .livenessProbe:
            "Let the container answer its liveness probe while it works, or raise the probe's failure_threshold or period_seconds."
        case .diskLimit: "Let the container store less and delete what it no longer needs, or raise compute.disk."
        case .diskShortage:
            "Let the container store less and delete what it no longer needs, limit it with compute.disk, or make room on the machine's disk."
        }
    }
}

/// The requests inside one replica: counted by the dequeuer, awaited by the orchestrator when it drains the replica
/// (contract C13).
///
/// May be used from any task. After `close` no request begins; `cut` asks the dequeuer to end those inside.
///
/// A delivery that loses its connection reads ``cutReason`` to learn whether the platform is the cause.
package protocol ReplicaActivity: AnyObject, Sendable {
    /// Requests inside the replica now.
    var inFlight: Int { get }

    /// The time at which the youngest of the requests inside began; `nil` if none has.
    ///
    /// Requests of one API are assumed to take equally long: of two replicas, the one whose youngest request began
    /// first is likely to be free first.
    var youngestStart: Instant? { get }

    /// Whether the replica takes no more requests.
    var isClosed: Bool { get }

    /// Whether requests inside are to end now and return to the queue.
    var isCut: Bool { get }

    /// The known reason for broken connections into the replica, set by ``cut(_:)`` and ``expectLoss(_:)``; `nil` if
    /// there is none.
    var cutReason: CutReason? { get }

    /// Adds up to `limit` requests, never more than `maxConcurrency` allows.
    ///
    /// - Returns: the number of requests that may begin; 0 after the replica is closed. Each needs an `end`.
    func begin(upTo limit: Int, maxConcurrency: Int) -> Int

    /// Removes `count` requests.
    func end(_ count: Int)

    /// Records that `count` of the added requests have really begun.
    func started(_ count: Int, at now: Instant)

    /// Removes a request that was recorded with ``started(_:at:)``.
    func end(startedAt: Instant)

    /// From now on no request begins.
    func close()

    /// A container of the replica is being killed: requests whose connection breaks from now on end because of
    /// `reason`. Others continue.
    ///
    /// It is valid until ``expectNoLoss()``.
    func expectLoss(_ reason: CutReason)

    /// The replica's containers run again: connections that break from now on have another reason.
    func expectNoLoss()

    /// Closes, and runs the actions of `onCut`: the requests inside end and return to the queue.
    func cut(_ reason: CutReason)

    /// Runs `action` once when the replica is cut; at once if it already is. Never, and without keeping it, if no
    /// request can be inside any more.
    func onCut(_ action: @escaping @Sendable () -> Void)

    /// Returns when no request is inside, or when the calling task is cancelled.
    func waitUntilIdle() async
}

extension ReplicaActivity {
    /// Removes one request.
    package func end() { end(1) }

    /// Records that one of the added requests has really begun.
    package func started(at now: Instant) { started(1, at: now) }

    /// Closes, and ends the requests inside, because the replica is stopped.
    package func cut() { cut(.stopped) }
}

/// How much a replica is used, for the order in which replicas get requests (contract C11, R11). The dequeuer and the
/// gate of the proxy use it, so that both follow one rule.
///
/// Of the replicas with a free slot the smallest is next: the one with the fewest requests inside, among equals the one
/// used least recently.
package struct ReplicaUse: Sendable, Hashable, Comparable {
    /// Requests inside the replica.
    package var inside = 0
    /// The number of the assignment that chose this replica last; 0 for none.
    package var lastUsed = 0

    package init(inside: Int = 0, lastUsed: Int = 0) {
        self.inside = inside
        self.lastUsed = lastUsed
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.inside, left.lastUsed) < (right.inside, right.lastUsed)
    }

    /// Counts a request in.
    ///
    /// - Parameter assignment: larger than in each earlier call for any replica of the API.
    package mutating func assign(_ assignment: Int) {
        inside += 1
        lastUsed = assignment
    }
}
