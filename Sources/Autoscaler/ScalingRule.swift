package import Core

/// The autoscaler's decision as a pure function (contract S1, S2; reference: cortex.md §7).
package enum ScalingRule {
    /// Decides for one API; called about every ten seconds.
    ///
    /// - Parameters:
    ///   - load: the requests that wait or are being worked on; `nil` when they could not be read, and then nothing
    ///     changes.
    ///   - current: replicas that are requested now, ready or not.
    package static func decide(
        _ policy: AutoscalingPolicy, load sample: APILoad?, current: Int, now: Timestamp, history: inout ScalingHistory
    ) -> ScalingDecision {
        history.begin(at: now, memory: max(policy.window, recordPeriod(policy)))
        if let sample { history.add(sample: max(0, sample.mean), at: now, window: policy.window) }
        guard let sample, let average = history.average else {
            return ScalingDecision(at: now, current: current, replicas: current, reason: .insufficientData)
        }
        if let waking = wake(policy, waiting: sample.now, current: current, now: now, history: &history) {
            return waking
        }
        var steps = recommendation(policy, average: average, current: current)
        history.add(recommendation: steps.bounds, at: now, keeping: recordPeriod(policy))
        let reason = stabilize(&steps, policy, current: current, now: now, history: history)
        return ScalingDecision(
            at: now, current: current, replicas: steps.upscaleStabilization, reason: reason, inFlight: sample.now,
            steps: steps)
    }

    /// At zero replicas the first request starts one at once, independent of earlier recommendations (contract S2).
    /// Called whenever a request may have arrived.
    ///
    /// - Returns: `nil` when no replica is to be started.
    package static func wake(
        _ policy: AutoscalingPolicy, waiting: Int, current: Int, now: Timestamp, history: inout ScalingHistory
    ) -> ScalingDecision? {
        guard current == 0, waiting > 0 else { return nil }
        history.begin(at: now, memory: max(policy.window, recordPeriod(policy)))
        let replicas = max(1, policy.minReplicas)
        // The record keeps the replica for a whole downscale period.
        history.add(recommendation: replicas, at: now, keeping: recordPeriod(policy))
        return ScalingDecision(
            at: now, current: current, replicas: replicas, reason: .wakeFromZero, inFlight: waiting)
    }

    /// Steps 1 to 5: the recommendation for the load, with tolerance, factors and bounds.
    static func recommendation(_ policy: AutoscalingPolicy, average: Double, current: Int) -> ScalingDecision.Steps {
        let replicas = Double(current)
        let raw = average / policy.targetInFlight
        let load = whole(raw.rounded(.up))
        let isWithinTolerance =
            (replicas * (1 - policy.downscaleTolerance) < raw && raw < replicas)
            || (replicas < raw && raw < replicas * (1 + policy.upscaleTolerance))
        let tolerated = isWithinTolerance ? current : load
        // One fewer and one more are always possible.
        let floor = min(current - 1, whole((replicas * policy.maxDownscaleFactor).rounded(.up)))
        let cap = max(current + 1, whole((replicas * policy.maxUpscaleFactor).rounded(.up)))
        let raised = max(tolerated, floor)
        let capped = min(raised, cap)
        let bounded = min(max(capped, policy.minReplicas), policy.maxReplicas)
        return ScalingDecision.Steps(
            average: average, target: policy.targetInFlight, raw: raw, load: load, tolerance: tolerated,
            downscaleFactor: raised, upscaleFactor: capped, bounds: bounded, downscaleStabilization: bounded,
            upscaleStabilization: bounded)
    }

    /// Steps 6 and 7: recent recommendations limit changes in both directions.
    private static func stabilize(
        _ steps: inout ScalingDecision.Steps, _ policy: AutoscalingPolicy, current: Int, now: Timestamp,
        history: ScalingHistory
    ) -> ScalingDecision.Reason {
        let recommended = steps.bounds
        var request = recommended
        if recommended < current {
            let period = policy.downscaleStabilizationPeriod
            let recent = history.recommendations(within: period, of: now).max() ?? recommended
            request =
                history.isWithinFirst(period, at: now) ? current : max(recommended, min(recent, current))
        }
        steps.downscaleStabilization = request
        if request > current {
            let period = policy.upscaleStabilizationPeriod
            let recent = history.recommendations(within: period, of: now).min() ?? recommended
            request = history.isWithinFirst(period, at: now) ? current : min(request, max(recent, current))
        }
        steps.upscaleStabilization = request
        if request != current { return request > current ? .moreLoad : .lessLoad }
        if recommended == current { return .steady }
        return recommended > current ? .upscaleHeld : .downscaleHeld
    }

    /// How long a recommendation can have an effect.
    private static func recordPeriod(_ policy: AutoscalingPolicy) -> Duration {
        max(policy.downscaleStabilizationPeriod, policy.upscaleStabilizationPeriod)
    }

    /// A load divided by a very small target can exceed every integer.
    private static func whole(_ value: Double) -> Int {
        value >= Double(Int32.max) ? Int(Int32.max) : Int(value)
    }
}
