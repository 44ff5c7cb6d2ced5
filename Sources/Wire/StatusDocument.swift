package import Core

/// How many replicas there are and what they are at. The first four members are the original's, the others are ours.
package struct StatusDocument: Sendable, Hashable, Codable {
    package var ready: Int
    package var requested: Int
    package var upToDate: Int
    /// Only in `describe`.
    package var replicaCounts: ReplicaCounts?
    /// Only in `describe`: every replica there is.
    package var replicas: [ReplicaDocument]?
    /// What holds the whole API back, in one line.
    package var reason: String?
    /// Requests that wait and requests inside replicas; left out when the store could not say.
    package var queue: QueueCounts?
    /// The state in one word: `status_live`, `status_updating` or `status_error`. The published Python package waits
    /// for it (contract O2).
    package var statusCode: String?
    /// Only in `describe`: why there are as many replicas as there are.
    package var autoscaling: ScalingDocument?
    /// Only of a RealtimeAPI.
    package var requests: TrafficDocument?
    /// Only of a TrafficSplitter, which has no replicas.
    package var split: SplitDocument?
    /// Only of a TrafficSplitter.
    package var targets: [SplitTargetDocument]?

    /// - Parameters:
    ///   - queue: only for an AsyncAPI.
    ///   - traffic: only for a RealtimeAPI.
    package init(
        _ status: APIStatus, queue: QueueCounts?, detailed: Bool, autoscaling: ScalingDocument? = nil,
        traffic: TrafficReport? = nil
    ) {
        self.ready = status.ready
        self.requested = status.requested
        self.upToDate = status.upToDate
        self.replicaCounts = detailed ? ReplicaCounts(status) : nil
        self.replicas =
            detailed
            ? status.replicas.map { replica in
                ReplicaDocument(replica, traffic: traffic.map { $0.replicas[replica.id] ?? TrafficReport.Replica() })
            } : nil
        self.reason = status.reason
        self.queue = queue
        self.autoscaling = autoscaling
        self.requests = traffic.map(TrafficDocument.init)
    }

    /// The status of a TrafficSplitter.
    package init(_ split: SplitReport) {
        self.init(APIStatus(requested: 0), queue: nil, detailed: false)
        self.split = SplitDocument(split)
        self.targets = split.targets.map(SplitTargetDocument.init)
    }

    enum CodingKeys: String, CodingKey {
        case ready, requested, replicas, reason, queue, autoscaling, requests, split, targets
        case upToDate = "up_to_date"
        case replicaCounts = "replica_counts"
        case statusCode = "status_code"
    }

    /// Replicas by state; a state without any is 0.
    package struct ReplicaCounts: Sendable, Hashable, Codable {
        package var requested: Int
        package var pending: Int
        package var creating: Int
        package var notReady: Int
        package var ready: Int
        package var readyOutOfDate: Int
        package var errImagePull: Int
        package var terminating: Int
        package var failed: Int
        package var killed: Int
        package var killedOOM: Int
        package var stalled: Int
        package var unknown: Int

        package init(_ status: APIStatus) {
            self.requested = status.requested
            self.pending = status.count(.pending)
            self.creating = status.count(.creating)
            self.notReady = status.count(.notReady)
            self.ready = status.count(.ready)
            self.readyOutOfDate = status.count(.readyOutOfDate)
            self.errImagePull = status.count(.errImagePull)
            self.terminating = status.count(.terminating)
            self.failed = status.count(.failed)
            self.killed = status.count(.killed)
            self.killedOOM = status.count(.killedOOM)
            self.stalled = status.count(.stalled)
            self.unknown = status.count(.unknown)
        }

        enum CodingKeys: String, CodingKey {
            case requested, pending, creating, ready, terminating, failed, killed, stalled, unknown
            case notReady = "not_ready"
            case readyOutOfDate = "ready_out_of_date"
            case errImagePull = "err_image_pull"
            case killedOOM = "killed_oom"
        }

        /// The number of replicas in a state.
        package subscript(state: ReplicaState) -> Int {
            switch state {
            case .pending: pending
            case .creating: creating
            case .notReady: notReady
            case .ready: ready
            case .readyOutOfDate: readyOutOfDate
            case .errImagePull: errImagePull
            case .terminating: terminating
            case .failed: failed
            case .killed: killed
            case .killedOOM: killedOOM
            case .stalled: stalled
            case .unknown: unknown
            }
        }
    }
}

/// One replica in `describe`.
package struct ReplicaDocument: Sendable, Hashable, Codable {
    package var id: String
    package var state: ReplicaState
    /// Why it is not ready, in one line.
    package var reason: String?
    package var restarts: Int
    /// Seconds since 1970.
    package var startedAt: Int64
    /// Requests inside it.
    package var inFlight: Int
    /// What a container wrote last, where that may say why the replica is not ready.
    package var lastLogLines: [String]?
    /// The rest only of a RealtimeAPI: the requests inside now, and the responses of the last minute.
    package var inside: Int?
    package var success2xx: Int?
    package var server5xx: Int?
    /// Milliseconds; `null` without responses.
    package var p99: OrNull<Double>?

    package init(_ replica: ReplicaStatus, traffic: TrafficReport.Replica? = nil) {
        self.id = replica.id
        self.state = replica.state
        self.reason = replica.reason
        self.restarts = replica.restarts
        self.startedAt = replica.startedAt.seconds
        self.inFlight = replica.inFlight
        self.lastLogLines = replica.lastLines.isEmpty ? nil : replica.lastLines
        self.inside = traffic?.inside
        self.success2xx = traffic?.success2xx
        self.server5xx = traffic?.server5xx
        self.p99 = traffic.map { OrNull(wrappedValue: $0.p99) }
    }

    enum CodingKeys: String, CodingKey {
        case id, state, reason, restarts, inside
        case success2xx = "success_2xx"
        case server5xx = "server_5xx"
        case p99 = "p99_ms"
        case startedAt = "started_at"
        case inFlight = "in_flight"
        case lastLogLines = "last_log_lines"
    }
}
