import Core

/// One replica as the rollout sees it. Replicas that are already stopping are not passed in.
struct RolloutReplica: Sendable, Hashable {
    var id: String
    /// Made from the declared version and deployment.
    var isCurrent: Bool
    var isReady: Bool
    /// It waits for space on the machine; nothing of it runs.
    var isPending = false
    /// Since when a replica that was ready is not, because its probes fail or a container exited and will be restarted;
    /// `nil` for any other replica.
    var unreadySince: Instant?
    /// Requests inside.
    var inFlight: Int
    /// When the youngest of them began.
    var youngestStart: Instant?
    var createdAt: Timestamp
}

/// The next steps towards the declared number of replicas of the declared version.
struct RolloutSteps: Sendable, Hashable {
    /// Replicas of the declared version to start.
    var start = 0
    /// Replicas to drain and stop.
    var stop: [String] = []
}

/// The rolling update. Pure: it keeps no state and is called again after every change.
///
/// It promises (contract S3) that it never starts more than `wanted + surge` replicas, that it never stops a ready one
/// below `wanted - unavailable`, that a version that never becomes ready replaces nothing, and that it ends with
/// `wanted` replicas of the declared version as soon as those become ready.
enum Rollout {
    /// How long an old replica that is not ready may take to recover. After that it counts as broken.
    static let recoveryTime: Duration = .seconds(60)

    static func steps(
        wanted: Int, strategy: UpdateStrategy, replicas: [RolloutReplica], now: Instant
    ) -> RolloutSteps {
        var steps = RolloutSteps()
        let current = replicas.filter(\.isCurrent)
        let old = replicas.filter { !$0.isCurrent }

        let excess = current.count - wanted
        if excess > 0 {
            steps.stop += current.sorted(by: isBetterVictim).prefix(excess).map(\.id)
        }
        if old.isEmpty {
            steps.start = max(0, wanted - current.count)
            return steps
        }

        var surge = strategy.maxSurge.count(of: wanted, roundingUp: true)
        let unavailable = strategy.maxUnavailable.count(of: wanted, roundingUp: false)
        if surge == 0, unavailable == 0 { surge = 1 }
        let floor = max(0, wanted - unavailable)
        let readyCurrent = current.count { $0.isReady }
        let readyOld = old.filter(\.isReady).sorted(by: isBetterVictim)

        // Old replicas that never served, or will not serve again, are stopped at once.
        let recentlyUnready = old.filter { mayRecover($0, now: now) }
        var dead = old.filter { !$0.isReady && !mayRecover($0, now: now) }
        // So are those that may recover, if no replica serves and they take the space of the new ones.
        let isBlocked = readyOld.isEmpty && readyCurrent == 0 && current.contains(where: \.isPending)
        if isBlocked {
            dead += recentlyUnready
        } else {
            let unready = current.count - readyCurrent
            let spare = current.count + readyOld.count + recentlyUnready.count - floor - unready
            dead += recentlyUnready.sorted(by: isBetterVictim).prefix(max(0, spare))
        }
        steps.stop += dead.map(\.id)
        steps.stop += readyOld.prefix(max(0, readyCurrent + readyOld.count - floor)).map(\.id)

        let total = current.count + old.count - dead.count
        steps.start = max(0, min(wanted - current.count, wanted + surge - total))
        return steps
    }

    private static func mayRecover(_ replica: RolloutReplica, now: Instant) -> Bool {
        guard !replica.isReady, let since = replica.unreadySince else { return false }
        return now - since < recoveryTime
    }

    /// Whether `left` is stopped before `right`: first the pending, then the not ready, the idle, those likely to be
    /// idle first, and the young before the old.
    ///
    /// Requests of one API last about equally long, so the replica whose youngest request began first is likely to be
    /// idle first.
    static func isBetterVictim(_ left: RolloutReplica, _ right: RolloutReplica) -> Bool {
        if left.isPending != right.isPending { return left.isPending }
        if left.isReady != right.isReady { return !left.isReady }
        let isLeftIdle = left.inFlight == 0 || left.youngestStart == nil
        let isRightIdle = right.inFlight == 0 || right.youngestStart == nil
        if isLeftIdle != isRightIdle { return isLeftIdle }
        if !isLeftIdle, let first = left.youngestStart, let second = right.youngestStart, first != second {
            return first < second
        }
        if left.inFlight != right.inFlight { return left.inFlight < right.inFlight }
        if left.createdAt != right.createdAt { return left.createdAt > right.createdAt }
        return left.id < right.id
    }
}

extension UpdateStrategy.Amount {
    /// This amount of `replicas`; percentages are rounded as Kubernetes does (reference: cortex.md §13).
    func count(of replicas: Int, roundingUp: Bool) -> Int {
        switch self {
        case .count(let count): count
        case .percent(let percent): (replicas * percent + (roundingUp ? 99 : 0)) / 100
        }
    }
}
