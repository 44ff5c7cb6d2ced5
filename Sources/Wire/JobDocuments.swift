package import Core

// The members of each document stand in the order of its CodingKeys: `OrderedJSON` writes them (contract, *Documents*).

/// The answer to the submission of a job, and `/cortex/spec/job.json` (contract B1, T1).
package enum JobSubmissionDocument: Sendable, Hashable, Codable {
    case batch(Batch)
    case task(Task)

    package init(_ job: Job) {
        switch job.submission.work {
        case .batch(let work): self = .batch(Batch(job, work))
        case .task(let work): self = .task(Task(job, work))
        }
    }

    package var jobID: RequestID {
        switch self {
        case .batch(let document): document.jobID
        case .task(let document): document.jobID
        }
    }

    package init(from decoder: any Decoder) throws {
        switch try JobKind(from: decoder) {
        case .batch: self = .batch(try Batch(from: decoder))
        case .task: self = .task(try Task(from: decoder))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .batch(let document): try document.encode(to: encoder)
        case .task(let document): try document.encode(to: encoder)
        }
    }

    package struct Batch: Sendable, Hashable, Codable {
        package var jobID: RequestID
        package var apiName: String
        package var kind: APIKind
        package var workers: Int
        /// Always `null`: batches that fail are in the results.
        @OrNull package var deadLetterQueue: String?
        @OrNull package var config: VerbatimJSON?
        /// Seconds.
        @OrNull package var timeout: Int64?
        package var apiID: String
        /// Always empty: the queue of a job has no address.
        package var sqsURL: String
        /// The time of submission, as ``createdTime``.
        package var startTime: String
        package var createdTime: String
        package var maxFailedBatches: Int?
        package var ignoredFields: [String]?
        package var retryOf: RequestID?
        package var schedule: JobScheduleDocument?

        fileprivate init(_ job: Job, _ work: JobSubmission.BatchWork) {
            self.jobID = job.id
            self.apiName = job.api
            self.kind = .batch
            self.workers = job.submission.workers
            self.deadLetterQueue = nil
            self.config = job.submission.config.map { VerbatimJSON($0) }
            self.timeout = job.submission.timeout?.components.seconds
            self.apiID = job.version.id
            self.sqsURL = ""
            self.startTime = job.createdAt.rfc3339
            self.createdTime = job.createdAt.rfc3339
            self.maxFailedBatches = work.maxFailedBatches
            self.ignoredFields = job.submission.ignoredFields.nonEmpty
            self.retryOf = job.submission.retryOf
            self.schedule = job.submission.schedule.map(JobScheduleDocument.init)
        }

        enum CodingKeys: String, CodingKey {
            case jobID = "job_id"
            case apiName = "api_name"
            case kind, workers
            case deadLetterQueue = "sqs_dead_letter_queue"
            case config, timeout
            case apiID = "api_id"
            case sqsURL = "sqs_url"
            case startTime = "start_time"
            case createdTime = "created_time"
            case maxFailedBatches = "max_failed_batches"
            case ignoredFields = "ignored_fields"
            case retryOf = "retry_of"
            case schedule
        }
    }

    package struct Task: Sendable, Hashable, Codable {
        package var jobID: RequestID
        package var apiName: String
        package var kind: APIKind
        package var workers: Int
        @OrNull package var config: VerbatimJSON?
        /// Seconds.
        @OrNull package var timeout: Int64?
        package var apiID: String
        package var specID: String
        package var podID: String
        /// The time of submission, as ``createdTime``.
        package var startTime: String
        package var createdTime: String
        package var args: [String]?
        package var env: [String: String]?
        package var ignoredFields: [String]?
        package var retryOf: RequestID?
        package var schedule: JobScheduleDocument?

        fileprivate init(_ job: Job, _ work: JobSubmission.TaskWork) {
            self.jobID = job.id
            self.apiName = job.api
            self.kind = .task
            self.workers = job.submission.workers
            self.config = job.submission.config.map { VerbatimJSON($0) }
            self.timeout = job.submission.timeout?.components.seconds
            self.apiID = job.version.id
            self.specID = job.version.specID
            self.podID = job.version.podID
            self.startTime = job.createdAt.rfc3339
            self.createdTime = job.createdAt.rfc3339
            self.args = work.args
            self.env = work.env.isEmpty ? nil : work.env
            self.ignoredFields = job.submission.ignoredFields.nonEmpty
            self.retryOf = job.submission.retryOf
            self.schedule = job.submission.schedule.map(JobScheduleDocument.init)
        }

        enum CodingKeys: String, CodingKey {
            case jobID = "job_id"
            case apiName = "api_name"
            case kind, workers, config, timeout
            case apiID = "api_id"
            case specID = "spec_id"
            case podID = "pod_id"
            case startTime = "start_time"
            case createdTime = "created_time"
            case args, env
            case ignoredFields = "ignored_fields"
            case retryOf = "retry_of"
            case schedule
        }
    }
}

/// The schedule that made a job.
package struct JobScheduleDocument: Sendable, Hashable, Codable {
    package var name: String
    package var plannedAt: String
    /// `true` for `schedule run`, otherwise absent.
    package var manual: Bool?

    package init(_ time: ScheduledTime) {
        self.name = time.name
        self.plannedAt = time.plannedAt.rfc3339
        self.manual = time.isManual ? true : nil
    }

    enum CodingKeys: String, CodingKey {
        case name
        case plannedAt = "planned_at"
        case manual
    }
}

/// The answer to `GET <base>/<id>`.
package enum JobDocument: Sendable, Hashable, Codable {
    case batch(Batch)
    case task(Task)

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try JobKind(from: try container.superDecoder(forKey: .jobStatus)) {
        case .batch: self = .batch(try Batch(from: decoder))
        case .task: self = .task(try Task(from: decoder))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .batch(let document): try document.encode(to: encoder)
        case .task(let document): try document.encode(to: encoder)
        }
    }

    package var jobStatus: JobStatusDocument {
        switch self {
        case .batch(let document): .batch(document.jobStatus)
        case .task(let document): .task(document.jobStatus)
        }
    }

    package var endpoint: String {
        switch self {
        case .batch(let document): document.endpoint
        case .task(let document): document.endpoint
        }
    }

    private enum CodingKeys: String, CodingKey {
        case jobStatus = "job_status"
    }

    package struct Batch: Sendable, Hashable, Codable {
        /// A ``SpecDocument``, as in `GET /get`.
        package var apiSpec: VerbatimJSON
        package var jobStatus: BatchJobStatusDocument
        package var metrics: Metrics
        /// The endpoint of the API with the parameter `jobID`.
        package var endpoint: String

        package init(apiSpec: VerbatimJSON, jobStatus: BatchJobStatusDocument, metrics: Metrics, endpoint: String) {
            self.apiSpec = apiSpec
            self.jobStatus = jobStatus
            self.metrics = metrics
            self.endpoint = endpoint
        }

        enum CodingKeys: String, CodingKey {
            case apiSpec = "api_spec"
            case jobStatus = "job_status"
            case metrics, endpoint
        }
    }

    /// Deliveries of a Batch job.
    package struct Metrics: Sendable, Hashable, Codable {
        /// Those that ended with success for all their items.
        package var succeeded: Int64
        /// All other attempts.
        package var failed: Int64
        /// Seconds; `null` before the first success.
        @OrNull package var averageTimePerBatch: Double?

        package init(_ counts: JobCounts) {
            self.succeeded = counts.deliveriesSucceeded
            self.failed = counts.deliveriesFailed
            self.averageTimePerBatch =
                counts.deliveriesSucceeded > 0 ? counts.busy.inSeconds / Double(counts.deliveriesSucceeded) : nil
        }

        enum CodingKeys: String, CodingKey {
            case succeeded, failed
            case averageTimePerBatch = "average_time_per_batch"
        }
    }

    package struct Task: Sendable, Hashable, Codable {
        /// A ``SpecDocument``, as in `GET /get`.
        package var apiSpec: VerbatimJSON
        package var jobStatus: TaskJobStatusDocument
        /// The endpoint of the API with the parameter `jobID`.
        package var endpoint: String

        package init(apiSpec: VerbatimJSON, jobStatus: TaskJobStatusDocument, endpoint: String) {
            self.apiSpec = apiSpec
            self.jobStatus = jobStatus
            self.endpoint = endpoint
        }

        enum CodingKeys: String, CodingKey {
            case apiSpec = "api_spec"
            case jobStatus = "job_status"
            case endpoint
        }
    }
}

/// The answer to `GET <base>`: a page of jobs, newest first.
package struct JobListDocument: Sendable, Hashable, Codable {
    package var jobs: [JobStatusDocument]
    /// `before` of the next page; absent on the last one.
    package var next: RequestID?

    package init(jobs: [JobStatusDocument], next: RequestID?) {
        self.jobs = jobs
        self.next = next
    }
}
