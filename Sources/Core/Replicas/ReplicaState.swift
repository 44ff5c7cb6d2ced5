/// The state of a replica; the names and JSON keys of `cortex describe` (reference: cortex.md §11).
package enum ReplicaState: String, Sendable, Hashable, Codable, CaseIterable {
    case pending
    case creating
    case notReady = "not_ready"
    case ready
    case readyOutOfDate = "ready_out_of_date"
    case errImagePull = "err_image_pull"
    case terminating
    case failed
    case killed
    case killedOOM = "killed_oom"
    case stalled
    case unknown
}

/// One replica, for `describe`.
package struct ReplicaStatus: Sendable, Hashable {
    package var id: String
    package var state: ReplicaState
    /// The reason why it is not ready, in one line; `nil` if there is none.
    package var reason: String?
    /// Restarts of its containers since it began.
    package var restarts: Int
    package var startedAt: Timestamp
    /// Requests inside it now.
    package var inFlight: Int
    /// The last output of a container that is not ready; empty for a ready one.
    package var lastLines: [String]
    /// Exits of its containers since it was last ready.
    package var exitsInRow: Int
    /// The time until it, or one of its containers, is started again after a failure; `nil` when no start is due.
    package var nextStart: Duration?

    package init(
        id: String, state: ReplicaState, reason: String? = nil, restarts: Int = 0, startedAt: Timestamp,
        inFlight: Int = 0, lastLines: [String] = [], exitsInRow: Int = 0,
        nextStart: Duration? = nil
    ) {
        self.id = id
        self.state = state
        self.reason = reason
        self.restarts = restarts
        self.startedAt = startedAt
        self.inFlight = inFlight
        self.lastLines = lastLines
        self.exitsInRow = exitsInRow
        self.nextStart = nextStart
    }
}

/// An API's replicas as the orchestrator sees them.
package struct APIStatus: Sendable, Hashable {
    /// The wanted number of replicas.
    package var requested: Int
    package var replicas: [ReplicaStatus]
    /// A problem of the whole API, in one line: an image that cannot be pulled, a machine that is full.
    package var reason: String?

    package init(requested: Int, replicas: [ReplicaStatus] = [], reason: String? = nil) {
        self.requested = requested
        self.replicas = replicas
        self.reason = reason
    }

    /// Ready replicas, of either version.
    package var ready: Int { count(.ready) + count(.readyOutOfDate) }
    /// Ready replicas of the current version.
    package var upToDate: Int { count(.ready) }

    /// The number of replicas in that state.
    package func count(_ state: ReplicaState) -> Int {
        replicas.count { $0.state == state }
    }
}
