import Core
import Support
import Synchronization

/// Chooses the replica of an API that gets the next request (contract C11): of the replicas with a free slot the one
/// with the fewest requests inside, among equals the one used least recently. Pure.
struct ReplicaOrder: Sendable {
    struct Member: Sendable {
        /// Ids of later members are larger.
        let id: Int
        /// Whether the replica takes requests: it is ready and its worker does not stop.
        var isOpen = true
        /// Slots that are reserved for a claim do not count as used.
        fileprivate(set) var use = ReplicaUse()
        /// The replica gets no request before this moment, because the last one could not be delivered.
        private(set) var holdUntil: Instant?
        private var failures = 0

        init(id: Int) { self.id = id }

        func isAvailable(at now: Instant) -> Bool {
            isOpen && holdUntil.map { $0 <= now } ?? true
        }

        /// Requests inside the replica.
        var inside: Int {
            get { use.inside }
            set { use.inside = newValue }
        }

        /// Notes that a request could not be delivered: the replica gets none for a while, which doubles each time.
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

    /// Sorted by id.
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

    /// The index of the member that comes first among those at `indices`; `nil` when there are none.
    func first(of indices: [Int]) -> Int? {
        indices.min { members[$0].use < members[$1].use }
    }

    mutating func update(_ id: Int, _ change: (inout Member) -> Void) {
        if let index = index(of: id) { change(&members[index]) }
    }

    /// Chooses the replica for one request among those with reserved slots, and counts the request in.
    ///
    /// - Parameter shares: sorted by the ids of their members.
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
            if let best, members[best.member].use <= members[position].use { continue }
            best = (index, position)
        }
        guard let best else { return nil }
        assignments += 1
        shares[best.share].slots -= 1
        members[best.member].use.assign(assignments)
        return best.share
    }
}

/// The workers of one API in this process, which claim together.
///
/// One claim at a time reserves the free slots of all replicas and asks for as many requests. ``ReplicaOrder`` divides
/// the requests that it returns, so each goes to the replica that contract C11 names, however many arrive at once. Any
/// running worker can send the claim. A hint wakes the worker whose replica comes first, so that it delivers the
/// request itself.
///
/// No request waits while a slot is free, because a worker steps after every event that makes a claim possible: a hint
/// wakes one; a freed slot, a replica that becomes ready and the end of a hold wake the replica's own worker; the
/// sender of a claim steps when the claim has returned; a worker that leaves wakes another.
///
/// Safe from any thread: all state is behind one lock. A `ReplicaActivity` may be locked while this lock is held, never
/// the reverse.
final class ClaimGroup: Sendable {
    /// A request on its way into a replica, which has a slot reserved for it.
    struct Arrival: Sendable {
        let request: ClaimedRequest
        let replica: ReadyReplica
        /// Whether it returns to the queue, because every replica closed while it was claimed.
        var isReturned = false
    }

    struct Claim: Sendable {
        fileprivate var shares: [ReplicaOrder.Share]
        fileprivate let replicas: [ReadyReplica]
        /// The replica that comes first.
        let holder: String
        let asked: Int
    }

    /// What a worker does next.
    struct Step: Sendable {
        var arrivals: [Arrival] = []
        /// Must be sent now. Its slots are reserved until ``ClaimGroup/claimed(_:by:_:now:chance:)``.
        var claim: Claim?
        /// When to step again if nothing happens earlier.
        var next: Instant?
    }

    /// How the requests of one claim are divided.
    struct Division: Sendable {
        /// The requests that the sender of the claim delivers itself.
        var own: [Arrival] = []
        /// Leases that were given to another replica than the claim's holder.
        var handedOver: [(lease: Lease, replica: String)] = []
    }

    private struct Worker: Sendable {
        let id: Int
        let signal: WorkerSignal
        var replica: ReadyReplica
        var arrivals: [Arrival] = []

        var slots: Int { replica.maxConcurrency }
    }

    private struct State: Sendable {
        var machine: DispatchMachine
        var order = ReplicaOrder()
        /// One for each member of `order`, in the same order.
        var workers: [Worker] = []

        /// Reserves the free slots of every replica that may get requests; `nil` when there are none.
        mutating func reserve(now: Instant) -> Claim? {
            let available = order.members.indices.filter { order.members[$0].isAvailable(at: now) }
            guard !available.isEmpty else { return nil }
            let most = max(1, ClaimGroup.claimLimit / available.count)
            var shares: [ReplicaOrder.Share] = []
            var replicas: [ReadyReplica] = []
            var reserved: [Int] = []
            for index in available {
                let worker = workers[index]
                let slots = worker.replica.activity.begin(
                    upTo: min(worker.slots, most), maxConcurrency: worker.slots)
                guard slots > 0 else { continue }
                shares.append(.init(member: worker.id, slots: slots))
                replicas.append(worker.replica)
                reserved.append(index)
            }
            guard let first = order.first(of: reserved) else { return nil }
            let asked = shares.reduce(0) { $0 + $1.slots }
            return Claim(shares: shares, replicas: replicas, holder: workers[first].replica.id, asked: asked)
        }

        /// The worker that should step next: the one whose replica comes first. `nil` during a claim, because its
        /// sender steps afterwards.
        func next(now: Instant) -> WorkerSignal? {
            guard !machine.isClaiming else { return nil }
            let free = workers.indices.filter { index in
                let activity = workers[index].replica.activity
                return order.members[index].isAvailable(at: now) && activity.inFlight < workers[index].slots
                    && !activity.isClosed
            }
            return order.first(of: free).map { workers[$0].signal }
        }

        /// Assigns each request to a replica.
        ///
        /// - Returns: the workers to wake.
        mutating func divide(
            _ requests: [ClaimedRequest], of claim: inout ClaimGroup.Claim, by sender: Int, now: Instant,
            into division: inout ClaimGroup.Division
        ) -> [WorkerSignal] {
            var signals: [WorkerSignal] = []
            for request in requests {
                guard let share = order.assign(&claim.shares, now: now) else {
                    guard let share = claim.shares.firstIndex(where: { $0.slots > 0 }) else { break }
                    claim.shares[share].slots -= 1
                    order.update(sender) { $0.inside += 1 }
                    division.own.append(.init(request: request, replica: claim.replicas[share], isReturned: true))
                    continue
                }
                let replica = claim.replicas[share]
                let member = claim.shares[share].member
                if replica.id != claim.holder { division.handedOver.append((request.lease, replica.id)) }
                if member == sender {
                    division.own.append(.init(request: request, replica: replica))
                } else if let index = order.index(of: member) {
                    if workers[index].arrivals.isEmpty { signals.append(workers[index].signal) }
                    workers[index].arrivals.append(.init(request: request, replica: replica))
                }
            }
            return signals
        }
    }

    /// The most requests that one claim for several replicas takes.
    static let claimLimit = 1000

    private let state: Mutex<State>

    init(pollMin: Duration, pollMax: Duration, now: Instant) {
        state = Mutex(State(machine: DispatchMachine(pollMin: pollMin, pollMax: pollMax, now: now)))
    }

    // MARK: Members

    var isEmpty: Bool { state.withLock { $0.workers.isEmpty } }

    /// Adds a worker whose replica is ready. The worker steps afterwards.
    ///
    /// - Returns: its id in this group.
    func join(_ signal: WorkerSignal, _ replica: ReadyReplica, now: Instant) -> Int {
        state.withLock { state in
            let id = state.order.join()
            state.workers.append(Worker(id: id, signal: signal, replica: replica))
            state.machine.handle(.hint, now: now, chance: 0)
            return id
        }
    }

    /// Removes a worker that has no delivery and no claim under way. Another worker steps in its place.
    ///
    /// - Returns: `false` when requests have arrived for it.
    func leave(_ id: Int, now: Instant) -> Bool {
        let (mayLeave, signal) = state.withLock { state -> (Bool, WorkerSignal?) in
            guard let index = state.order.index(of: id) else { return (true, nil) }
            guard state.workers[index].arrivals.isEmpty else { return (false, nil) }
            state.workers.remove(at: index)
            state.order.leave(id)
            return (true, state.next(now: now))
        }
        signal?.fire(.state)
        return mayLeave
    }

    /// The replica is ready again. Its worker steps afterwards.
    func open(_ id: Int, now: Instant) {
        state.withLock { state in
            state.order.update(id) { $0.isOpen = true }
            state.machine.handle(.hint, now: now, chance: 0)
        }
    }

    /// From now on the replica gets no request. Its worker steps afterwards.
    func close(_ id: Int) {
        state.withLock { $0.order.update(id) { $0.isOpen = false } }
    }

    /// A request left the replica.
    func left(_ id: Int) {
        state.withLock { $0.order.update(id) { $0.inside -= 1 } }
    }

    /// A request could not be delivered to the replica, or its result could not be stored.
    func failed(_ id: Int, now: Instant, chance: Double) {
        state.withLock { state in
            state.order.update(id) { $0.failed(now: now, chance: chance) }
            state.machine.handle(.hint, now: now, chance: chance)
        }
    }

    /// The container accepted a connection.
    func reached(_ id: Int) {
        state.withLock { $0.order.update(id) { $0.reached() } }
    }

    // MARK: The queue

    /// The queue may hold something new.
    func hint(now: Instant) {
        let signal = state.withLock { state in
            state.machine.handle(.hint, now: now, chance: 0)
            return state.next(now: now)
        }
        signal?.fire(.state)
    }

    /// A request that returned to the queue becomes due after `wait`. The calling worker steps afterwards.
    ///
    /// The claim is sent up to 1 % later: the store's clock may run a little slower than this one, and retries that are
    /// due at about the same time are claimed together.
    func retry(after wait: Duration, now: Instant) {
        let step = max(1, wait.wholeMicroseconds / 128)
        let moment = (now + wait + wait / 1000).microseconds
        let due = Instant(microseconds: moment + (step - moment % step))
        state.withLock { $0.machine.handle(.due(due), now: now, chance: 0) }
    }

    // MARK: Claims

    /// The step of a worker: returns the requests that arrived for it, and perhaps a claim to send.
    ///
    /// - Parameter isOpen: whether its replica may get requests. Even if not, the worker claims for the others.
    func step(_ id: Int, _ replica: ReadyReplica, isOpen: Bool, now: Instant) -> Step {
        state.withLock { state in
            guard let index = state.order.index(of: id) else { return Step() }
            state.workers[index].replica = replica
            state.order.update(id) { $0.isOpen = isOpen }
            var step = Step(arrivals: state.workers[index].arrivals)
            state.workers[index].arrivals = []
            if state.machine.wantsClaim(now: now) {
                step.claim = state.reserve(now: now)
                if step.claim != nil { state.machine.handle(.claiming, now: now, chance: 0) }
            } else {
                step.next = state.machine.nextClaim
            }
            if let hold = state.order.members[index].holdUntil, hold > now {
                step.next = min(step.next ?? hold, hold)
            }
            return step
        }
    }

    /// Divides the requests that a claim returned; `nil` when it failed. The sender steps afterwards.
    func claimed(
        _ claim: Claim, by id: Int, _ requests: [ClaimedRequest]?, now: Instant, chance: Double
    ) -> Division {
        var claim = claim
        var division = Division()
        let signals = state.withLock { state in
            if let requests {
                state.machine.handle(
                    .claimed(asked: claim.asked, got: requests.count), now: now, chance: chance)
            } else {
                state.machine.handle(.claimFailed, now: now, chance: chance)
            }
            return state.divide(requests ?? [], of: &claim, by: id, now: now, into: &division)
        }
        for (share, replica) in zip(claim.shares, claim.replicas) where share.slots > 0 {
            replica.activity.end(share.slots)
        }
        for signal in signals { signal.fire(.state) }
        return division
    }
}
