/// A finite piece of work that was submitted to a BatchAPI or a TaskAPI (contract J).
///
/// What the submission fixed never changes. Stores change the rest, each part only as its own comment says.
package struct Job: Sendable, Hashable {
    /// What the submission fixed, as an object: a version has dozens of members, and stores copy jobs often.
    private let fixed: Fixed

    package var id: RequestID { fixed.id }
    /// The version of its API that was current at submission; the job keeps it (contract J7).
    package var version: DeployedAPI { fixed.version }
    package var submission: JobSubmission { fixed.submission }
    package var createdAt: Timestamp { fixed.createdAt }

    package var status = JobStatus.pending
    /// Why it ended so, or why it does not get on; one line.
    package var reason: String?
    /// When it became ``JobStatus/running``.
    package var runningSince: Timestamp?
    package var endedAt: Timestamp?
    /// Set once, while the job is open: from then on nothing of it is delivered or started.
    package var stop: JobStop?
    package var counts = JobCounts()
    /// Whether all batches of its input exist. A TaskAPI's job has none.
    package var isInputComplete = true
    /// How far its input was listed; a value of the module that lists it.
    package var cursor: [UInt8]?
    /// The call after the last batch (contract B11); `nil` before.
    package var completion: JobCompletion?

    package init(id: RequestID, version: DeployedAPI, submission: JobSubmission, createdAt: Timestamp) {
        self.fixed = Fixed(id: id, version: version, submission: submission, createdAt: createdAt)
    }

    private final class Fixed: Sendable, Hashable {
        let id: RequestID
        let version: DeployedAPI
        let submission: JobSubmission
        let createdAt: Timestamp

        init(id: RequestID, version: DeployedAPI, submission: JobSubmission, createdAt: Timestamp) {
            self.id = id
            self.version = version
            self.submission = submission
            self.createdAt = createdAt
        }

        static func == (left: Fixed, right: Fixed) -> Bool {
            left === right
                || left.id == right.id && left.version == right.version && left.submission == right.submission
                    && left.createdAt == right.createdAt
        }

        func hash(into hasher: inout Hasher) { hasher.combine(id) }
    }

    package var api: String { version.name }
    package var kind: APIKind { version.specification.kind.name }

    /// The name of the queue of its batches, and of the set of its workers. No API has such a name.
    package var queue: String { Self.queue(of: id) }

    package static func queue(of job: RequestID) -> String { "b-\(job)" }
}

/// What a caller submitted.
package struct JobSubmission: Sendable, Hashable {
    package var workers: Int
    /// The longest time from ``Job/runningSince`` to its end; `nil` for no limit.
    package var timeout: Duration?
    /// A JSON object, verbatim; `nil` when there was none.
    package var config: [UInt8]?
    /// Paths of members that mean nothing here.
    package var ignoredFields: [String]
    /// The job of which this one does the rest (contract B10, T3).
    package var retryOf: RequestID?
    /// The schedule that made it.
    package var schedule: ScheduledTime?
    package var idempotency: Submission.Idempotency?
    package var work: Work

    /// The part that depends on the kind.
    package enum Work: Sendable, Hashable {
        case batch(BatchWork)
        case task(TaskWork)
    }

    /// The part of a BatchAPI's job.
    package struct BatchWork: Sendable, Hashable {
        package var batchSize: Int
        package var maxFailedBatches: Int?
        /// What its items are listed from; `nil` when the submission contained them.
        package var files: FileInput?

        package init(batchSize: Int, maxFailedBatches: Int? = nil, files: FileInput? = nil) {
            self.batchSize = batchSize
            self.maxFailedBatches = maxFailedBatches
            self.files = files
        }
    }

    /// Files as input (contract B4).
    package struct FileInput: Sendable, Hashable {
        package enum Use: String, Sendable, Hashable, Codable {
            /// Each URL is an item.
            case paths = "file_path_lister"
            /// Each JSON value in the files is an item.
            case contents = "delimited_files"
        }

        package var use: Use
        /// URLs, each a prefix.
        package var paths: [String]
        package var includes: [String]
        package var excludes: [String]

        package init(use: Use, paths: [String], includes: [String] = [], excludes: [String] = []) {
            self.use = use
            self.paths = paths
            self.includes = includes
            self.excludes = excludes
        }
    }

    /// The part of a TaskAPI's job.
    package struct TaskWork: Sendable, Hashable {
        /// In place of the first container's `args`.
        package var args: [String]?
        /// Added to every container's `env`.
        package var env: [String: String]
        /// The rules of the API with the submission's own members, when it had any: as JSON text.
        package var retries: [UInt8]?
        /// The workers of a retried job that are run again, by their indexes; `nil` for all. ``JobSubmission/workers``
        /// stays the number of the first job.
        package var indexes: [Int]?

        package init(
            args: [String]? = nil, env: [String: String] = [:], retries: [UInt8]? = nil, indexes: [Int]? = nil
        ) {
            self.args = args
            self.env = env
            self.retries = retries
            self.indexes = indexes
        }
    }

    package init(
        workers: Int, timeout: Duration? = nil, config: [UInt8]? = nil, ignoredFields: [String] = [],
        retryOf: RequestID? = nil, schedule: ScheduledTime? = nil, idempotency: Submission.Idempotency? = nil,
        work: Work
    ) {
        self.workers = workers
        self.timeout = timeout
        self.config = config
        self.ignoredFields = ignoredFields
        self.retryOf = retryOf
        self.schedule = schedule
        self.idempotency = idempotency
        self.work = work
    }
}

/// The planned time of a schedule for which a job was made.
package struct ScheduledTime: Sendable, Hashable {
    package var name: String
    package var plannedAt: Timestamp
    /// `schedule run`, beside the plan.
    package var isManual: Bool

    package init(name: String, plannedAt: Timestamp, isManual: Bool = false) {
        self.name = name
        self.plannedAt = plannedAt
        self.isManual = isManual
    }
}

/// The counts of a Batch job (contract B9). They change in the commit that records what they count.
package struct JobCounts: Sendable, Hashable {
    /// Batches made so far, without the call after the last one.
    package var batches: Int64 = 0
    /// Batches that have not ended: they wait, wait for a retry, or are being delivered.
    package var openBatches: Int64 = 0
    /// Those of ``openBatches`` that are being delivered, and their items.
    package var deliveredBatches: Int64 = 0
    package var itemsInProgress: Int64 = 0
    /// Batches of which an item failed finally.
    package var failedBatches: Int64 = 0
    package var items: Int64 = 0
    package var itemsSucceeded: Int64 = 0
    package var itemsFailed: Int64 = 0
    package var itemsCancelled: Int64 = 0
    /// Deliveries that ended with success for all their items, the sum of their durations, and all other attempts.
    package var deliveriesSucceeded: Int64 = 0
    package var busy: Duration = .zero
    package var deliveriesFailed: Int64 = 0
    /// Lines of results recorded so far.
    package var lines: Int64 = 0

    package init() {}

    package var itemsInQueue: Int64 { items - itemsSucceeded - itemsFailed - itemsCancelled - itemsInProgress }
    package var batchesInQueue: Int64 { openBatches - deliveredBatches }
}

/// The state of the call after the last batch (contract B11).
package enum JobCompletion: Sendable, Hashable {
    case running
    case succeeded
    /// The container answered 404.
    case notHandled
    case failed(RequestFailure)
}
