import Core

/// A request that waits at a gate. Its functions are called once, from any thread, and never while the gate is locked.
protocol GateWaiter: AnyObject, Sendable {
    /// A replica has a free slot, which the request holds until it calls ``Gate/end(_:)``.
    func assigned(_ slot: ReplicaSlot)

    /// The request does not get a replica.
    func refused(_ refusal: GateRefusal)
}

/// Why a request does not get a replica (contract R16).
enum GateRefusal: Sendable, Hashable {
    /// More requests wait than allowed (`queue_full`).
    case queueFull(limit: Int)
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
}
