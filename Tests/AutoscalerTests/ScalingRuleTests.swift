import Core
import TestSupport
import Testing

@testable import Autoscaler

@Suite("S1: the autoscaler's steps")
struct ScalingRuleTests {
    /// Without stabilization: a recommendation applies at once.
    private static func immediate(
        min: Int = 0, max: Int = 1000, target: Double = 1, down: Double = 0.75, up: Double = 1.5,
        downTolerance: Double = 0.05, upTolerance: Double = 0.05
    ) -> AutoscalingPolicy {
        AutoscalingPolicy(
            minReplicas: min, maxReplicas: max, targetInFlight: target, downscaleStabilizationPeriod: .zero,
            upscaleStabilizationPeriod: .zero, maxDownscaleFactor: down, maxUpscaleFactor: up,
            downscaleTolerance: downTolerance, upscaleTolerance: upTolerance)
    }

    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var policy: AutoscalingPolicy
        var inFlight: Int
        var current: Int
        var expected: Int

        init(_ description: String, _ policy: AutoscalingPolicy, _ inFlight: Int, at current: Int, gives expected: Int)
        {
            self.description = description
            self.policy = policy
            self.inFlight = inFlight
            self.current = current
            self.expected = expected
        }
    }

    @Test("S1: steps 1 to 5", arguments: steps)
    func step(_ example: Case) {
        var history = ScalingHistory()
        let decision = ScalingRule.decide(
            example.policy, load: APILoad(example.inFlight), current: example.current, now: Timestamp(seconds: 1000),
            history: &history)
        #expect(decision.replicas == example.expected)
    }

    private static let wide = immediate(down: 0, up: 1000)

    static let steps: [Case] = [
        Case("step 1: in flight by target, rounded up", wide, 7, at: 2, gives: 7),
        Case("step 1: a target of 3", immediate(target: 3, up: 1000), 7, at: 2, gives: 3),
        Case("step 1: a target below 1", immediate(target: 0.5, up: 1000), 7, at: 2, gives: 14),
        Case("step 2: a little less changes nothing", immediate(target: 100, down: 0), 951, at: 10, gives: 10),
        Case("step 2: the downscale tolerance itself does", immediate(target: 100, down: 0), 900, at: 10, gives: 9),
        Case(
            "step 2: at the edge of a binary tolerance", immediate(target: 100, down: 0, downTolerance: 0.5), 500,
            at: 10,
            gives: 5),
        Case(
            "step 2: just inside of it", immediate(target: 100, down: 0, downTolerance: 0.5), 501, at: 10, gives: 10),
        Case("step 2: exactly as many as there are", wide, 10, at: 10, gives: 10),
        Case("step 2: a little more changes nothing", immediate(target: 100), 1049, at: 10, gives: 10),
        Case(
            "step 2: at the edge of the upscale tolerance", immediate(target: 100, upTolerance: 0.5), 1500, at: 10,
            gives: 15),
        Case(
            "step 2: no tolerance, no holding", immediate(target: 100, downTolerance: 0, upTolerance: 0), 1001, at: 10,
            gives: 11),
        Case("step 3: 5 replicas, in flight 2, factor 0.5", immediate(down: 0.5), 2, at: 5, gives: 3),
        Case("step 3: at most a quarter fewer", immediate(), 1, at: 20, gives: 15),
        Case("step 3: one fewer is always possible", immediate(down: 0.99), 1, at: 3, gives: 2),
        Case("step 3: a factor of 0 takes all", immediate(down: 0), 0, at: 20, gives: 0),
        Case("step 4: 1 replica, in flight 3, factor 1.5", immediate(), 3, at: 1, gives: 2),
        Case("step 4: at most half more, rounded up", immediate(), 100, at: 5, gives: 8),
        Case("step 4: one more is always possible", immediate(up: 1.01), 100, at: 3, gives: 4),
        Case("step 5: not below min", immediate(min: 4, down: 0), 0, at: 5, gives: 4),
        Case("step 5: not above max", immediate(max: 6, up: 10), 100, at: 5, gives: 6),
        Case("step 5: max is lowered by an update", immediate(max: 3), 100, at: 5, gives: 3),
        Case("step 5: min is raised by an update", immediate(min: 8), 0, at: 5, gives: 8),
        Case("the last replica goes", immediate(), 0, at: 1, gives: 0),
        Case("nothing at nothing", immediate(), 0, at: 0, gives: 0),
        Case(
            "no load beyond every number", immediate(max: 2_000_000_000, target: 1e-300, up: 1e300), .max, at: 5,
            gives: 2_000_000_000),
    ]

    /// Decides every ten seconds and applies each decision; returns the replicas after each round.
    private func run(
        _ policy: AutoscalingPolicy, from start: Int, history: inout ScalingHistory, at begin: Int64 = 0, loads: [Int?]
    ) -> [Int] {
        var current = start
        return loads.enumerated().map { index, load in
            current =
                ScalingRule.decide(
                    policy, load: load.map { APILoad($0) }, current: current,
                    now: Timestamp(seconds: begin + Int64(index) * 10),
                    history: &history
                ).replicas
            return current
        }
    }

    /// The distinct values, in order.
    private func path(_ values: [Int]) -> [Int] {
        values.reduce(into: []) { if $0.last != $1 { $0.append($1) } }
    }

    @Test("S1: by default one step up a minute: 1→2→3→5→8→12→18→27")
    func defaultPaceUp() {
        var history = ScalingHistory()
        let replicas = run(
            AutoscalingPolicy(window: .seconds(10)), from: 1, history: &history, loads: Array(repeating: 100, count: 49)
        )
        #expect(path(replicas) == [1, 2, 3, 5, 8, 12, 18, 27, 41])
        // Nothing in the first minute; then one step each.
        #expect(replicas.firstIndex(of: 2) == 6 && replicas.firstIndex(of: 3) == 12)
        #expect(replicas.firstIndex(of: 5) == 18)
    }

    @Test("S1: by default down 20→15→12→9→7→6→5→4→3→2→1→0, each after five quiet minutes")
    func defaultPaceDown() {
        var history = ScalingHistory()
        let replicas = run(
            AutoscalingPolicy(minReplicas: 0, window: .seconds(10)), from: 20, history: &history,
            loads: Array(repeating: 0, count: 12 * 30 + 1))
        #expect(path(replicas) == [20, 15, 12, 9, 7, 6, 5, 4, 3, 2, 1, 0])
        #expect(replicas.firstIndex(of: 15) == 30 && replicas.firstIndex(of: 12) == 60)
    }

    @Test("S1: step 6: no downscale before the first period is over, then down to the highest recommendation in it")
    func downscaleStabilization() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(
            minReplicas: 0, window: .seconds(10), downscaleStabilizationPeriod: .seconds(30),
            upscaleStabilizationPeriod: .zero, maxDownscaleFactor: 0)
        let replicas = run(policy, from: 10, history: &history, loads: [2, 6, 2, 2, 2, 2, 2])
        #expect(replicas == [10, 10, 10, 6, 2, 2, 2])
    }

    @Test("S1: step 7: a low recommendation limits an increase, but never decreases the number of replicas")
    func upscaleStabilization() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(
            minReplicas: 0, window: .seconds(10), downscaleStabilizationPeriod: .seconds(3600),
            upscaleStabilizationPeriod: .seconds(30), maxUpscaleFactor: 10)
        let replicas = run(policy, from: 3, history: &history, loads: [3, 3, 3, 1, 9, 9, 9, 9])
        #expect(replicas == [3, 3, 3, 3, 3, 3, 9, 9])
    }

    @Test("S1: the load is averaged over the window")
    func window() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(
            minReplicas: 0, window: .seconds(30), downscaleStabilizationPeriod: .zero,
            upscaleStabilizationPeriod: .zero,
            maxDownscaleFactor: 0, maxUpscaleFactor: 100)
        // Averages: 6, 6, 4, 2, 0.
        #expect(run(policy, from: 6, history: &history, loads: [6, 6, 0, 0, 0]) == [6, 6, 4, 2, 0])
    }

    @Test("S1: unknown is not zero: missing data keeps the scale and leaves no record")
    func unknown() {
        var history = ScalingHistory()
        let policy = Self.wide
        #expect(run(policy, from: 7, history: &history, loads: [nil, nil, nil]) == [7, 7, 7])
        #expect(history.recommendations.isEmpty && history.samples.isEmpty)
        let decision = ScalingRule.decide(
            policy, load: nil, current: 7, now: Timestamp(seconds: 40), history: &history)
        #expect(decision.reason == .insufficientData)
    }

    @Test("S1: history keeps no more than the longer period and the window need")
    func bounded() {
        var history = ScalingHistory()
        _ = run(AutoscalingPolicy(), from: 5, history: &history, loads: Array(repeating: 5, count: 1000))
        #expect(history.recommendations.count <= 31 && history.samples.count <= 7)
    }

    @Test("S1: a clock that is set back clears the history instead of trusting records of the future")
    func clockSetBack() {
        var history = ScalingHistory()
        _ = run(AutoscalingPolicy(), from: 5, history: &history, at: 10_000, loads: [5, 5])
        _ = run(AutoscalingPolicy(), from: 5, history: &history, at: 500, loads: [5])
        #expect(history.startedAt == Timestamp(seconds: 500))
        #expect(history.recommendations.count == 1 && history.samples.count == 1)
    }

    @Test("S2: at zero the first request starts a replica at once, and it stays for the downscale period")
    func wake() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(minReplicas: 0, window: .seconds(10))
        #expect(run(policy, from: 0, history: &history, loads: Array(repeating: 0, count: 60)).allSatisfy { $0 == 0 })
        var now = Timestamp(seconds: 605)
        #expect(ScalingRule.wake(policy, waiting: 0, current: 0, now: now, history: &history) == nil)
        #expect(ScalingRule.wake(policy, waiting: 1, current: 1, now: now, history: &history) == nil)
        let decision = ScalingRule.wake(policy, waiting: 1, current: 0, now: now, history: &history)
        #expect(
            decision == ScalingDecision(at: now, current: 0, replicas: 1, reason: .wakeFromZero, inFlight: 1))
        // No load any more: up for five minutes, then down.
        var replicas: [Int] = []
        for _ in 0..<31 {
            now = now + .seconds(10)
            replicas.append(
                ScalingRule.decide(policy, load: APILoad(0), current: replicas.last ?? 1, now: now, history: &history)
                    .replicas
            )
        }
        #expect(replicas == Array(repeating: 1, count: 29) + [0, 0])
    }

    @Test("S2: the regular round also starts a replica when no hint arrived")
    func wakeByLook() {
        var history = ScalingHistory()
        #expect(run(AutoscalingPolicy(minReplicas: 0), from: 0, history: &history, loads: [0, 1]) == [0, 1])
    }
}
