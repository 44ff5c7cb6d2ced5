import Core
import Support

/// Decides when the workers of one API claim from its queue. Pure.
///
/// `ReplicaActivity` counts the slots, because the orchestrator shares them. ``ReplicaOrder`` chooses the replica of
/// each claimed request.
struct DispatchMachine: Sendable {
    enum Event: Sendable, Hashable {
        /// The store hints at new work, or a replica has become ready: claim at once.
        case hint
        /// A claim was sent.
        case claiming
        /// It returned `got` of at most `asked` requests.
        case claimed(asked: Int, got: Int)
        case claimFailed
        /// A request that returned to the queue becomes due at this moment.
        case due(Instant)
    }

    let pollMin: Duration
    let pollMax: Duration

    private(set) var isClaiming = false
    /// Whether the queue may hold something, as far as is known.
    private var mayHaveMore = true
    private var nextPoll: Instant
    private var holdUntil: Instant
    private var emptyPolls = 0
    private var storeFailures = 0
    /// When retries become due, sorted. A claim that is sent later removes the moment, because only such a claim finds
    /// the retry.
    private var dues: [Instant] = []

    init(pollMin: Duration, pollMax: Duration, now: Instant) {
        self.pollMin = pollMin
        self.pollMax = pollMax
        self.nextPoll = now
        self.holdUntil = now
    }

    mutating func handle(_ event: Event, now: Instant, chance: Double) {
        switch event {
        case .hint:
            mayHaveMore = true
        case .claiming:
            isClaiming = true
            // The claim may miss what a later hint announces.
            mayHaveMore = false
            dues.removeSubrange(..<(dues.firstIndex { $0 > now } ?? dues.endIndex))
        case .claimed(let asked, let got):
            isClaiming = false
            storeFailures = 0
            if got == asked { mayHaveMore = true }
            emptyPolls = got == 0 ? emptyPolls + 1 : 0
            let wait = Backoff(first: pollMin, longest: pollMax).delay(failures: emptyPolls, chance: chance)
            nextPoll = now + wait
        case .claimFailed:
            isClaiming = false
            mayHaveMore = true
            storeFailures += 1
            hold(now + Backoff.store.delay(failures: storeFailures, chance: chance))
        case .due(let moment):
            let index = dues.firstIndex { $0 >= moment } ?? dues.endIndex
            if index == dues.endIndex || dues[index] != moment { dues.insert(moment, at: index) }
        }
    }

    /// Whether to claim now, if there is a free slot.
    func wantsClaim(now: Instant) -> Bool {
        !isClaiming && now >= holdUntil && (mayHaveMore || now >= nextTime)
    }

    /// When `wantsClaim` becomes true without a further event; `nil` during a claim.
    var nextClaim: Instant? {
        guard !isClaiming else { return nil }
        return mayHaveMore ? holdUntil : max(holdUntil, nextTime)
    }

    private var nextTime: Instant { dues.first.map { min($0, nextPoll) } ?? nextPoll }

    private mutating func hold(_ until: Instant) {
        holdUntil = max(holdUntil, until)
    }
}
