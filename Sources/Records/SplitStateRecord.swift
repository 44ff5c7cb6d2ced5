package import Core

/// A splitter's state as a store keeps it. What ``DeployedAPIRecord`` says of formats and fields holds here too.
package struct SplitStateRecord: Codable, Sendable {
    package static let format = 1

    package var state: SplitState

    package init(_ state: SplitState) {
        self.state = state
    }

    private enum Key: String, CodingKey { case format, rollBack, owners }
    private enum RollBackKey: String, CodingKey { case api, weight, reason, since }

    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        try NewerFormat.check(record.decodeIfPresent(Int.self, forKey: .format), latest: Self.format)
        state = SplitState(owners: try record.decodeIfPresent([String].self, forKey: .owners))
        if record.contains(.rollBack) {
            let rollBack = try record.nestedContainer(keyedBy: RollBackKey.self, forKey: .rollBack)
            state.rollBack = SplitState.RollBack(
                api: try rollBack.decode(String.self, forKey: .api),
                weight: try rollBack.decode(Int.self, forKey: .weight),
                reason: try rollBack.decode(String.self, forKey: .reason),
                since: try rollBack.decode(Timestamp.self, forKey: .since))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(Self.format, forKey: .format)
        try record.encodeIfPresent(state.owners, forKey: .owners)
        if let value = state.rollBack {
            var rollBack = record.nestedContainer(keyedBy: RollBackKey.self, forKey: .rollBack)
            try rollBack.encode(value.api, forKey: .api)
            try rollBack.encode(value.weight, forKey: .weight)
            try rollBack.encode(value.reason, forKey: .reason)
            try rollBack.encode(value.since, forKey: .since)
        }
    }
}
