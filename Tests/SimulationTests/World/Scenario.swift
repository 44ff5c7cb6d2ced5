import Core

/// The world of a seed: the API, its callers, and the faults with their times.
struct Scenario: Sendable {
    enum Event: Sendable {
        case killPod
        case exitContainer
        case deaf(Duration)
        case crash
        case restart
        case jump(Duration)
        case scale(Int)
        case rollout
        case outage(Duration)
        /// A worker of another machine takes requests and is silent; it returns after this time, or never.
        case ghost(Duration?)
    }

    struct Call: Sendable {
        var at: Duration
        var hasKey: Bool
        var isFile: Bool
        var cancelAfter: Duration?
        var retriesByHand: Bool
        /// How it waits for the end.
        var longPoll: Duration?
    }

    let seed: UInt64
    var calls: [Call] = []
    var events: [(at: Duration, event: Event)] = []
    /// The end of the faults.
    var calmAt: Duration
    var replicas: Int
    var maxConcurrency: Int
    var policy: RequestPolicy
    var probe: Probe?
    var grace: Duration
    /// The shares of the store's operations that fail without effect, fail with effect, and are slow.
    var storeFails: Double
    var storeFailsAfterwards: Double
    var storeIsSlow: Double
    var hintsLost: Double
    var hintsLate: Double
    var engineFails: Double
    var connectFails: Double
    var connectHangs: Double
    /// The share of deliveries with a faulty container.
    var containerErrs: Double
    /// Longest time of a good answer, in seconds.
    var slowest: Double

    init(seed: UInt64) {
        let dice = Dice(seed: seed &* 0x9E37_79B9_7F4A_7C15 &+ 1)
        self.seed = seed
        calmAt = dice.seconds(12...36)
        replicas = dice.pick([1, 1, 2, 2, 3])
        maxConcurrency = dice.pick([1, 1, 2, 4])
        var reasons: Set<RetryPolicy.Reason> = []
        for reason in RetryPolicy.Reason.ofAnyDelivery where dice.chance(reason == .unreachable ? 0.9 : 0.4) {
            reasons.insert(reason)
        }
        policy = RequestPolicy(
            timeout: dice.seconds(4...45), retention: dice.chance(0.2) ? dice.seconds(20...90) : .seconds(604_800),
            keepFailed: dice.chance(0.2) ? .zero : .seconds(86_400), maxResult: 100_000,
            maxQueueLength: dice.chance(0.1) ? 3 : nil, maxQueueTime: dice.chance(0.25) ? dice.seconds(5...40) : nil,
            retries: RetryPolicy(maxAttempts: dice.int(1...4), on: reasons, backoff: dice.seconds(0.1...2)))
        if dice.chance(0.85) {
            probe = Probe(
                handler: .tcpSocket(port: 8080), initialDelay: dice.seconds(0...2), timeout: .seconds(1),
                period: dice.seconds(4...10), successThreshold: dice.int(1...2), failureThreshold: dice.int(1...2))
        }
        grace = dice.seconds(2...15)
        let isHarsh = dice.chance(0.3)
        storeFails = dice.pick([0, 0, 0.03, isHarsh ? 0.3 : 0.1])
        storeFailsAfterwards = dice.pick([0, 0, 0.03, isHarsh ? 0.15 : 0.05])
        storeIsSlow = dice.pick([0, 0.05, 0.2])
        hintsLost = dice.pick([0, 0, 0.4, 1])
        hintsLate = dice.pick([0, 0.3])
        engineFails = dice.pick([0, 0, 0.1])
        connectFails = dice.pick([0, 0, 0.1])
        connectHangs = dice.pick([0, 0, 0.05])
        containerErrs = dice.pick([0, 0.1, 0.3, isHarsh ? 0.8 : 0.3])
        slowest = dice.pick([0.5, 3, 3, 40])
        for _ in 0..<dice.int(2...7) { calls.append(Self.call(dice, until: calmAt)) }
        for _ in 0..<dice.int(0...4) { events.append((dice.seconds(1...calmAt.inSeconds), Self.event(dice))) }
        events.sort { $0.at < $1.at }
    }

    /// Whether the store works without delay and faults.
    var storeIsGood: Bool {
        storeFails == 0 && storeFailsAfterwards == 0 && storeIsSlow == 0
            && !events.contains { if case .outage = $0.event { true } else { false } }
    }

    private static func call(_ dice: Dice, until end: Duration) -> Call {
        // Many at the beginning, so that a queue forms.
        let at = dice.chance(0.6) ? dice.seconds(0...8) : dice.seconds(0...end.inSeconds)
        return Call(
            at: at, hasKey: dice.chance(0.3), isFile: dice.chance(0.2),
            cancelAfter: dice.chance(0.2) ? dice.seconds(0...15) : nil, retriesByHand: dice.chance(0.5),
            longPoll: dice.chance(0.4) ? dice.seconds(1...60) : nil)
    }

    private static func event(_ dice: Dice) -> Event {
        switch dice.int(0...13) {
        case 0, 1: .killPod
        case 2: .exitContainer
        case 3, 4: .deaf(dice.seconds(3...30))
        case 5, 6: .crash
        case 7: .restart
        case 8: .jump(.seconds(dice.pick([-3600, -40, -5, 5, 40, 3600])))
        case 9: .scale(dice.int(0...3))
        case 10: .rollout
        case 11: .outage(dice.seconds(1...20))
        default: .ghost(dice.chance(0.7) ? dice.seconds(1...60) : nil)
        }
    }

    func specification() -> APISpecification {
        APISpecification.async(
            name: "api", networking: .init(endpoint: "/api"),
            pod: PodSpecification(
                port: 8080, maxConcurrency: maxConcurrency, terminationGracePeriod: grace,
                containers: [ContainerSpecification(name: "main", image: "image", readinessProbe: probe)]),
            autoscaling: AutoscalingPolicy(minReplicas: 0),
            requests: policy)
    }
}
