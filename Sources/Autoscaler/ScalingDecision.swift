/// How many replicas an API should have, and why.
package struct ScalingDecision: Sendable, Hashable {
    package enum Reason: String, Sendable, Hashable, CaseIterable {
        /// The load asks for as many as there are.
        case steady = "the load fits"
        case moreLoad = "more load"
        case lessLoad = "less load"
        /// Fewer would do, but not for long enough yet.
        case downscaleHeld = "held until the downscale stabilization period is over"
        /// More are wanted, but not for long enough yet.
        case upscaleHeld = "held until the upscale stabilization period is over"
        /// A request waits and there is no replica at all.
        case wakeFromZero = "a request waits and there is no replica"
        /// The load is not known: the present number stays.
        case insufficientData = "the load is not known"
    }

    package var replicas: Int
    package var reason: Reason

    package init(replicas: Int, reason: Reason) {
        self.replicas = replicas
        self.reason = reason
    }
}
