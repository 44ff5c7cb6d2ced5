import Core
import TestSupport
import Testing

@testable import Autoscaler

@Suite("S1: invariants of the autoscaler for any policy and load, by seeds")
struct ScalingPropertyTests {
    private static func policy(_ generator: inout SeededGenerator) -> AutoscalingPolicy {
        let least = Int.random(in: 0...5, using: &generator)
        return AutoscalingPolicy(
            minReplicas: least, maxReplicas: least + Int.random(in: 1...50, using: &generator),
            targetInFlight: Double.random(in: 0.1...20, using: &generator),
            window: .seconds(10 * Int.random(in: 1...12, using: &generator)),
            downscaleStabilizationPeriod: .seconds(Int.random(in: 0...300, using: &generator)),
            upscaleStabilizationPeriod: .seconds(Int.random(in: 0...120, using: &generator)),
            maxDownscaleFactor: Double.random(in: 0..<1, using: &generator),
            maxUpscaleFactor: Double.random(in: 1.01...4, using: &generator),
            downscaleTolerance: Double.random(in: 0..<1, using: &generator),
            upscaleTolerance: Double.random(in: 0...1, using: &generator))
    }

    @Test("S1, S2: for any load, the scale keeps its bounds and factors, and stays without data", arguments: 0..<40)
    func property(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let policy = Self.policy(&generator)
        var history = ScalingHistory()
        var current = policy.initReplicas
        var now = Timestamp(seconds: 1_800_000_000)
        for _ in 0..<300 {
            now = now + .seconds(Int.random(in: 1...30, using: &generator))
            let load = Bool.random(using: &generator) ? Int.random(in: 0...500, using: &generator) : 0
            let sample = Int.random(in: 0..<10, using: &generator) == 0 ? nil : load
            let decision = ScalingRule.decide(
                policy, load: sample.map { APILoad($0) }, current: current, now: now, history: &history)
            let next = decision.replicas
            #expect((policy.minReplicas...policy.maxReplicas).contains(next), "seed \(seed)")
            let cap = max(current + 1, Int((Double(current) * policy.maxUpscaleFactor).rounded(.up)))
            let floor = min(current - 1, Int((Double(current) * policy.maxDownscaleFactor).rounded(.up)))
            #expect(next <= max(cap, policy.minReplicas) && next >= floor, "seed \(seed)")
            if sample == nil { #expect(next == current, "seed \(seed)") }
            if current == 0, let sample, sample > 0 { #expect(next >= 1, "seed \(seed)") }
            #expect(
                (next == current)
                    == [.steady, .downscaleHeld, .upscaleHeld, .insufficientData].contains(decision.reason))
            current = next
        }
    }

    @Test("S1: more load never means fewer replicas, everything else being equal", arguments: 0..<40)
    func monotone(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let policy = Self.policy(&generator)
        var history = ScalingHistory()
        var current = policy.initReplicas
        var now = Timestamp(seconds: 1_800_000_000)
        for _ in 0..<100 {
            now = now + .seconds(10)
            let loads = (0..<4).map { _ in Int.random(in: 0...600, using: &generator) }.sorted()
            let decisions = loads.map { load in
                var copy = history
                return ScalingRule.decide(policy, load: APILoad(load), current: current, now: now, history: &copy)
                    .replicas
            }
            #expect(decisions == decisions.sorted(), "seed \(seed)")
            let load = loads.randomElement(using: &generator)
            current =
                ScalingRule.decide(
                    policy, load: load.map { APILoad($0) }, current: current, now: now, history: &history
                ).replicas
        }
    }

    @Test("S1: a load that varies within the tolerance changes nothing, for any time", arguments: 0..<40)
    func noFlapping(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var policy = AutoscalingPolicy(
            minReplicas: 0, targetInFlight: 1000, window: .seconds(10),
            downscaleStabilizationPeriod: .seconds(Int.random(in: 0...30, using: &generator)),
            upscaleStabilizationPeriod: .seconds(Int.random(in: 0...30, using: &generator)))
        policy.downscaleTolerance = Double.random(in: 0.01..<0.9, using: &generator)
        policy.upscaleTolerance = Double.random(in: 0.01...1, using: &generator)
        let replicas = Int.random(in: 1...50, using: &generator)
        let load = Double(replicas * 1000)
        let low = Int(load * (1 - policy.downscaleTolerance)) + 2
        let high = Int(load * (1 + policy.upscaleTolerance)) - 2
        var history = ScalingHistory()
        for look in 0..<200 {
            let decision = ScalingRule.decide(
                policy, load: APILoad(Int.random(in: low...high, using: &generator)), current: replicas,
                now: Timestamp(seconds: Int64(look) * 10), history: &history)
            #expect(decision.replicas == replicas && decision.reason == .steady, "seed \(seed)")
        }
    }

    @Test("S1: under a constant load the scale becomes constant", arguments: 0..<20)
    func comesToRest(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let policy = Self.policy(&generator)
        let load = Int.random(in: 0...200, using: &generator)
        var history = ScalingHistory()
        var current = policy.initReplicas
        var changed = 0
        for look in 0..<4000 {
            let decision = ScalingRule.decide(
                policy, load: APILoad(load), current: current, now: Timestamp(seconds: Int64(look) * 10),
                history: &history)
            if decision.replicas != current { changed = look }
            current = decision.replicas
        }
        // At most 55 replicas, one at a time, each after five minutes.
        #expect(changed < 55 * 31, "seed \(seed)")
    }
}
