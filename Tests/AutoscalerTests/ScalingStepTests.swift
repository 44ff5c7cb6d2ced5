import Core
import Testing

@testable import Autoscaler

/// Each step of cortex.md §7 separately, by its resulting number.
@Suite("S1: step by step")
struct ScalingStepTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var policy: AutoscalingPolicy
        var average: Double
        var current: Int
        /// After steps 1 to 5.
        var expected: [Int]

        init(
            _ description: String, _ policy: AutoscalingPolicy, _ average: Double, at current: Int,
            gives expected: [Int]
        ) {
            self.testDescription = description
            self.policy = policy
            self.average = average
            self.current = current
            self.expected = expected
        }
    }

    private static func policy(
        min: Int = 0, max: Int = 100, down: Double = 0.75, up: Double = 1.5, downTolerance: Double = 0.05,
        upTolerance: Double = 0.05
    ) -> AutoscalingPolicy {
        AutoscalingPolicy(
            minReplicas: min, maxReplicas: max, maxDownscaleFactor: down, maxUpscaleFactor: up,
            downscaleTolerance: downTolerance, upscaleTolerance: upTolerance)
    }

    static let cases: [Case] = [
        Case("a fraction rounds up", policy(), 4.01, at: 5, gives: [5, 5, 5, 5, 5]),
        Case("a whole number stays", policy(), 4, at: 5, gives: [4, 4, 4, 4, 4]),
        Case("nothing is zero", policy(), 0, at: 1, gives: [0, 0, 0, 0, 0]),
        Case("the smallest load is one", policy(), 0.001, at: 0, gives: [1, 1, 1, 1, 1]),
        // 0.75 and 1.25 are exact in binary, so the bounds are exact.
        Case("below by less than the tolerance", policy(downTolerance: 0.25), 6.1, at: 8, gives: [7, 8, 8, 8, 8]),
        Case("below by exactly the tolerance", policy(downTolerance: 0.25), 6, at: 8, gives: [6, 6, 6, 6, 6]),
        Case("above by less than the tolerance", policy(upTolerance: 0.25), 9.9, at: 8, gives: [10, 8, 8, 8, 8]),
        Case("above by exactly the tolerance", policy(upTolerance: 0.25), 10, at: 8, gives: [10, 10, 10, 10, 10]),
        Case("exactly what there is", policy(downTolerance: 0, upTolerance: 0), 8, at: 8, gives: [8, 8, 8, 8, 8]),
        Case("tolerance at zero replicas is none", policy(), 0.5, at: 0, gives: [1, 1, 1, 1, 1]),
        Case("the floor is rounded up", policy(down: 0.5), 0, at: 5, gives: [0, 0, 3, 3, 3]),
        Case("the floor is at most one fewer", policy(down: 0.99), 0, at: 5, gives: [0, 0, 4, 4, 4]),
        Case("the floor at one is zero", policy(), 0, at: 1, gives: [0, 0, 0, 0, 0]),
        Case("the floor does not lift what is wanted", policy(down: 0.5), 4, at: 5, gives: [4, 4, 4, 4, 4]),
        Case("the cap is rounded up", policy(up: 1.5), 50, at: 5, gives: [50, 50, 50, 8, 8]),
        Case("the cap is at least one more", policy(up: 1.01), 50, at: 5, gives: [50, 50, 50, 6, 6]),
        Case("the cap at zero is one", policy(), 50, at: 0, gives: [50, 50, 50, 1, 1]),
        Case("not below min_replicas", policy(min: 3), 0, at: 3, gives: [0, 0, 2, 2, 3]),
        Case("not above max_replicas", policy(max: 6), 50, at: 5, gives: [50, 50, 50, 8, 6]),
        Case("min_replicas was raised past the cap", policy(min: 20), 0, at: 5, gives: [0, 0, 4, 4, 20]),
        Case("max_replicas was lowered past the floor", policy(max: 2), 0, at: 20, gives: [0, 0, 15, 15, 2]),
    ]

    @Test("S1: steps 1 to 5", arguments: cases)
    func steps(_ example: Case) {
        let steps = ScalingRule.recommendation(example.policy, average: example.average, current: example.current)
        #expect(
            [steps.load, steps.tolerance, steps.downscaleFactor, steps.upscaleFactor, steps.bounds] == example.expected)
    }

    /// One round every ten seconds; the replicas and the reasons.
    private func run(
        _ policy: AutoscalingPolicy, from start: Int, loads: [Int], history: inout ScalingHistory, at begin: Int64 = 0
    ) -> [ScalingDecision] {
        var current = start
        return loads.enumerated().map { index, load in
            let decision = ScalingRule.decide(
                policy, load: APILoad(load), current: current, now: Timestamp(seconds: begin + Int64(index) * 10),
                history: &history)
            current = decision.replicas
            return decision
        }
    }

    private static func stabilized(down: Duration = .zero, up: Duration = .zero) -> AutoscalingPolicy {
        AutoscalingPolicy(
            minReplicas: 0, window: .seconds(10), downscaleStabilizationPeriod: down, upscaleStabilizationPeriod: up,
            maxDownscaleFactor: 0, maxUpscaleFactor: 100)
    }

    @Test("S1: step 6: a record exactly as old as the period does not count")
    func downscaleEdge() {
        var history = ScalingHistory()
        let policy = Self.stabilized(down: .seconds(20))
        // The first period ends with the third round, and the record of the first has just expired.
        let decisions = run(policy, from: 9, loads: [8, 2, 2, 2], history: &history)
        #expect(decisions.map(\.replicas) == [9, 9, 2, 2])
        #expect(decisions.map(\.reason) == [.downscaleHeld, .downscaleHeld, .lessLoad, .steady])
    }

    @Test("S1: step 6: the highest record never increases the number of replicas")
    func downscaleNeverUp() {
        var history = ScalingHistory()
        let policy = Self.stabilized(down: .seconds(100), up: .seconds(1000))
        let decisions = run(policy, from: 5, loads: Array(repeating: 9, count: 10) + [2, 2], history: &history)
        #expect(decisions.allSatisfy { $0.replicas == 5 })
        #expect(decisions.last?.reason == .downscaleHeld)
    }

    @Test("S1: step 7: a record exactly as old as the period does not count")
    func upscaleEdge() {
        var history = ScalingHistory()
        let decisions = run(Self.stabilized(up: .seconds(20)), from: 1, loads: [1, 6, 6, 6], history: &history)
        #expect(decisions.map(\.replicas) == [1, 1, 6, 6])
        #expect(decisions.map(\.reason) == [.steady, .upscaleHeld, .moreLoad, .steady])
    }

    @Test("S1: with periods of zero every recommendation applies at once, also in the first round")
    func noPeriods() {
        var history = ScalingHistory()
        #expect(
            run(Self.stabilized(), from: 3, loads: [9, 1, 4], history: &history).map(\.replicas) == [9, 1, 4])
    }

    @Test("S1: a decision within each step's limits explains that in one line")
    func explanations() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(
            minReplicas: 0, maxReplicas: 7, window: .seconds(10), downscaleStabilizationPeriod: .zero,
            upscaleStabilizationPeriod: .zero)
        let decisions = run(policy, from: 0, loads: [0, 3, 5, 30, 30, 30, 30, 0], history: &history)
        #expect(
            decisions.map(\.explanation) == [
                "0 replicas: 0 requests on average, 1 for each replica; the load fits",
                "1 replica: a request waits and there is no replica",
                "2 replicas: 5 requests on average, 1 for each replica, would need 5; max_upscale_factor allows no more than 2 now; more load",
                "3 replicas: 30 requests on average, 1 for each replica, would need 30; max_upscale_factor allows no more than 3 now; more load",
                "5 replicas: 30 requests on average, 1 for each replica, would need 30; max_upscale_factor allows no more than 5 now; more load",
                "7 replicas: 30 requests on average, 1 for each replica, would need 30; max_upscale_factor allows no more than 8 now; max_replicas is 7; more load",
                "7 replicas: 30 requests on average, 1 for each replica, would need 30; max_upscale_factor allows no more than 11 now; max_replicas is 7",
                "6 replicas: 0 requests on average, 1 for each replica, would need 0; max_downscale_factor allows no fewer than 6 now; less load",
            ])
        let unknown = ScalingRule.decide(
            policy, load: nil, current: 6, now: Timestamp(seconds: 80), history: &history)
        #expect(unknown.explanation == "6 replicas: the load is not known")
    }

    @Test("S1: after a gap longer than the recorded history it is cleared, because that time is unknown")
    func gap() {
        var history = ScalingHistory()
        let policy = AutoscalingPolicy(minReplicas: 0)
        _ = run(policy, from: 5, loads: Array(repeating: 5, count: 60), history: &history)
        // The machine slept for an hour, or its clock was set forward.
        let decisions = run(policy, from: 5, loads: Array(repeating: 0, count: 31), history: &history, at: 4200)
        #expect(decisions.prefix(30).allSatisfy { $0.replicas == 5 })
        #expect(decisions.last?.replicas == 4)
        #expect(history.startedAt == Timestamp(seconds: 4200))
    }
}
