import Core
import Support

/// Which replica of an API gets the next request (contract C11): of the replicas with a free slot the one with the
/// fewest requests inside, among equals the one used least recently. A value, without clock, store or signals.
struct ReplicaOrder: Sendable {
    struct Member: Sendable {
        /// Ids of later members are larger.
        let id: Int
        /// Whether the replica takes requests: it is ready and its worker does not stop.
        var isOpen = true
        /// Requests inside the replica. Slots that are reserved for a claim do not count.
        var inside = 0
        /// Number of the assignment that chose this replica last; 0 for none.
        fileprivate(set) var lastUsed = 0
        /// The replica gets no request before this moment, because the last one could not be delivered.
        private(set) var holdUntil: Instant?
        private var failures = 0

        init(id: Int) { self.id = id }

        func isAvailable(at now: Instant) -> Bool {
            isOpen && holdUntil.map { $0 <= now } ?? true
        }

        func comes(before other: Member) -> Bool {
            (inside, lastUsed) < (other.inside, other.lastUsed)
        }

        /// Notes that a request could not be delivered: the replica is left alone for a while that doubles.
        mutating func failed(now: Instant, chance: Double) {
            failures += 1
            let end = now + Backoff.replica.delay(failures: failures, chance: chance)
            holdUntil = max(holdUntil ?? end, end)
        }

        /// Notes that the container was connected to.
        mutating func reached() { failures = 0 }
    }

    /// Slots of one member that are reserved for the requests of one claim.
    struct Share: Sendable, Hashable {
        let member: Int
        var slots: Int
    }

    /// In the order of their ids.
    private(set) var members: [Member] = []
    private var nextID = 1
    private var assignments = 0

    mutating func join() -> Int {
        defer { nextID += 1 }
        members.append(Member(id: nextID))
        return nextID
    }

    mutating func leave(_ id: Int) { members.removeAll { $0.id == id } }

    func index(of id: Int) -> Int? { members.firstIndex { $0.id == id } }

    /// Of the members at `indices` the one that comes first; `nil` when there are none.
    func first(of indices: [Int]) -> Int? {
        indices.min { members[$0].comes(before: members[$1]) }
    }

    mutating func update(_ id: Int, _ change: (inout Member) -> Void) {
        if let index = index(of: id) { change(&members[index]) }
    }

    /// Chooses the replica for one request among those with reserved slots, and counts the request in.
    ///
    /// - Parameter shares: in the order of their members' ids.
    /// - Returns: the index of the share that the slot was taken from; `nil` when none of the replicas may take a
    ///   request any more.
    mutating func assign(_ shares: inout [Share], now: Instant) -> Int? {
        var best: (share: Int, member: Int)?
        var position = 0
        for index in shares.indices {
            while position < members.count, members[position].id < shares[index].member { position += 1 }
            guard position < members.count else { break }
            guard members[position].id == shares[index].member, shares[index].slots > 0,
                members[position].isAvailable(at: now)
            else { continue }
            if let best, !members[position].comes(before: members[best.member]) { continue }
            best = (index, position)
        }
        guard let best else { return nil }
        assignments += 1
        shares[best.share].slots -= 1
        members[best.member].inside += 1
        members[best.member].lastUsed = assignments
        return best.share
    }
}
