/// Why requests inside a replica end without an answer of its container (contract C13).
package enum CutReason: Sendable, Hashable {
    /// The replica is stopped and its grace period is over, or the platform ends.
    case stopped
    /// The platform kills a container because of its `liveness_probe`. The text names the container and what the probe
    /// saw.
    case livenessProbe(String)
    /// A container used more than its limit of memory, and the kernel killed it.
    case outOfMemory(container: String)
    /// The platform stops the pod because of `compute.disk`. The text is what was done and why, the end of a sentence
    /// about the replica.
    case diskLimit(String)
    /// The platform stops the pod because the machine's disk is nearly full and this pod stores most. The text is as
    /// for ``diskLimit(_:)``.
    case diskShortage(String)
    /// The pod is gone, and the platform did not end it. The text says how, as a sentence without a full stop.
    case podLost(String)

    /// What a delivery that ended for this reason uses up.
    package enum Cost: Sendable, Hashable {
        /// Nothing: the request has no part in the reason, and goes back to the queue as often as that happens.
        case nothing
        /// One of ``Limits/interruptions``: the container's own behaviour is the reason, and the request may be what
        /// makes it behave so.
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

    /// What the API's owner can do about it, as a sentence; `nil` where there is nothing to do.
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
/// Safe from any task. After `close` no request begins; `cut` asks the dequeuer to end those inside.
///
/// A delivery that loses its connection reads ``cutReason`` to learn whether the platform is the cause.
package protocol ReplicaActivity: AnyObject, Sendable {
    /// Requests inside the replica now.
    var inFlight: Int { get }

    /// When the youngest of the requests inside began; `nil` when none has.
    ///
    /// Requests of one API last about equally long, as far as anyone knows before they end: so of two replicas the one
    /// whose youngest request began first is likely to be free first.
    var youngestStart: Instant? { get }

    /// Whether the replica takes no more requests.
    var isClosed: Bool { get }

    /// Whether requests inside are to end now and go back to the queue.
    var isCut: Bool { get }

    /// Why connections into the replica break, as far as the platform knows: set by ``cut(_:)`` and ``expectLoss(_:)``;
    /// `nil` when it knows nothing.
    var cutReason: CutReason? { get }

    /// Counts up to `limit` requests in, never more than the room that `maxConcurrency` leaves.
    ///
    /// - Returns: how many may begin; 0 once the replica is closed. Each needs an `end`.
    func begin(upTo limit: Int, maxConcurrency: Int) -> Int

    /// Counts `count` requests out.
    func end(_ count: Int)

    /// Notes that `count` of the requests counted in have really begun.
    func started(_ count: Int, at now: Instant)

    /// Counts a request out that was noted with ``started(_:at:)``.
    func end(startedAt: Instant)

    /// From now on no request begins.
    func close()

    /// A container of the replica is being killed: requests whose connection breaks from now on end because of
    /// `reason`. Others go on.
    ///
    /// It holds until ``expectNoLoss()``.
    func expectLoss(_ reason: CutReason)

    /// The replica's containers run again: a connection that breaks from now on breaks for a reason of its own.
    func expectNoLoss()

    /// Closes, and runs what was handed to `onCut`: the requests inside end and go back to the queue.
    func cut(_ reason: CutReason)

    /// Runs `action` once when the replica is cut; at once if it already is. Never, and without keeping it, when
    /// nothing can be inside any more.
    func onCut(_ action: @escaping @Sendable () -> Void)

    /// Returns when no request is inside, or when the calling task is cancelled.
    func waitUntilIdle() async
}

extension ReplicaActivity {
    /// Counts one request out.
    package func end() { end(1) }

    /// Notes that one of the requests counted in has really begun.
    package func started(at now: Instant) { started(1, at: now) }

    /// Closes, and ends the requests inside, because the replica is stopped.
    package func cut() { cut(.stopped) }
}
