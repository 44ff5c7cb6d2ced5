package import Core

// As in JobDocuments.swift, members stand in the order of the CodingKeys.

/// `job_status` (contract J3, B9, T8).
package enum JobStatusDocument: Sendable, Hashable, Codable {
    case batch(BatchJobStatusDocument)
    case task(TaskJobStatusDocument)

    package var jobID: RequestID {
        switch self {
        case .batch(let document): document.jobID
        case .task(let document): document.jobID
        }
    }

    package var status: JobStatus {
        switch self {
        case .batch(let document): document.status
        case .task(let document): document.status
        }
    }

    package var reason: String? {
        switch self {
        case .batch(let document): document.reason
        case .task(let document): document.reason
        }
    }

    package init(from decoder: any Decoder) throws {
        switch try JobKind(from: decoder) {
        case .batch: self = .batch(try BatchJobStatusDocument(from: decoder))
        case .task: self = .task(try TaskJobStatusDocument(from: decoder))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .batch(let document): try document.encode(to: encoder)
        case .task(let document): try document.encode(to: encoder)
        }
    }
}

/// `job_status` of a BatchAPI's job.
package struct BatchJobStatusDocument: Sendable, Hashable, Codable {
    package var jobID: RequestID
    package var apiName: String
    package var kind: APIKind
    package var workers: Int
    @OrNull package var deadLetterQueue: String?
    @OrNull package var config: VerbatimJSON?
    /// Seconds.
    @OrNull package var timeout: Int64?
    package var apiID: String
    package var sqsURL: String
    package var totalBatchCount: Int64
    package var startTime: String
    package var status: JobStatus
    package var endTime: String?
    package var batchesInQueue: Int64
    /// Only while the job is open.
    package var workerCounts: WorkerCountsDocument?
    package var createdTime: String
    package var runningSince: String?
    /// Whether its input is still being listed.
    package var isEnqueuing: Bool
    package var itemCounts: ItemCounts
    package var reason: String?
    package var retryOf: RequestID?
    package var schedule: JobScheduleDocument?
    package var maxFailedBatches: Int?
    package var ignoredFields: [String]?
    package var onJobComplete: Completion?

    /// - Parameter workers: only used while the job is open.
    package init(_ job: Job, workers: WorkerCountsDocument?) {
        self.jobID = job.id
        self.apiName = job.api
        self.kind = .batch
        self.workers = job.submission.workers
        self.deadLetterQueue = nil
        self.config = job.submission.config.map { VerbatimJSON($0) }
        self.timeout = job.submission.timeout?.components.seconds
        self.apiID = job.version.id
        self.sqsURL = ""
        self.totalBatchCount = job.counts.batches
        self.startTime = job.createdAt.rfc3339
        self.status = job.status
        self.endTime = job.endedAt?.rfc3339
        self.batchesInQueue = job.counts.batchesInQueue
        self.workerCounts = job.status.isOpen ? workers : nil
        self.createdTime = job.createdAt.rfc3339
        self.runningSince = job.runningSince?.rfc3339
        self.isEnqueuing = job.status.isOpen && !job.isInputComplete
        self.itemCounts = ItemCounts(job.counts)
        self.reason = job.shownReason
        self.retryOf = job.submission.retryOf
        self.schedule = job.submission.schedule.map(JobScheduleDocument.init)
        if case .batch(let work) = job.submission.work { self.maxFailedBatches = work.maxFailedBatches }
        self.ignoredFields = job.submission.ignoredFields.nonEmpty
        self.onJobComplete = job.completion.map(Completion.init)
    }

    enum CodingKeys: String, CodingKey {
        case jobID = "job_id"
        case apiName = "api_name"
        case kind, workers
        case deadLetterQueue = "sqs_dead_letter_queue"
        case config, timeout
        case apiID = "api_id"
        case sqsURL = "sqs_url"
        case totalBatchCount = "total_batch_count"
        case startTime = "start_time"
        case status
        case endTime = "end_time"
        case batchesInQueue = "batches_in_queue"
        case workerCounts = "worker_counts"
        case createdTime = "created_time"
        case runningSince = "running_since"
        case isEnqueuing = "is_enqueuing"
        case itemCounts = "item_counts"
        case reason
        case retryOf = "retry_of"
        case schedule
        case maxFailedBatches = "max_failed_batches"
        case ignoredFields = "ignored_fields"
        case onJobComplete = "on_job_complete"
    }

    /// `total` is the sum of the others.
    package struct ItemCounts: Sendable, Hashable, Codable {
        package var total: Int64
        package var succeeded: Int64
        package var failed: Int64
        package var cancelled: Int64
        package var inQueue: Int64
        package var inProgress: Int64

        package init(_ counts: JobCounts) {
            self.total = counts.items
            self.succeeded = counts.itemsSucceeded
            self.failed = counts.itemsFailed
            self.cancelled = counts.itemsCancelled
            self.inQueue = counts.itemsInQueue
            self.inProgress = counts.itemsInProgress
        }

        enum CodingKeys: String, CodingKey {
            case total, succeeded, failed, cancelled
            case inQueue = "in_queue"
            case inProgress = "in_progress"
        }
    }

    /// The call after the last batch (contract B11).
    package struct Completion: Sendable, Hashable, Codable {
        package enum Status: String, Sendable, Hashable, Codable {
            case running, succeeded
            case notHandled = "not_handled"
            case failed
        }

        package var status: Status
        package var error: RequestFailure?

        package init(_ completion: JobCompletion) {
            switch completion {
            case .running: self.status = .running
            case .succeeded: self.status = .succeeded
            case .notHandled: self.status = .notHandled
            case .failed(let failure):
                self.status = .failed
                self.error = failure
            }
        }
    }
}

/// `job_status` of a TaskAPI's job.
package struct TaskJobStatusDocument: Sendable, Hashable, Codable {
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
    package var startTime: String
    package var endTime: String?
    package var status: JobStatus
    /// Only while the job is open.
    package var workerCounts: WorkerCountsDocument?
    package var createdTime: String
    package var runningSince: String?
    package var attempts: [Attempt]
    package var progress: VerbatimJSON?
    /// Of a job with one worker.
    package var result: VerbatimJSON?
    /// Of a job with several workers, by index.
    package var results: [VerbatimJSON?]?
    /// The number of artifacts.
    package var artifacts: Int
    package var reason: String?
    package var retryOf: RequestID?
    package var schedule: JobScheduleDocument?
    package var ignoredFields: [String]?

    /// What a Task job's document says of its workers.
    package struct Work: Sendable, Hashable {
        /// In order of their start, the newest 1000.
        package var runs: [JobRun]
        /// The progress file of each worker that runs and has one: a JSON object.
        package var progress: [Int: [UInt8]]
        /// `result.json` of each worker that has one.
        package var results: [Int: Body]
        /// The number of artifacts.
        package var artifacts: Int

        package init(
            runs: [JobRun] = [], progress: [Int: [UInt8]] = [:], results: [Int: Body] = [:], artifacts: Int = 0
        ) {
            self.runs = runs
            self.progress = progress
            self.results = results
            self.artifacts = artifacts
        }
    }

    /// - Parameter workers: only used while the job is open.
    package init(_ job: Job, workers: WorkerCountsDocument?, work: Work) {
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
        self.endTime = job.endedAt?.rfc3339
        self.status = job.status
        self.workerCounts = job.status.isOpen ? workers : nil
        self.createdTime = job.createdAt.rfc3339
        self.runningSince = job.runningSince?.rfc3339
        self.attempts = work.runs.compactMap(Attempt.init)
        self.progress = Self.progress(work.progress, workers: job.submission.workers)
        if job.submission.workers == 1 {
            self.result = work.results[0].map { .text($0) }
        } else if !work.results.isEmpty {
            self.results = (0..<job.submission.workers).map { worker in work.results[worker].map { .text($0) } }
        }
        self.artifacts = work.artifacts
        self.reason = job.shownReason
        self.retryOf = job.submission.retryOf
        self.schedule = job.submission.schedule.map(JobScheduleDocument.init)
        self.ignoredFields = job.submission.ignoredFields.nonEmpty
    }

    /// Each object with the member `worker` before its own.
    private static func progress(_ objects: [Int: [UInt8]], workers: Int) -> VerbatimJSON? {
        let texts = objects.sorted { $0.key < $1.key }.map { worker, object in
            let members = JSONText.trimmed(Array(JSONText.trimmed(object).dropFirst()))
            let separator = members.first == UInt8(ascii: "}") ? "" : ","
            return Array("{\"worker\":\(worker)\(separator)".utf8) + members
        }
        guard !texts.isEmpty else { return nil }
        if workers == 1 { return VerbatimJSON(texts[0]) }
        return VerbatimJSON([UInt8(ascii: "[")] + texts.joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "]")])
    }

    enum CodingKeys: String, CodingKey {
        case jobID = "job_id"
        case apiName = "api_name"
        case kind, workers, config, timeout
        case apiID = "api_id"
        case specID = "spec_id"
        case podID = "pod_id"
        case startTime = "start_time"
        case endTime = "end_time"
        case status
        case workerCounts = "worker_counts"
        case createdTime = "created_time"
        case runningSince = "running_since"
        case attempts, progress, result, results, artifacts, reason
        case retryOf = "retry_of"
        case schedule
        case ignoredFields = "ignored_fields"
    }

    /// One run of a worker.
    package struct Attempt: Sendable, Hashable, Codable {
        package var worker: Int
        package var attempt: Int
        package var status: JobRun.Status
        package var exitCode: Int?
        package var reason: String?
        package var startedAt: String
        package var endedAt: String?

        /// `nil` for a run that is only planned.
        package init?(_ run: JobRun) {
            guard run.status != .planned else { return nil }
            self.worker = run.worker
            self.attempt = run.attempt
            self.status = run.status
            self.exitCode = run.exitCode
            self.reason = run.reason
            self.startedAt = run.startedAt.rfc3339
            self.endedAt = run.endedAt?.rfc3339
        }

        enum CodingKeys: String, CodingKey {
            case worker, attempt, status
            case exitCode = "exit_code"
            case reason
            case startedAt = "started_at"
            case endedAt = "ended_at"
        }
    }
}

/// `worker_counts`: the number of workers in each state, without zeros (reference: cortex.md §5.5).
package struct WorkerCountsDocument: Sendable, Hashable, Codable {
    package enum State: String, Sendable, Hashable, CaseIterable, CodingKey {
        case pending, creating
        case notReady = "not_ready"
        case ready, succeeded
        case errImagePull = "err_image_pull"
        case terminating, failed, killed
        case killedOOM = "killed_oom"
        case stalled, unknown
    }

    private var counts: [State: Int]

    package init(_ counts: [State: Int] = [:]) { self.counts = counts.filter { $0.value != 0 } }

    package subscript(state: State) -> Int { counts[state] ?? 0 }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: State.self)
        var counts: [State: Int] = [:]
        for state in container.allKeys { counts[state] = try container.decode(Int.self, forKey: state) }
        self.init(counts)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: State.self)
        for state in State.allCases where self[state] != 0 { try container.encode(self[state], forKey: state) }
    }
}

/// The kinds of API that have jobs, read from the member `kind`.
enum JobKind {
    case batch
    case task

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        switch try container.decode(APIKind.self, forKey: .kind) {
        case .batch: self = .batch
        case .task: self = .task
        case let kind:
            throw DecodingError.dataCorruptedError(
                forKey: .kind, in: container, debugDescription: "\(kind.rawValue) has no jobs")
        }
    }

    private enum CodingKeys: CodingKey { case kind }
}

extension Job {
    /// The reason that is shown: while an open job is being stopped, that of the stop.
    var shownReason: String? {
        guard status.isOpen, let stop else { return reason }
        return "the job is being stopped: \(stop.reason)"
    }
}

extension Array {
    var nonEmpty: Self? { isEmpty ? nil : self }
}
