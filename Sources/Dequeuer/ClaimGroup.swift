import Core
import Synchronization

/// The workers of one API in this process, which claim for each other.
///
/// One claim at a time reserves the free slots of all replicas and asks for as many requests. What it brings is divided
/// by ``ReplicaOrder``, so every request goes to the replica that contract C11 names, however many come at once. Any
/// worker that is awake can claim. A hint wakes the one whose replica comes first: it delivers the request itself.
///
/// No request is left waiting while a slot is free. Whatever makes a claim possible is followed by a look of a worker:
/// a hint wakes one, a freed slot, a readiness and the end of a hold wake their own, a claim that returned is followed
/// by a look of the worker that sent it, and a worker that leaves wakes another. Safe from any thread: all state is
/// behind one lock, and only values that are `Sendable` pass it. A `ReplicaActivity` may be locked inside, never the
/// reverse.
final class ClaimGroup: Sendable {
    /// A request on its way into a replica, which has a slot reserved for it.
    struct Arrival: Sendable {
        let request: ClaimedRequest
        let replica: ReadyReplica
        /// Whether it goes back to the queue, because every replica closed while it was claimed.
        var isReturned = false
    }

    struct Claim: Sendable {
        fileprivate var shares: [ReplicaOrder.Share]
        fileprivate let replicas: [ReadyReplica]
        /// The replica that comes first.
        let holder: String
        let asked: Int
    }

    struct Look: Sendable {
        var arrivals: [Arrival] = []
        /// To be sent now; its slots are reserved until ``ClaimGroup/claimed(_:by:_:now:chance:)``.
        var claim: Claim?
        /// When to look again if nothing happens before.
        var next: Instant?
    }

    /// What becomes of the requests of one claim.
    struct Division: Sendable {
        /// What the worker that sent the claim delivers itself.
        var own: [Arrival] = []
        /// Leases that another replica than the claim's holder got.
        var handedOver: [(lease: Lease, replica: String)] = []
    }

    private struct Worker: Sendable {
        let id: Int
        let signal: WorkerSignal
        var replica: ReadyReplica
        var arrivals: [Arrival] = []

        var slots: Int { replica.api.specification.pod.maxConcurrency }
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

        /// The worker that should look next: the one whose replica comes first. The sender of a claim looks anyway.
        func next(now: Instant) -> WorkerSignal? {
            guard !machine.isClaiming else { return nil }
            let free = workers.indices.filter { index in
                let activity = workers[index].replica.activity
                return order.members[index].isAvailable(at: now) && activity.inFlight < workers[index].slots
                    && !activity.isClosed
            }
            return order.first(of: free).map { workers[$0].signal }
        }

        /// Gives each request to the replica whose turn it is.
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

    /// Requests that one claim takes at most; a claim for a single replica is never cut by it.
    static let claimLimit = 1000

    private let state: Mutex<State>

    init(pollMin: Duration, pollMax: Duration, now: Instant) {
        state = Mutex(State(machine: DispatchMachine(pollMin: pollMin, pollMax: pollMax, now: now)))
    }

    // MARK: Members

    var isEmpty: Bool { state.withLock { $0.workers.isEmpty } }

    /// Takes a worker in, whose replica is ready. It looks by itself.
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

    /// Lets a worker go that has nothing inside and no claim under way; another one looks in its place.
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

    /// The replica is ready again; its worker looks by itself.
    func open(_ id: Int, now: Instant) {
        state.withLock { state in
            state.order.update(id) { $0.isOpen = true }
            state.machine.handle(.hint, now: now, chance: 0)
        }
    }

    /// From now on the replica gets nothing; its worker looks by itself.
    func close(_ id: Int) {
        state.withLock { $0.order.update(id) { $0.isOpen = false } }
    }

    /// A request left the replica.
    func left(_ id: Int) {
        state.withLock { $0.order.update(id) { $0.inside -= 1 } }
    }

    /// A request could not be delivered to the replica, or its answer could not be stored.
    func failed(_ id: Int, now: Instant, chance: Double) {
        state.withLock { state in
            state.order.update(id) { $0.failed(now: now, chance: chance) }
            state.machine.handle(.hint, now: now, chance: chance)
        }
    }

    /// The container was connected to.
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

    /// A request that goes back to the queue becomes due after `wait`; the worker that says so looks afterwards.
    ///
    /// The moment is up to 1 % later than asked for: the store's clock may run a little slower than this one, and
    /// retries that are due at about the same time are claimed together.
    func retry(after wait: Duration, now: Instant) {
        let step = max(1, wait.wholeMicroseconds / 128)
        let moment = (now + wait + wait / 1000).microseconds
        let due = Instant(microseconds: moment + (step - moment % step))
        state.withLock { $0.machine.handle(.due(due), now: now, chance: 0) }
    }

    // MARK: Claims

    /// A worker looks: it takes what arrived for it, and perhaps sends a claim.
    ///
    /// - Parameter isOpen: whether its replica may get requests. A worker whose replica may not still claims for
    ///   others.
    func look(_ id: Int, _ replica: ReadyReplica, isOpen: Bool, now: Instant) -> Look {
        state.withLock { state in
            guard let index = state.order.index(of: id) else { return Look() }
            state.workers[index].replica = replica
            state.order.update(id) { $0.isOpen = isOpen }
            var look = Look(arrivals: state.workers[index].arrivals)
            state.workers[index].arrivals = []
            if state.machine.wantsClaim(now: now) {
                look.claim = state.reserve(now: now)
                if look.claim != nil { state.machine.handle(.claiming, now: now, chance: 0) }
            } else {
                look.next = state.machine.nextLook
            }
            if let hold = state.order.members[index].holdUntil, hold > now {
                look.next = min(look.next ?? hold, hold)
            }
            return look
        }
    }

    /// Divides what a claim brought; `nil` when it failed. The worker that sent it looks afterwards.
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
