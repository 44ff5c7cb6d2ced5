import Core
import Synchronization

/// Which worker of an API claims next (contract C11): of the replicas with a free slot the one with the fewest requests inside, among equals the
/// one used least recently. A value, without clock, store or signals.
struct ClaimOrder: Sendable {
    struct Member: Sendable {
        let id: Int
        /// Requests inside, those that are being claimed included.
        var inside = 0
        var slots = 1
        /// Whether it may claim: ready, not stopping, not waiting after a failure.
        var isOpen = false
        /// Whether a claim of it is under way; it decides anew when that ends.
        var isClaiming = false
        /// Number of the claim that brought it something last; 0 for none.
        var lastUsed = 0

        var free: Int { isOpen ? max(0, slots - inside) : 0 }
    }

    enum Turn: Sendable, Hashable {
        /// This worker claims, at most so many.
        case claim(Int)
        /// Another one is first.
        case wait
    }

    private(set) var members: [Member] = []
    /// Counts what says that the queue may hold something.
    private(set) var news = 0
    /// The queue was empty after all news up to this one.
    private var emptyAfter = 0
    private var claims = 0
    /// Requests claimed since the queue was last found to hold less than was asked for.
    private var taken = 0
    private var nextID = 0

    /// Whether the queue may hold something.
    var hasWork: Bool { news > emptyAfter }

    mutating func join() -> Int {
        nextID += 1
        members.append(Member(id: nextID))
        return nextID
    }

    mutating func leave(_ id: Int) { members.removeAll { $0.id == id } }

    mutating func hint() { news += 1 }

    mutating func update(_ id: Int, _ change: (inout Member) -> Void) {
        guard let index = members.firstIndex(where: { $0.id == id }) else { return }
        change(&members[index])
    }

    /// The member that is to claim next; `nil` when none has a free slot, or when the next one is claiming already.
    var next: Int? {
        guard hasWork, let first, !first.isClaiming else { return nil }
        return first.id
    }

    private var first: Member? {
        members.lazy.filter { $0.free > 0 }.min { ($0.inside, $0.lastUsed) < ($1.inside, $1.lastUsed) }
    }

    /// Whether a member that wants to claim is the next one.
    ///
    /// It may take as many as keep it the one with the fewest inside. Once more was taken in a row than all slots together hold, every slot will be
    /// needed, and it takes all that it has.
    func turn(of id: Int) -> Turn {
        guard let me = members.first(where: { $0.id == id }), me.free > 0, first?.id == id else { return .wait }
        let others = members.filter { $0.id != id && $0.free > 0 }
        guard let second = others.map(\.inside).min(), taken < members.reduce(0, { $0 + $1.slots }) else {
            return .claim(me.free)
        }
        return .claim(min(me.free, max(1, second - me.inside)))
    }

    /// Notes that a claim is sent.
    ///
    /// - Returns: the news that it takes into account.
    mutating func claiming(_ id: Int, granted: Int) -> Int {
        update(id) {
            $0.isClaiming = true
            $0.inside += granted
        }
        return news
    }

    /// Notes what a claim brought; `nil` when it failed.
    mutating func claimed(_ id: Int, since seen: Int, asked: Int, got: Int?) {
        claims += 1
        let number = claims
        update(id) {
            $0.isClaiming = false
            // A claim that brought nothing used nothing.
            if (got ?? 0) > 0 { $0.lastUsed = number }
        }
        if let got, got < asked {
            emptyAfter = max(emptyAfter, seen)
            taken = 0
        } else {
            taken += got ?? 0
            if !hasWork { news += 1 }
        }
    }
}

/// The turns of one API's workers. Safe from any task.
///
/// Whenever the queue may hold something and a replica has a free slot, the worker whose turn it is has been woken, or its claim is under way.
final class ClaimTurns: Sendable {
    private struct State {
        var order = ClaimOrder()
        var workers: [Int: (signal: WorkerSignal, activity: ReplicaActivity)] = [:]

        /// Takes over how many requests are inside now; with a single worker nothing is compared.
        mutating func look() {
            guard workers.count > 1 else { return }
            for (id, worker) in workers {
                let inside = worker.activity.inFlight
                order.update(id) { $0.inside = inside }
            }
        }
    }

    private let state = Mutex(State())

    var isEmpty: Bool { state.withLock { $0.workers.isEmpty } }

    func join(_ signal: WorkerSignal, _ activity: ReplicaActivity) -> Int {
        state.withLock { state in
            let id = state.order.join()
            state.workers[id] = (signal, activity)
            return id
        }
    }

    func leave(_ id: Int) {
        state.withLock { state in
            state.order.leave(id)
            state.workers[id] = nil
        }
        wakeNext()
    }

    /// The store hints at new work.
    func hint() {
        state.withLock { $0.order.hint() }
        wakeNext()
    }

    /// A worker says how it stands; when it cannot claim, another may.
    ///
    /// - Returns: whether the queue may hold something.
    func update(_ id: Int, activity: ReplicaActivity, slots: Int, isOpen: Bool) -> Bool {
        let (hasWork, mustPass) = state.withLock { state -> (Bool, Bool) in
            state.workers[id]?.activity = activity
            let inside = activity.inFlight
            state.order.update(id) {
                $0.inside = inside
                $0.slots = slots
                $0.isOpen = isOpen
            }
            let hasWork = state.order.hasWork
            return (hasWork, hasWork && state.workers.count > 1 && (inside >= slots || !isOpen))
        }
        if mustPass { wakeNext(besides: id) }
        return hasWork
    }

    /// Asks whether it is a worker's turn to claim. If not, the one whose turn it is has been woken.
    func turn(of id: Int) -> ClaimOrder.Turn {
        let turn = state.withLock { state -> ClaimOrder.Turn in
            state.look()
            let turn = state.order.turn(of: id)
            // It looks because its timer is due: whoever is first shall look instead.
            if turn == .wait, !state.order.hasWork { state.order.hint() }
            return turn
        }
        if turn == .wait { wakeNext(besides: id) }
        return turn
    }

    /// - Returns: to be handed to ``claimed(_:since:asked:got:)``.
    func claiming(_ id: Int, granted: Int) -> Int {
        let seen = state.withLock { $0.order.claiming(id, granted: granted) }
        wakeNext(besides: id)
        return seen
    }

    func claimed(_ id: Int, since seen: Int, asked: Int, got: Int?) {
        state.withLock { $0.order.claimed(id, since: seen, asked: asked, got: got) }
        wakeNext(besides: id)
    }

    /// Wakes the worker whose turn it is, unless it is the one that asks: that one looks by itself.
    private func wakeNext(besides id: Int? = nil) {
        let signal = state.withLock { state -> WorkerSignal? in
            guard state.order.hasWork, id == nil || state.workers.count > 1 else { return nil }
            state.look()
            guard let next = state.order.next, next != id else { return nil }
            return state.workers[next]?.signal
        }
        signal?.fire(.state)
    }
}
