import Core

/// The state of one API, or of the hidden queue of a job.
struct MemoryAPI {
    /// Always `true` for the queue of a job.
    var isDeployed = false
    /// Newest first; never empty after the first deploy.
    var versions: [DeployedAPI] = []
    var requestedReplicas: Int?
    /// Belongs to the present version.
    var splitState: SplitState?
    var requests: [RequestID: MemoryRequest] = [:]
    var keys: [String: Key] = [:]
    var schedules: [String: ScheduleState] = [:]
    /// Of the queue of a job; `nil` for an API.
    var job: MemoryJob?

    /// The current rules for requests; they survive a deletion that keeps the requests.
    var policy: RequestPolicy { versions.first?.specification.requests ?? RequestPolicy() }

    /// An idempotency key and the request that used it.
    struct Key {
        var fingerprint: [UInt8]
        var id: RequestID
    }
}

/// A job with what was recorded of it; its batches are the requests of its queue.
struct MemoryJob {
    var job: Job
    /// The name of its API.
    let owner: String
    /// Not created yet: only its batches are here.
    var isStaged = true
    /// Its API was deleted while its batches were staged.
    var isVoid = false
    var lines: [RecordedLine] = []
    /// Oldest first.
    var runs: [JobRun] = []
    var files: [JobFile] = []
}

/// One request with all its stored data.
struct MemoryRequest {
    let id: RequestID
    let submittedAt: Timestamp
    let idempotencyKey: String?
    var status = RequestStatus.inQueue
    var attempts = 0
    var interruptions = 0
    var token: Int64 = 0
    /// `nil` after it was erased.
    var payload: Body?
    var headers: [HeaderField]
    var query: String?
    var notBefore: Timestamp?
    var queueDeadline: Timestamp?
    var leaseEnd: Timestamp?
    var holder: LeaseHolder?
    var endedAt: Timestamp?
    /// The end of its retention.
    var purgeAt: Timestamp?
    /// When the kept payload of a failed request is erased.
    var keepUntil: Timestamp?
    var result: Body?
    var failure: RequestFailure?
    var failures: [AttemptFailure] = []
    /// Of a batch of a job.
    var place: BatchPlace?

    init(_ submission: Submission, now: Timestamp) {
        self.id = submission.id
        self.submittedAt = now
        self.idempotencyKey = submission.idempotency?.key
        self.payload = submission.payload
        self.headers = submission.headers
        self.query = submission.query
        self.queueDeadline = submission.queueDeadline
    }

    init(_ batch: Batch, now: Timestamp) {
        self.id = batch.id
        self.submittedAt = now
        self.idempotencyKey = nil
        self.payload = batch.body
        self.headers = []
        self.query = nil
        self.place = BatchPlace(index: batch.index, items: batch.items)
    }

    func isPurged(at now: Timestamp) -> Bool { purgeAt.map { $0 <= now } ?? false }

    func isClaimable(at now: Timestamp) -> Bool {
        status == .inQueue && (notBefore.map { $0 <= now } ?? true) && (queueDeadline.map { now < $0 } ?? true)
    }

    func record(of api: String) -> RequestRecord {
        RequestRecord(
            id: id, api: api, status: status, attempts: attempts, submittedAt: submittedAt, endedAt: endedAt,
            result: result, failure: failure, failures: failures)
    }
}
