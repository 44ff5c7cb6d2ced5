import Core
import Synchronization

/// The gate of one RealtimeAPI: admits requests and assigns each to a replica (contract R10, R11, R20 … R22).
///
/// Safe from any thread. All state is in one ``GateMachine`` behind one lock; waiters are called outside it. The
/// `ReplicaActivity` of a replica may be locked while the gate is locked, never the reverse.
final class Gate: Sendable {
    enum Admission: Sendable {
        /// The request has a slot, which ``Gate/end(_:now:)`` returns.
        case assigned(ReplicaSlot)
        /// The waiter will be called, unless it leaves first.
        ///
        /// - Parameter hasReplica: whether a replica is ready, so that the response's origin is `api` and not
        ///   `activator` (contract R4).
        case waiting(hasReplica: Bool)
        case refused(GateRefusal)
    }

    /// The API's name.
    let api: String
    /// The API's responses of the last minute.
    let traffic = TrafficRecorder()
    private let onArrival: @Sendable () -> Void
    private let machine: Mutex<GateMachine>

    /// - Parameter onArrival: called at once when requests wait and no replica is ready, or when one would have to wait
    ///   (contract R20). Many calls may follow each other.
    init(api: String, maxConcurrency: Int, maxQueueLength: Int, onArrival: @escaping @Sendable () -> Void = {}) {
        self.api = api
        self.onArrival = onArrival
        machine = Mutex(GateMachine(maxConcurrency: maxConcurrency, maxQueueLength: maxQueueLength))
    }

    // MARK: Requests

    /// - Parameters:
    ///   - waiter: called only when the result is `waiting`. It waits once at a time.
    ///   - key: the ``StableHash`` of what makes the request sticky; `nil` for one that is not.
    ///   - mayWait: `false`: a request that finds no free slot is refused with ``GateRefusal/noFreeSlot``.
    func enter(_ waiter: any GateWaiter, key: UInt64?, mayWait: Bool, now: Instant) -> Admission {
        perform { $0.enter(waiter, key: key, mayWait: mayWait, now: now) { Self.begin($0, now: now) } }
    }

    /// Enters again after a delivery that no container has seen (contract R15). It comes before those that wait, and
    /// waits even if the queue is full.
    ///
    /// - Parameter avoiding: ids of replicas that it does not get while another is ready.
    func enterAgain(_ waiter: any GateWaiter, key: UInt64?, avoiding: Set<String>, now: Instant) -> Admission {
        perform { $0.enterAgain(waiter, key: key, avoiding: avoiding, now: now) { Self.begin($0, now: now) } }
    }

    /// A waiting request gives up.
    ///
    /// - Returns: `false` when it was assigned or refused meanwhile, and that call has come or is coming.
    func leave(_ waiter: any GateWaiter) -> Bool {
        machine.withLock { $0.leave(waiter) }
    }

    /// Frees a slot and assigns it to the next waiting request.
    func end(_ slot: ReplicaSlot, now: Instant) {
        // First, so that the replica counts this request no longer when it begins the next one.
        slot.replica.ready.activity.end(startedAt: slot.startedAt)
        perform { $0.end(slot, now: now) { Self.begin($0, now: now) } }
    }

    /// The replica refused a connection: it gets no request for 1 s while another is ready. The slot remains in use.
    func refused(by slot: ReplicaSlot, now: Instant) {
        perform { $0.refused(by: slot, now: now) { Self.begin($0, now: now) } }
    }

    /// From now until its end the request counts as an upgraded connection.
    func upgraded(_ slot: ReplicaSlot) {
        machine.withLock { $0.upgraded(slot) }
    }

    // MARK: Changes

    /// A lowered limit holds for later requests; those that wait or are inside remain.
    func update(maxConcurrency: Int, maxQueueLength: Int, now: Instant) {
        perform { machine in
            machine.update(maxConcurrency: maxConcurrency, maxQueueLength: maxQueueLength, now: now) {
                Self.begin($0, now: now)
            }
        }
    }

    /// Replaces the ready replicas of the API. One that is missing gets no further request and keeps those inside.
    func update(replicas: [ReadyReplica], now: Instant) {
        perform { $0.update(replicas: replicas, now: now) { Self.begin($0, now: now) } }
    }

    /// No replica can start (contract R21): all waiting requests are refused now and new ones at once, until `nil`
    /// follows or a replica is ready. Without effect while one is ready.
    func setObstacle(_ obstacle: GateRefusal?) {
        perform { $0.setObstacle(obstacle) }
    }

    /// Refuses all waiting and all later requests.
    func close(_ refusal: GateRefusal) {
        perform { $0.close(refusal) }
    }

    /// Ends sticky waits (contract R22) and the avoidance of replicas. Call it at ``nextTick`` or a few times a second.
    func tick(now: Instant) {
        perform { $0.tick(now: now) { Self.begin($0, now: now) } }
    }

    /// When ``tick(now:)`` has something to do; `nil` without a sticky wait and an avoided replica.
    var nextTick: Instant? { machine.withLock { $0.nextTick } }

    /// Requests waiting, and inside replicas; of the latter, the upgraded connections.
    var load: (waiting: Int, inside: Int, upgraded: Int) { machine.withLock { $0.load } }

    /// ``load``, and the replicas that are ready or that requests are inside, with the number of those.
    var loadAndReplicas:
        (load: (waiting: Int, inside: Int, upgraded: Int), replicas: [(replica: ProxyReplica, inside: Int)])
    {
        machine.withLock { ($0.load, $0.replicas) }
    }

    // MARK: Effects

    /// The gate counts the slots itself; the replica only says whether it still takes requests.
    private static func begin(_ replica: ProxyReplica, now: Instant) -> Bool {
        let activity = replica.ready.activity
        guard activity.begin(upTo: 1, maxConcurrency: .max) == 1 else { return false }
        activity.started(at: now)
        return true
    }

    private func perform<Result: Sendable>(_ event: (inout GateMachine) -> Result) -> Result {
        let (result, actions) = machine.withLock { machine in
            let result = event(&machine)
            return (result, machine.takeActions())
        }
        for action in actions {
            switch action {
            case .assign(let waiter, let slot): waiter.assigned(slot)
            case .refuse(let waiter, let refusal): waiter.refused(refusal)
            case .wake: onArrival()
            }
        }
        return result
    }
}
