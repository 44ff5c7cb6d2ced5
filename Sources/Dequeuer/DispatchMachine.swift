import Core

/// When one replica's worker looks into its API's queue; a value, without clock or store.
///
/// Slots are not counted here but in `ReplicaActivity`, which the orchestrator shares.
struct DispatchMachine: Sendable {
    enum Event: Sendable, Hashable {
        /// The store hints at new work, or the replica is (again) ready: look at once.
        case hint
        /// A claim was sent.
        case claiming
        /// It brought `got` of at most `asked`.
        case claimed(asked: Int, got: Int)
        case claimFailed
        /// The container connected, whatever it answered.
        case reached
        /// The container could not be connected to, or the store could not keep its answer.
        case trouble
        /// A request that this worker gave back becomes due.
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
    private var replicaFailures = 0

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
            // A hint that comes from here on is news.
            mayHaveMore = false
        case .claimed(let asked, let got):
            isClaiming = false
            storeFailures = 0
            if got == asked { mayHaveMore = true }
            emptyPolls = got == 0 ? emptyPolls + 1 : 0
            let wait = Backoff(first: pollMin, longest: pollMax).wait(failures: emptyPolls, chance: chance)
            nextPoll = now + wait
        case .claimFailed:
            isClaiming = false
            mayHaveMore = true
            storeFailures += 1
            hold(now + Backoff.store.wait(failures: storeFailures, chance: chance))
        case .reached:
            replicaFailures = 0
        case .trouble:
            replicaFailures += 1
            mayHaveMore = true
            hold(now + Backoff.replica.wait(failures: replicaFailures, chance: chance))
        case .due(let moment):
            nextPoll = min(nextPoll, moment)
        }
    }

    /// Whether to claim now, if there is a free slot.
    func wantsClaim(now: Instant) -> Bool {
        !isClaiming && now >= holdUntil && (mayHaveMore || now >= nextPoll)
    }

    /// When `wantsClaim` becomes true without a further event; `nil` while a claim is on its way.
    var nextLook: Instant? {
        guard !isClaiming else { return nil }
        return mayHaveMore ? holdUntil : max(holdUntil, nextPoll)
    }

    private mutating func hold(_ until: Instant) {
        holdUntil = max(holdUntil, until)
    }
}
