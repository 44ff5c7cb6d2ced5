/// A stored request.
package struct RequestRecord: Sendable, Hashable {
    package var id: RequestID
    package var api: String
    package var status: RequestStatus
    /// Deliveries that counted.
    package var attempts: Int
    package var submittedAt: Timestamp
    /// When the result or the failure was stored, or it was cancelled; `nil` before.
    package var endedAt: Timestamp?
    /// The container's JSON; only for `completed`.
    package var result: Body?
    /// The reason of the failure; only for `failed`.
    package var failure: RequestFailure?
    /// The failure of each attempt that counted, oldest first.
    package var failures: [AttemptFailure]

    package init(
        id: RequestID, api: String, status: RequestStatus, attempts: Int, submittedAt: Timestamp,
        endedAt: Timestamp? = nil, result: Body? = nil, failure: RequestFailure? = nil, failures: [AttemptFailure] = []
    ) {
        self.id = id
        self.api = api
        self.status = status
        self.attempts = attempts
        self.submittedAt = submittedAt
        self.endedAt = endedAt
        self.result = result
        self.failure = failure
        self.failures = failures
    }
}

/// One failed attempt that counted.
package struct AttemptFailure: Sendable, Hashable, Codable {
    package var at: Timestamp
    package var failure: RequestFailure

    package init(at: Timestamp, failure: RequestFailure) {
        self.at = at
        self.failure = failure
    }
}

/// The number of an API's requests in each status.
package struct QueueCounts: Sendable, Hashable, Codable {
    package var inQueue: Int
    package var inProgress: Int

    package init(inQueue: Int = 0, inProgress: Int = 0) {
        self.inQueue = inQueue
        self.inProgress = inProgress
    }

    enum CodingKeys: String, CodingKey {
        case inQueue = "in_queue"
        case inProgress = "in_progress"
    }
}

/// The requests of an API that a list shows.
package struct RequestFilter: Sendable, Hashable {
    /// `nil` for all.
    package var status: RequestStatus?
    /// Only requests older than this id; `nil` begins with the newest.
    package var before: RequestID?
    /// At most this many, newest first; clamped to ``Limits/listPage``.
    package var limit: Int

    package init(status: RequestStatus? = nil, before: RequestID? = nil, limit: Int = 100) {
        self.status = status
        self.before = before
        self.limit = limit
    }
}
