package import Core

/// Why an API has as many replicas as it has: the autoscaler's part of `describe`.
package struct ScalingDocument: Sendable, Hashable, Codable {
    /// The newest decision in one line.
    package var why: String
    /// The last decisions, newest first; at most ``Limits/scalingDecisions``.
    package var decisions: [Decision]

    /// - Parameter decisions: oldest first.
    /// - Returns: `nil` without any decision.
    package init?(_ decisions: [ScalingDecision]) {
        guard let last = decisions.last else { return nil }
        self.why = last.explanation
        self.decisions = decisions.reversed().map(Decision.init)
    }

    /// One decision of the autoscaler.
    package struct Decision: Sendable, Hashable, Codable {
        /// RFC 3339.
        package var at: String
        /// Replicas that were requested before, and from then on.
        package var from: Int
        package var to: Int
        package var reason: String
        /// Queued and in-progress requests at that moment; left out when they could not be read.
        package var inFlight: Int?
        /// The rest is left out where the load was not asked.
        package var average: Double?
        package var target: Double?
        package var raw: Double?
        package var steps: Steps?

        package init(_ decision: ScalingDecision) {
            self.at = decision.at.rfc3339
            self.from = decision.current
            self.to = decision.replicas
            self.reason = decision.reason.rawValue
            self.inFlight = decision.inFlight
            self.average = decision.steps?.average
            self.target = decision.steps?.target
            self.raw = decision.steps?.raw
            self.steps = decision.steps.map(Steps.init)
        }

        enum CodingKeys: String, CodingKey {
            case at, from, to, reason, average, target, raw, steps
            case inFlight = "in_flight"
        }
    }

    /// The recommendation after each step.
    package struct Steps: Sendable, Hashable, Codable {
        package var load: Int
        package var tolerance: Int
        package var maxDownscaleFactor: Int
        package var maxUpscaleFactor: Int
        package var bounds: Int
        package var downscaleStabilization: Int
        package var upscaleStabilization: Int

        init(_ steps: ScalingDecision.Steps) {
            self.load = steps.load
            self.tolerance = steps.tolerance
            self.maxDownscaleFactor = steps.downscaleFactor
            self.maxUpscaleFactor = steps.upscaleFactor
            self.bounds = steps.bounds
            self.downscaleStabilization = steps.downscaleStabilization
            self.upscaleStabilization = steps.upscaleStabilization
        }

        enum CodingKeys: String, CodingKey {
            case load, tolerance, bounds
            case maxDownscaleFactor = "max_downscale_factor"
            case maxUpscaleFactor = "max_upscale_factor"
            case downscaleStabilization = "downscale_stabilization"
            case upscaleStabilization = "upscale_stabilization"
        }
    }
}
