/// The right to finish one delivery of a request until it expires.
///
/// `token` grows with every delivery of the request: a finish with an old token changes nothing (fencing, contract
/// A10).
package struct Lease: Sendable, Hashable {
    package var api: String
    package var id: RequestID
    package var token: Int64

    package init(api: String, id: RequestID, token: Int64) {
        self.api = api
        self.id = id
        self.token = token
    }
}

/// Who holds a lease: a replica, served by one run of one process of the platform.
package struct LeaseHolder: Sendable, Hashable {
    /// Made again at each start of a process; without a zero character.
    package var process: String
    package var replica: String

    package init(process: String, replica: String) {
        self.process = process
        self.replica = replica
    }
}

/// A request that a replica has taken from the queue, with all it needs to deliver it.
package struct ClaimedRequest: Sendable {
    package var lease: Lease
    package var payload: Body
    package var headers: [HeaderField]
    package var query: String?
    /// Deliveries before this one that counted.
    package var attempts: Int
    /// Deliveries before this one that ended with ``Outcome/interrupted``.
    package var interruptions: Int
    package var submittedAt: Timestamp
    /// Of a batch of a job; `nil` for a request of an API.
    package var batch: BatchPlace?

    package init(
        lease: Lease, payload: Body, headers: [HeaderField], query: String?, attempts: Int, interruptions: Int = 0,
        submittedAt: Timestamp, batch: BatchPlace? = nil
    ) {
        self.lease = lease
        self.payload = payload
        self.headers = headers
        self.query = query
        self.attempts = attempts
        self.interruptions = interruptions
        self.submittedAt = submittedAt
        self.batch = batch
    }

    package var id: RequestID { lease.id }
}

/// What the store records of a delivery. A delivery that is released instead does not count.
package enum Outcome: Sendable, Hashable {
    /// The container's JSON, verbatim.
    case completed(Body)
    /// The last attempt failed.
    case failed(RequestFailure)
    /// This attempt failed; another may begin at `notBefore`.
    case retry(RequestFailure, notBefore: Timestamp)
    /// The platform itself cut the delivery off, for a reason that the request may have caused (contract C13). The
    /// request returns to its place in the queue. It counts as no attempt, but the store counts the interruptions.
    case interrupted
    /// How a delivery of a batch of a job ended (``JobStore``).
    case batch(BatchOutcome)
    /// How the call after the last batch of a job ended; never ``JobCompletion/running``.
    case completion(JobCompletion)
}

/// Whether a lease was still valid.
package enum LeaseResult: Sendable, Hashable {
    case applied
    /// The lease is old: the request was delivered again, cancelled, ended or deleted. Nothing was changed.
    case stale
}
