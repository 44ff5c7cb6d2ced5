/// The number of replicas that an API should have, and the reason: one decision of the autoscaler with its inputs.
package struct ScalingDecision: Sendable, Hashable {
    /// What determined the number of replicas.
    package enum Reason: String, Sendable, Hashable, CaseIterable {
        /// The load needs the current number.
        case steady = "the load fits"
        case moreLoad = "more load"
        case lessLoad = "less load"
        /// The load needs fewer, but not for long enough yet.
        case downscaleHeld = "held until the downscale stabilization period is over"
        /// The load needs more, but not for long enough yet.
        case upscaleHeld = "held until the upscale stabilization period is over"
        /// A request waits and there is no replica.
        case wakeFromZero = "a request waits and there is no replica"
        /// The load is not known: the number stays.
        case insufficientData = "the load is not known"
    }

    /// The recommendation after each step (reference: cortex.md §7); each value is a number of replicas.
    package struct Steps: Sendable, Hashable {
        /// Queued and in-progress requests, averaged over the window.
        package var average: Double
        /// `target_in_flight`.
        package var target: Double
        /// `average / target`.
        package var raw: Double
        /// Step 1: `raw`, rounded up.
        package var load: Int
        /// Step 2: after the tolerances.
        package var tolerance: Int
        /// Step 3: after `max_downscale_factor`.
        package var downscaleFactor: Int
        /// Step 4: after `max_upscale_factor`.
        package var upscaleFactor: Int
        /// Step 5: after `min_replicas` and `max_replicas`. Recorded for the stabilization periods.
        package var bounds: Int
        /// Step 6: after the downscale stabilization period.
        package var downscaleStabilization: Int
        /// Step 7: after the upscale stabilization period: the decision.
        package var upscaleStabilization: Int

        package init(
            average: Double, target: Double, raw: Double, load: Int, tolerance: Int, downscaleFactor: Int,
            upscaleFactor: Int, bounds: Int, downscaleStabilization: Int, upscaleStabilization: Int
        ) {
            self.average = average
            self.target = target
            self.raw = raw
            self.load = load
            self.tolerance = tolerance
            self.downscaleFactor = downscaleFactor
            self.upscaleFactor = upscaleFactor
            self.bounds = bounds
            self.downscaleStabilization = downscaleStabilization
            self.upscaleStabilization = upscaleStabilization
        }
    }

    package var at: Timestamp
    /// Replicas that were requested before.
    package var current: Int
    /// Replicas to request now.
    package var replicas: Int
    package var reason: Reason
    /// Queued and in-progress requests at this moment; `nil` when they could not be read.
    package var inFlight: Int?
    /// `nil` if the load was not used: it is not known, or a request waits at zero replicas.
    package var steps: Steps?

    package init(
        at: Timestamp, current: Int, replicas: Int, reason: Reason, inFlight: Int? = nil, steps: Steps? = nil
    ) {
        self.at = at
        self.current = current
        self.replicas = replicas
        self.reason = reason
        self.inFlight = inFlight
        self.steps = steps
    }

    /// The reason for the number of replicas, in one line for people.
    package var explanation: String {
        var text = "\(replicas) \(replicas == 1 ? "replica" : "replicas"): "
        guard let steps else { return text + reason.rawValue }
        text += "\(steps.average.brief) requests on average, \(steps.target.brief) for each replica"
        if steps.load != replicas || steps.load != current { text += ", would need \(steps.load)" }
        let limits = limits(of: steps)
        for limit in limits { text += "; \(limit)" }
        // The limiting step is the reason.
        return reason == .steady && !limits.isEmpty ? text : text + "; \(reason.rawValue)"
    }

    /// The step that made the recommendation differ from the load's.
    private func limits(of steps: Steps) -> [String] {
        var limits: [String] = []
        if steps.tolerance != steps.load { limits.append("\(steps.tolerance) will do within the tolerance") }
        if steps.downscaleFactor != steps.tolerance {
            limits.append("max_downscale_factor allows no fewer than \(steps.downscaleFactor) now")
        }
        if steps.upscaleFactor != steps.downscaleFactor {
            limits.append("max_upscale_factor allows no more than \(steps.upscaleFactor) now")
        }
        if steps.bounds > steps.upscaleFactor { limits.append("min_replicas is \(steps.bounds)") }
        if steps.bounds < steps.upscaleFactor { limits.append("max_replicas is \(steps.bounds)") }
        return limits
    }
}

extension Double {
    /// At most two decimal places, without trailing zeros: `2`, `2.5`, `0.33`.
    fileprivate var brief: String {
        guard abs(self) < 1e15 else { return "\(self)" }
        let hundredths = Int64((self * 100).rounded())
        let (whole, rest) = (hundredths / 100, abs(hundredths % 100))
        if rest == 0 { return "\(whole)" }
        return rest % 10 == 0 ? "\(whole).\(rest / 10)" : "\(whole).\(rest < 10 ? "0" : "")\(rest)"
    }
}
