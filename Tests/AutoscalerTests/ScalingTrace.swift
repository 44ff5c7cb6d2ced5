import Core

@testable import Autoscaler

/// A load over time, replayed through the rule in rounds of ten seconds.
struct ScalingTrace: Sendable, CustomStringConvertible {
    struct Point: Sendable {
        /// Seconds since the beginning.
        var second: Int
        var load: Int
        var replicas: Int
    }

    var name: String
    var title: String
    var policy: AutoscalingPolicy
    var start: Int
    var minutes: Int
    /// Requests, queued and in progress, at a second.
    var load: @Sendable (Int) -> Int

    var description: String { name }

    func replay() -> [Point] {
        var history = ScalingHistory()
        var current = start
        return stride(from: 0, through: minutes * 60, by: 10).map { second in
            let now = Timestamp(seconds: 1_800_000_000 + Int64(second))
            let load = load(second)
            current =
                ScalingRule.decide(policy, load: APILoad(load), current: current, now: now, history: &history).replicas
            return Point(second: second, load: load, replicas: current)
        }
    }

    static let all: [ScalingTrace] = [
        ScalingTrace(
            name: "ramp", title: "Ramp: one request more every minute, then as slowly down again",
            policy: AutoscalingPolicy(), start: 1, minutes: 110
        ) { second in second < 1800 ? second / 60 : max(0, 30 - (second - 1800) / 60) },
        ScalingTrace(
            name: "spike", title: "Spike: forty requests for four minutes",
            policy: AutoscalingPolicy(), start: 1, minutes: 60
        ) { second in (300..<540).contains(second) ? 40 : 1 },
        ScalingTrace(
            name: "sawtooth", title: "Sawtooth: from nothing to eleven requests every six minutes",
            policy: AutoscalingPolicy(), start: 1, minutes: 60
        ) { second in second % 360 / 30 },
        ScalingTrace(
            name: "silence", title: "Silence: the load ends, replicas go down to zero; later one request wakes one",
            policy: AutoscalingPolicy(minReplicas: 0), start: 6, minutes: 60
        ) { second in second < 300 ? 6 : (2700..<2760).contains(second) ? 1 : 0 },
    ]
}
