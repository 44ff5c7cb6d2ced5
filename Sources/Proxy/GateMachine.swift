import Core

/// Admits the requests of one RealtimeAPI and assigns them to its replicas (contract R10, R11, R20 … R22). Pure: the
/// time is an argument, and what is to be done is returned.
///
/// Every event ends with this invariant: no waiting request may use a free slot. So a request that arrives and finds a
/// free slot overtakes none, and after an event only the slots that it freed are looked at.
struct GateMachine: Sendable {
    /// Something to do after an event, outside the lock.
    enum Action: Sendable {
        case assign(any GateWaiter, ReplicaSlot)
        case refuse(any GateWaiter, GateRefusal)
        /// Requests wait, and no replica is ready: one must start (contract R20).
        case wake
    }

    /// Asks a replica to take one more request; `false` when it was closed, which it then remains.
    typealias Begin = (ProxyReplica) -> Bool

    /// A replica that is ready, or that requests are inside.
    private struct Member: Sendable {
        /// Larger than those of earlier members.
        let id: Int
        let replica: ProxyReplica
        /// For the choice of sticky requests.
        let hash: UInt64
        /// The list of the requests that wait for this replica only.
        let waiting: Int
        var use = ReplicaUse()
        /// Whether the newest list of ready replicas has it.
        var isListed = true
        /// Whether it has refused to begin a request.
        var isClosed = false
        /// It refused a connection, and gets no request before this moment while another is ready.
        var avoidedUntil: Instant?

        var isReady: Bool { isListed && !isClosed }
    }

    /// Requests that are delivered again and must not return to the replicas with these ids while another is ready.
    private struct Again: Sendable {
        let avoiding: Set<String>
        let list: Int
    }

    private var maxConcurrency: Int
    private var maxQueueLength: Int
    /// Sorted by id.
    private var members: [Member] = []
    private var requests = WaitingRequests()
    /// The list of requests without a key, and of those whose key has no replica, or no longer waits for it.
    private let unkeyed: Int
    private let unbound: Int
    /// Requests that are delivered again come before all others.
    private var again: [Again] = []
    private var obstacle: GateRefusal?
    private var closing: GateRefusal?
    /// The numbers of the slots whose connections were upgraded.
    private var upgradedSlots: Set<Int> = []
    /// Ready members, and the requests inside them.
    private var ready = 0
    private var insideReady = 0
    private var inside = 0
    /// Members and assignments so far.
    private var joined = 0
    private var assignments = 0
    /// No replica is avoided after this moment.
    private var lastAvoidance: Instant?
    private var needsBinding = false
    private var actions: [Action] = []
    /// When ``tick(now:begin:)`` has something to do; `nil`: never. It may have nothing to do then.
    private(set) var nextTick: Instant?

    init(maxConcurrency: Int, maxQueueLength: Int) {
        self.maxConcurrency = maxConcurrency
        self.maxQueueLength = maxQueueLength
        unkeyed = requests.makeList()
        unbound = requests.makeList()
    }

    /// Requests inside and waiting that are admitted. Requests inside a replica that drains do not count.
    var capacity: Int { max(1, ready) * (maxConcurrency + maxQueueLength) }

    var load: (waiting: Int, inside: Int, upgraded: Int) { (requests.count, inside, upgradedSlots.count) }

    /// Replicas that are ready or that requests are inside, with the number of those.
    var replicas: [(replica: ProxyReplica, inside: Int)] { members.map { ($0.replica, $0.use.inside) } }

    /// What the events since the last call have led to, in order.
    mutating func takeActions() -> [Action] {
        guard !actions.isEmpty else { return [] }
        defer { actions = [] }
        return actions
    }

    // MARK: Requests

    mutating func enter(
        _ waiter: any GateWaiter, key: UInt64?, mayWait: Bool, now: Instant, begin: Begin
    ) -> Gate.Admission {
        if let refusal = refusal(now: now, begin: begin) { return .refused(refusal) }
        guard insideReady + requests.count < capacity else { return .refused(.queueFull(limit: capacity)) }
        var list = key == nil ? unkeyed : unbound
        var deadline: Instant?
        repeat {
            if let key, let preferred = preferred(for: key, avoiding: nil, now: now) {
                if hasFreeSlot(preferred) {
                    if let slot = assign(preferred, now: now, begin: begin) { return .assigned(slot) }
                    settle(now: now, begin: begin)
                    continue
                }
                if mayWait {
                    list = members[preferred].waiting
                    deadline = now + Limits.stickyWait
                    scheduleTick(now + Limits.stickyWait)
                    break
                }
            }
            // A request that waits for any slot shows that there is none.
            guard requests.first(of: unkeyed) == nil, let chosen = next(avoiding: nil, now: now) else { break }
            if let slot = assign(chosen, now: now, begin: begin) { return .assigned(slot) }
            settle(now: now, begin: begin)
        } while true
        if ready == 0 { actions.append(.wake) }
        guard mayWait else { return .refused(.noFreeSlot) }
        requests.append(waiter, key: key, deadline: deadline, to: list)
        return .waiting(hasReplica: ready > 0)
    }

    mutating func enterAgain(
        _ waiter: any GateWaiter, key: UInt64?, avoiding: Set<String>, now: Instant, begin: Begin
    ) -> Gate.Admission {
        if let refusal = refusal(now: now, begin: begin) { return .refused(refusal) }
        while true {
            let avoided = hasReadyMember(outside: avoiding) ? avoiding : nil
            var chosen = key.flatMap { preferred(for: $0, avoiding: avoided, now: now) }
            if let preferred = chosen, !hasFreeSlot(preferred) { chosen = nil }
            guard let index = chosen ?? next(avoiding: avoided, now: now) else { break }
            if let slot = assign(index, now: now, begin: begin) { return .assigned(slot) }
            settle(now: now, begin: begin)
        }
        if ready == 0 { actions.append(.wake) }
        let list: Int
        if let present = again.first(where: { $0.avoiding == avoiding }) {
            list = present.list
        } else {
            list = requests.makeList()
            again.append(Again(avoiding: avoiding, list: list))
        }
        requests.append(waiter, key: nil, deadline: nil, to: list)
        return .waiting(hasReplica: ready > 0)
    }

    /// - Returns: whether the request was waiting.
    mutating func leave(_ waiter: any GateWaiter) -> Bool {
        guard let list = requests.remove(waiter) else { return false }
        if !again.isEmpty { dropIfEmpty(list) }
        return true
    }

    mutating func end(_ slot: ReplicaSlot, now: Instant, begin: Begin) {
        guard let index = index(of: slot.member) else { return }
        if !upgradedSlots.isEmpty { upgradedSlots.remove(slot.number) }
        members[index].use.inside -= 1
        inside -= 1
        if members[index].isReady { insideReady -= 1 }
        if !members[index].isListed, members[index].use.inside == 0 {
            requests.removeList(members[index].waiting)
            members.remove(at: index)
            return
        }
        guard requests.count > 0, members[index].isReady else { return }
        if isAvoided(index, now: now) || expire(now: now, begin: begin) { return }
        fill(index, now: now, begin: begin)
        settle(now: now, begin: begin)
    }

    mutating func refused(by slot: ReplicaSlot, now: Instant, begin: Begin) {
        guard let index = index(of: slot.member) else { return }
        let until = now + Limits.replicaAvoidance
        members[index].avoidedUntil = until
        lastAvoidance = max(lastAvoidance ?? until, until)
        scheduleTick(until)
        // When every replica is avoided, none is.
        dispatch(now: now, begin: begin)
    }

    mutating func upgraded(_ slot: ReplicaSlot) { upgradedSlots.insert(slot.number) }

    // MARK: Changes of the API

    mutating func update(maxConcurrency: Int, maxQueueLength: Int, now: Instant, begin: Begin) {
        self.maxConcurrency = maxConcurrency
        self.maxQueueLength = maxQueueLength
        dispatch(now: now, begin: begin)
    }

    mutating func update(replicas: [ReadyReplica], now: Instant, begin: Begin) {
        let wasReady = ready > 0
        var missing: [String: ReadyReplica] = [:]
        for replica in replicas { missing[replica.id] = replica }
        for index in members.indices {
            let known = members[index].replica
            let listed = missing[known.id]
            members[index].isListed = listed?.activity === known.ready.activity
            if members[index].isListed { missing[known.id] = nil }
        }
        for replica in replicas where missing.removeValue(forKey: replica.id) != nil {
            joined += 1
            members.append(
                Member(
                    id: joined, replica: ProxyReplica(replica), hash: StableHash.of(replica.id),
                    waiting: requests.makeList()))
        }
        ready = members.count { $0.isReady }
        insideReady = members.reduce(0) { $0 + ($1.isReady ? $1.use.inside : 0) }
        if ready > 0 { obstacle = nil }
        needsBinding = true
        dispatch(now: now, begin: begin)
        // Only now, because sticky requests that waited for one of these have been moved.
        for member in members where !member.isListed && member.use.inside == 0 { requests.removeList(member.waiting) }
        members.removeAll { !$0.isListed && $0.use.inside == 0 }
        if wasReady, ready == 0, requests.count > 0 { actions.append(.wake) }
    }

    /// Takes effect while no replica is ready.
    mutating func setObstacle(_ refusal: GateRefusal?) {
        guard ready == 0 else { return }
        obstacle = refusal
        if let refusal { refuseAll(refusal) }
    }

    mutating func close(_ refusal: GateRefusal) {
        closing = refusal
        refuseAll(refusal)
    }

    /// Ends sticky waits and the avoidance of replicas.
    mutating func tick(now: Instant, begin: Begin) {
        _ = expire(now: now, begin: begin)
    }

    // MARK: Choice of a replica

    /// The replica that comes first of those with a free slot.
    private func next(avoiding: Set<String>?, now: Instant) -> Int? {
        let avoids = avoidsReplicas(now: now)
        var best: Int?
        for index in members.indices where members[index].isReady && hasFreeSlot(index) {
            if let best, members[best].use <= members[index].use { continue }
            if avoids, isHeld(index, now: now) { continue }
            if let avoiding, avoiding.contains(members[index].replica.id) { continue }
            best = index
        }
        return best
    }

    /// The ready replica to which a key belongs; `nil` when there is none or it is avoided.
    private func preferred(for key: UInt64, avoiding: Set<String>?, now: Instant) -> Int? {
        var best: (index: Int, score: UInt64)?
        for index in members.indices where members[index].isReady {
            if let avoiding, avoiding.contains(members[index].replica.id) { continue }
            let score = StableHash.score(key: key, candidate: members[index].hash)
            if let best, best.score >= score { continue }
            best = (index, score)
        }
        return best.flatMap { isAvoided($0.index, now: now) ? nil : $0.index }
    }

    private func hasFreeSlot(_ index: Int) -> Bool { members[index].use.inside < maxConcurrency }

    private func isHeld(_ index: Int, now: Instant) -> Bool {
        members[index].avoidedUntil.map { $0 > now } ?? false
    }

    /// Whether a replica is avoided and another is ready.
    private func avoidsReplicas(now: Instant) -> Bool {
        guard let lastAvoidance, lastAvoidance > now else { return false }
        return members.indices.contains { members[$0].isReady && !isHeld($0, now: now) }
    }

    private func isAvoided(_ index: Int, now: Instant) -> Bool {
        lastAvoidance != nil && isHeld(index, now: now) && avoidsReplicas(now: now)
    }

    private func hasReadyMember(outside ids: Set<String>) -> Bool {
        members.contains { $0.isReady && !ids.contains($0.replica.id) }
    }

    private func index(of id: Int) -> Int? {
        var (low, high) = (0, members.count)
        while low < high {
            let middle = (low + high) / 2
            if members[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < members.count && members[low].id == id ? low : nil
    }

    // MARK: Assignment

    /// - Returns: `nil` when the replica is closed. ``settle(now:begin:)`` must follow then.
    private mutating func assign(_ index: Int, now: Instant, begin: Begin) -> ReplicaSlot? {
        guard begin(members[index].replica) else {
            members[index].isClosed = true
            ready -= 1
            insideReady -= members[index].use.inside
            needsBinding = true
            if ready == 0, requests.count > 0 { actions.append(.wake) }
            return nil
        }
        assignments += 1
        members[index].use.assign(assignments)
        inside += 1
        insideReady += 1
        return ReplicaSlot(
            replica: members[index].replica, startedAt: now, member: members[index].id, number: assignments)
    }

    /// Gives the free slots of a replica to waiting requests.
    private mutating func fill(_ index: Int, now: Instant, begin: Begin) {
        while members[index].isReady, hasFreeSlot(index), let position = first(for: index) {
            guard let slot = assign(index, now: now, begin: begin) else { return }
            let list = requests[position]?.list
            if let waiter = requests.remove(at: position) { actions.append(.assign(waiter, slot)) }
            if let list, !again.isEmpty { dropIfEmpty(list) }
        }
    }

    /// The position of the waiting request that gets the next free slot of a replica.
    private func first(for index: Int) -> Int? {
        var best: Int?
        func consider(_ list: Int) {
            guard let position = requests.first(of: list) else { return }
            if let best, requests.order(at: best) < requests.order(at: position) { return }
            best = position
        }
        for group in again {
            if group.avoiding.contains(members[index].replica.id), hasReadyMember(outside: group.avoiding) { continue }
            consider(group.list)
        }
        if best != nil { return best }
        consider(unkeyed)
        consider(unbound)
        consider(members[index].waiting)
        return best
    }

    /// Gives every free slot to the waiting request that may use it.
    private mutating func dispatch(now: Instant, begin: Begin) {
        repeat {
            if needsBinding { bind(now: now) }
            var unused: Set<String> = []
            while requests.count > 0, let index = next(avoiding: unused.isEmpty ? nil : unused, now: now) {
                guard let position = first(for: index) else {
                    unused.insert(members[index].replica.id)
                    continue
                }
                guard let slot = assign(index, now: now, begin: begin) else { break }
                let list = requests[position]?.list
                if let waiter = requests.remove(at: position) { actions.append(.assign(waiter, slot)) }
                if let list, !again.isEmpty { dropIfEmpty(list) }
            }
        } while needsBinding
    }

    /// Follows the discovery that a replica is closed.
    private mutating func settle(now: Instant, begin: Begin) {
        guard needsBinding else { return }
        dispatch(now: now, begin: begin)
    }

    private mutating func dropIfEmpty(_ list: Int) {
        guard requests.first(of: list) == nil, let index = again.firstIndex(where: { $0.list == list }) else { return }
        again.remove(at: index)
        requests.removeList(list)
    }

    // MARK: Sticky requests

    /// Lets each waiting request with a key wait for the replica to which the key belongs now.
    private mutating func bind(now: Instant) {
        needsBinding = false
        var positions = requests.positions(in: unbound)
        for member in members { positions += requests.positions(in: member.waiting) }
        positions.sort { requests.order(at: $0) < requests.order(at: $1) }
        for position in positions {
            guard let entry = requests[position], let key = entry.key else { continue }
            guard let index = preferred(for: key, avoiding: nil, now: now) else {
                requests.move(position, to: unbound, deadline: ready == 0 ? nil : entry.deadline)
                continue
            }
            let deadline = entry.deadline ?? now + Limits.stickyWait
            requests.move(position, to: deadline > now ? members[index].waiting : unbound, deadline: deadline)
            if deadline > now { scheduleTick(deadline) }
        }
    }

    private mutating func scheduleTick(_ moment: Instant) {
        nextTick = min(nextTick ?? moment, moment)
    }

    /// - Returns: whether something was over, and every free slot was looked at.
    private mutating func expire(now: Instant, begin: Begin) -> Bool {
        guard let moment = nextTick, moment <= now else { return false }
        nextTick = nil
        var over: [(position: Int, entry: WaitingRequests.Entry)] = []
        for member in members {
            var next = requests.first(of: member.waiting)
            while let position = next, let entry = requests[position] {
                if let deadline = entry.deadline, deadline > now {
                    scheduleTick(deadline)
                    break
                }
                over.append((position, entry))
                next = requests.next(after: position)
            }
        }
        over.sort { $0.entry.order < $1.entry.order }
        for (position, entry) in over { requests.move(position, to: unbound, deadline: entry.deadline) }
        if let end = lastAvoidance {
            if end <= now { lastAvoidance = nil }
            for index in members.indices {
                guard let until = members[index].avoidedUntil else { continue }
                if until <= now { members[index].avoidedUntil = nil } else { scheduleTick(until) }
            }
        }
        dispatch(now: now, begin: begin)
        return true
    }

    // MARK: Refusals

    /// Why no request is admitted now; also brings the machine up to date.
    private mutating func refusal(now: Instant, begin: Begin) -> GateRefusal? {
        if let closing { return closing }
        _ = expire(now: now, begin: begin)
        return ready == 0 ? obstacle : nil
    }

    private mutating func refuseAll(_ refusal: GateRefusal) {
        guard requests.count > 0 else { return }
        for waiter in requests.removeAll() { actions.append(.refuse(waiter, refusal)) }
        for group in again { requests.removeList(group.list) }
        again = []
    }
}
