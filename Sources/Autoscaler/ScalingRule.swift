package import Core

/// The autoscaler's decision as a pure function of what is known (contract S1, S2; reference: cortex.md §7).
package enum ScalingRule {
    /// Decides for one API; to be asked about every ten seconds.
    ///
    /// - Parameters:
    ///   - sample: queued and in-progress requests now; `nil` when they could not be read, and then nothing changes.
    ///   - current: replicas that are requested now, ready or not.
    package static func decide(
        _ policy: AutoscalingPolicy, sample: Int?, current: Int, now: Timestamp, history: inout ScalingHistory
    ) -> ScalingDecision {
        history.begin(at: now)
        guard let sample else { return ScalingDecision(replicas: current, reason: .insufficientData) }
        history.add(sample: max(0, sample), at: now, window: policy.window)
        if let waking = wake(policy, waiting: sample, current: current, now: now, history: &history) { return waking }
        guard let average = history.average else {
            return ScalingDecision(replicas: current, reason: .insufficientData)
        }
        let recommended = recommendation(policy, average: average, current: current)
        record(recommended, policy, now: now, history: &history)
        return stabilize(recommended, policy, current: current, now: now, history: history)
    }

    /// At zero replicas the first request wakes one at once, whatever was recommended before (contract S2). To be asked whenever a request may have come.
    ///
    /// - Returns: `nil` when there is nothing to wake.
    package static func wake(
        _ policy: AutoscalingPolicy, waiting: Int, current: Int, now: Timestamp, history: inout ScalingHistory
    ) -> ScalingDecision? {
        guard current == 0, waiting > 0 else { return nil }
        history.begin(at: now)
        let replicas = max(1, policy.minReplicas)
        // The record keeps it up for a whole downscale period.
        record(replicas, policy, now: now, history: &history)
        return ScalingDecision(replicas: replicas, reason: .wakeFromZero)
    }

    /// Steps 1 to 5: what the load asks for, with tolerance, pace and bounds.
    static func recommendation(_ policy: AutoscalingPolicy, average: Double, current: Int) -> Int {
        let replicas = Double(current)
        let raw = average / policy.targetInFlight
        var recommended = whole(raw.rounded(.up))
        let isWithinTolerance =
            (replicas * (1 - policy.downscaleTolerance) < raw && raw < replicas)
            || (replicas < raw && raw < replicas * (1 + policy.upscaleTolerance))
        if isWithinTolerance { recommended = current }
        // One fewer and one more are always possible.
        let floor = min(current - 1, whole((replicas * policy.maxDownscaleFactor).rounded(.up)))
        let cap = max(current + 1, whole((replicas * policy.maxUpscaleFactor).rounded(.up)))
        recommended = min(max(recommended, floor), cap)
        return min(max(recommended, policy.minReplicas), policy.maxReplicas)
    }

    /// Steps 6 and 7: what was recommended lately holds back both directions.
    private static func stabilize(
        _ recommended: Int, _ policy: AutoscalingPolicy, current: Int, now: Timestamp, history: ScalingHistory
    ) -> ScalingDecision {
        func isWithinFirst(_ period: Duration) -> Bool { history.isWithinFirst(period, at: now) }
        if recommended < current {
            let period = policy.downscaleStabilizationPeriod
            let recent = history.recommendations(within: period, of: now).max() ?? recommended
            let request = isWithinFirst(period) ? current : max(recommended, min(recent, current))
            return ScalingDecision(replicas: request, reason: request < current ? .lessLoad : .downscaleHeld)
        }
        if recommended > current {
            let period = policy.upscaleStabilizationPeriod
            let recent = history.recommendations(within: period, of: now).min() ?? recommended
            let request = isWithinFirst(period) ? current : min(recommended, max(recent, current))
            return ScalingDecision(replicas: request, reason: request > current ? .moreLoad : .upscaleHeld)
        }
        return ScalingDecision(replicas: current, reason: .steady)
    }

    private static func record(
        _ recommended: Int, _ policy: AutoscalingPolicy, now: Timestamp, history: inout ScalingHistory
    ) {
        history.add(
            recommendation: recommended, at: now,
            keeping: max(policy.downscaleStabilizationPeriod, policy.upscaleStabilizationPeriod))
    }

    /// A load divided by a tiny target can exceed every integer.
    private static func whole(_ value: Double) -> Int {
        value >= Double(Int32.max) ? Int(Int32.max) : Int(value)
    }
}
