import Core

/// One replica as the rollout sees it.
struct RolloutReplica: Sendable, Hashable {
    var id: String
    /// Made from the declared version and deployment.
    var isCurrent: Bool
    var isReady: Bool
    /// Requests inside.
    var inFlight: Int
    var createdAt: Timestamp
}

/// What to do next so that an API has the declared number of replicas of the declared version.
struct RolloutSteps: Sendable, Hashable {
    var start = 0
    /// Replicas to drain and stop.
    var stop: [String] = []
}

/// The rule by which replicas are started and stopped: never more than `replicas + surge`, never fewer ready ones than
/// `replicas - unavailable` by our own doing (contract S3). Pure; replicas that are already stopping are not passed in.
enum Rollout {
    static func steps(wanted: Int, strategy: UpdateStrategy, replicas: [RolloutReplica]) -> RolloutSteps {
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

        // Old replicas that serve nobody go at once; ready ones only as far as enough others are ready.
        let idleOld = old.filter { !$0.isReady }
        steps.stop += idleOld.map(\.id)
        let readyOld = old.filter(\.isReady).sorted(by: isBetterVictim)
        let readyCurrent = current.count { $0.isReady }
        let spare = readyCurrent + readyOld.count - max(0, wanted - unavailable)
        steps.stop += readyOld.prefix(max(0, spare)).map(\.id)

        let total = current.count + old.count
        steps.start = max(0, min(wanted - current.count, wanted + surge - total + idleOld.count))
        return steps
    }

    /// Not ready before ready, idle before busy, young before old.
    private static func isBetterVictim(_ left: RolloutReplica, _ right: RolloutReplica) -> Bool {
        if left.isReady != right.isReady { return !left.isReady }
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
