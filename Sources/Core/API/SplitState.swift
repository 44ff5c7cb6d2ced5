/// What is stored of a TrafficSplitter beside its declaration: decisions that a restart must not undo (contract X4,
/// X8). It belongs to one version of the splitter.
package struct SplitState: Sendable, Hashable {
    /// A target that the guard took out of the traffic.
    package struct RollBack: Sendable, Hashable {
        /// The target's name.
        package var api: String
        /// Its declared weight.
        package var weight: Int
        /// The figures that led to it, in one line.
        package var reason: String
        package var since: Timestamp

        package init(api: String, weight: Int, reason: String, since: Timestamp) {
            self.api = api
            self.weight = weight
            self.reason = reason
            self.since = since
        }
    }

    /// `nil`: the declared weights are in force.
    package var rollBack: RollBack?
    /// The names of the targets that own the 100 buckets of sticky keys; `nil` where they follow from the weights.
    package var owners: [String]?

    package init(rollBack: RollBack? = nil, owners: [String]? = nil) {
        self.rollBack = rollBack
        self.owners = owners
    }
}
