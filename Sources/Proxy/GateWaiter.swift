import Core

/// A request that waits at a gate. Its functions are called once, from any thread, and never while the gate is locked;
/// possibly before ``Gate/enter(_:key:mayWait:now:)`` has returned that it waits.
protocol GateWaiter: AnyObject, Sendable {
    /// A replica has a free slot, which the request holds until it calls ``Gate/end(_:now:)``.
    func assigned(_ slot: ReplicaSlot)

    /// The request does not get a replica.
    func refused(_ refusal: GateRefusal)
}

/// Why a request does not get a replica (contract R16).
enum GateRefusal: Sendable, Hashable {
    /// As many requests are inside and waiting as allowed (`queue_full`).
    case queueFull(limit: Int)
    /// No slot was free, and the request may not wait (`queue_timeout`): `max_queue_time` is 0.
    case noFreeSlot
    /// No replica can start (`no_replica`): the reason, and the seconds until the next attempt, 1 … 60.
    case noReplica(reason: String, retryAfter: Int)
    /// The API was deleted (`no_replica`).
    case deleted
    /// The platform is shutting down (`unavailable`).
    case shutdown
}

/// The right to be inside one replica, for one request. Its holder ends it once.
struct ReplicaSlot: Sendable {
    let replica: ProxyReplica
    /// When the request got it.
    let startedAt: Instant
    /// The replica's number at its gate.
    let member: Int
    /// Counts the assignments of the gate.
    let number: Int
}

/// A replica of a RealtimeAPI as long as it is ready, or a request is inside.
final class ProxyReplica: Sendable {
    let ready: ReadyReplica
    /// Its responses of the last minute, in steps of 5 s, because an API may have many replicas: at most 54,000 bytes.
    let traffic = TrafficRecorder(TrafficRing(steps: 12))
    let connections = ReplicaConnections()

    init(_ ready: ReadyReplica) {
        self.ready = ready
    }

    var id: String { ready.id }
}
