import Autoscaler
import Core
import TestSupport
import Testing

@testable import Proxy

/// The autoscaler's rule on the samples of a RealtimeAPI. The numbers 33 to 40 are those of the original's tests.
@Suite("R19: autoscaling by samples")
struct LoadRingTests {
    private static let start = Instant(seconds: 1_000)

    @Test("R19: the mean is that of one sample a second; a second without a sample is missing, not zero")
    func missing() {
        var ring = LoadRing()
        #expect(ring.mean(at: Self.start) == nil)
        for second in 0..<4 { ring.add(10, at: Self.start + .seconds(second)) }
        // Five seconds without a sample.
        ring.add(4, at: Self.start + .seconds(9))
        #expect(ring.mean(at: Self.start + .seconds(9)) == 8.8)
        // Only those of the last ten seconds count.
        #expect(ring.mean(at: Self.start + .seconds(12)) == 7)
        #expect(ring.mean(at: Self.start + .seconds(30)) == nil)
    }

    /// The number of replicas after each round of ten seconds, from a load sampled each second.
    private static func replay(
        _ policy: AutoscalingPolicy, start current: Int, seconds: Int, wakeAt: Int? = nil, load: (Int) -> Int
    ) -> [Int] {
        var (ring, history, current) = (LoadRing(), ScalingHistory(), current)
        var replicas: [Int] = []
        for second in 0...seconds {
            let now = start + .seconds(second)
            let time = Timestamp(seconds: 1_800_000_000 + Int64(second))
            ring.add(load(second), at: now)
            if second == wakeAt,
                let waking = ScalingRule.wake(
                    policy, waiting: load(second), current: current, now: time, history: &history)
            {
                current = waking.replicas
            }
            guard second % 10 == 0 else { continue }
            let mean = ring.mean(at: now) ?? Double(load(second))
            current =
                ScalingRule.decide(
                    policy, load: APILoad(now: load(second), mean: mean), current: current, now: time,
                    history: &history
                ).replicas
            replicas.append(current)
        }
        return replicas
    }

    private static func immediate(down: Double = 0.75, up: Double = 1.5) -> AutoscalingPolicy {
        AutoscalingPolicy(
            minReplicas: 0, downscaleStabilizationPeriod: .zero, upscaleStabilizationPeriod: .zero,
            maxDownscaleFactor: down, maxUpscaleFactor: up)
    }

    @Test("R19, 33: no downscale to zero inside the stabilization period")
    func noZero() {
        let replicas = Self.replay(AutoscalingPolicy(minReplicas: 0), start: 1, seconds: 400) { _ in 0 }
        #expect(replicas.prefix(30).allSatisfy { $0 == 1 })
        #expect(replicas.last == 0)
    }

    @Test("R19, 34: 5 replicas with a load of 2 and a downscale factor of 0.5 become 3")
    func downscaleFactor() {
        #expect(Self.replay(Self.immediate(down: 0.5), start: 5, seconds: 0) { _ in 2 } == [3])
    }

    @Test("R19, 35: 1 replica with a load of 3 and an upscale factor of 1.5 becomes 2")
    func upscaleFactor() {
        #expect(Self.replay(Self.immediate(up: 1.5), start: 1, seconds: 0) { _ in 3 } == [2])
    }

    @Test("R19, 36: a lower recommendation of the last minute holds an upscale back")
    func upscaleHeld() {
        let replicas = Self.replay(AutoscalingPolicy(), start: 1, seconds: 300) { $0 < 120 ? 1 : 10 }
        // The last round before the load rises is at 110 s, and its record counts for 60 s.
        #expect(replicas.prefix(17).allSatisfy { $0 == 1 })
        #expect(replicas.last ?? 0 > 1)
    }

    @Test("R19, 37: low recommendations never push an upscale below the current number")
    func neverBelowCurrent() {
        let replicas = Self.replay(AutoscalingPolicy(), start: 5, seconds: 230) { $0 < 180 ? 1 : 30 }
        #expect(replicas.allSatisfy { $0 == 5 })
    }

    @Test("R19, R20, 38: after waking, 1 replica stays for the downscale period despite zero load")
    func staysAwake() {
        let replicas = Self.replay(AutoscalingPolicy(minReplicas: 0), start: 0, seconds: 800, wakeAt: 405) {
            $0 == 405 ? 1 : 0
        }
        #expect(replicas[40] == 0)
        #expect(replicas[41...70].allSatisfy { $0 == 1 })
        #expect(replicas.last == 0)
    }

    @Test("R19, 39: never below min_replicas, never above max_replicas")
    func bounds() {
        let policy = AutoscalingPolicy(minReplicas: 2, maxReplicas: 4)
        let replicas = Self.replay(policy, start: 3, seconds: 4800) { $0 % 2400 < 600 ? 50 : 0 }
        #expect(replicas.allSatisfy { (2...4).contains($0) })
        #expect(replicas.contains(2) && replicas.contains(4))
    }

    @Test(
        "R19, 40: max + 1 parallel callers reach max_replicas; when they stop, 1 is left within twice the sum of the stabilization periods"
    )
    func upAndDown() {
        let policy = AutoscalingPolicy(maxReplicas: 3)
        let limit = 2 * (300 + 60)
        let replicas = Self.replay(policy, start: 1, seconds: 1000 + limit) { $0 < 1000 ? 4 : 0 }
        #expect(replicas[100] == 3)
        #expect(replicas.last == 1)
    }
}
