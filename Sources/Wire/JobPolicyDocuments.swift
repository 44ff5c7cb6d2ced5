package import Core

/// The members of a ``SpecDocument`` that a BatchAPI and a TaskAPI have. Durations in nanoseconds, sizes in bytes.
package struct JobPolicyDocument: Sendable, Hashable, Codable {
    package var retention: Int64
    package var maxResult: Int64
    @OrNull package var maxConcurrentJobs: Int?
    @OrNull package var maxQueuedJobs: Int?
    package var startTimeout: Int64
    package var schedules: [Schedule]

    init(_ policy: JobPolicy, json: (String) -> JSONValue) {
        self.retention = policy.retention.wholeNanoseconds
        self.maxResult = policy.maxResult
        self.maxConcurrentJobs = policy.maxConcurrentJobs
        self.maxQueuedJobs = policy.maxQueuedJobs
        self.startTimeout = policy.startTimeout.wholeNanoseconds
        self.schedules = policy.schedules.map { Schedule($0, json: json) }
    }

    enum CodingKeys: String, CodingKey {
        case retention, schedules
        case maxResult = "max_result"
        case maxConcurrentJobs = "max_concurrent_jobs"
        case maxQueuedJobs = "max_queued_jobs"
        case startTimeout = "start_timeout"
    }

    /// One of `schedules`: with `cron` and `time_zone`, or with `every`.
    package struct Schedule: Sendable, Hashable, Codable {
        package var name: String
        package var cron: String?
        package var timeZone: String?
        package var every: Int64?
        package var overlap: String
        package var catchUp: String
        package var catchUpWindow: Int64
        package var jitter: Int64
        package var suspended: Bool
        /// The submission; `null` for a reader who may not see it.
        package var job: JSONValue

        init(_ schedule: ScheduleSpecification, json: (String) -> JSONValue) {
            self.name = schedule.name
            switch schedule.timing {
            case .cron(let expression, let timeZone): (self.cron, self.timeZone) = (expression.text, timeZone)
            case .every(let period): self.every = period.wholeNanoseconds
            }
            self.overlap = schedule.overlap.rawValue
            self.catchUp = schedule.catchUp.rawValue
            self.catchUpWindow = schedule.catchUpWindow.wholeNanoseconds
            self.jitter = schedule.jitter.wholeNanoseconds
            self.suspended = schedule.isSuspended
            self.job = json(schedule.job)
        }

        enum CodingKeys: String, CodingKey {
            case name, cron, every, overlap, jitter, suspended, job
            case timeZone = "time_zone"
            case catchUp = "catch_up"
            case catchUpWindow = "catch_up_window"
        }
    }
}

/// The members of a ``SpecDocument`` that only a BatchAPI has. Durations in nanoseconds, sizes in bytes.
package struct BatchPolicyDocument: Sendable, Hashable, Codable {
    package var jobs: JobPolicyDocument
    package var timeout: Int64
    package var keepFailed: Int64
    package var maxPayload: Int64
    package var retries: RetriesDocument

    init(_ batch: BatchSpecification, json: (String) -> JSONValue) {
        self.jobs = JobPolicyDocument(batch.jobs, json: json)
        self.timeout = batch.timeout.wholeNanoseconds
        self.keepFailed = batch.keepFailed.wholeNanoseconds
        self.maxPayload = batch.maxPayload
        self.retries = RetriesDocument(batch.retries)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.jobs = try JobPolicyDocument(from: decoder)
        self.timeout = try container.decode(Int64.self, forKey: .timeout)
        self.keepFailed = try container.decode(Int64.self, forKey: .keepFailed)
        self.maxPayload = try container.decode(Int64.self, forKey: .maxPayload)
        self.retries = try container.decode(RetriesDocument.self, forKey: .retries)
    }

    package func encode(to encoder: any Encoder) throws {
        try jobs.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(timeout, forKey: .timeout)
        try container.encode(keepFailed, forKey: .keepFailed)
        try container.encode(maxPayload, forKey: .maxPayload)
        try container.encode(retries, forKey: .retries)
    }

    enum CodingKeys: String, CodingKey {
        case timeout, retries
        case keepFailed = "keep_failed"
        case maxPayload = "max_payload"
    }
}

/// The members of a ``SpecDocument`` that only a TaskAPI has. Durations in nanoseconds, sizes in bytes.
package struct TaskPolicyDocument: Sendable, Hashable, Codable {
    package var jobs: JobPolicyDocument
    package var timeout: Int64
    package var maxArtifacts: Int64
    package var retries: Retries

    init(_ task: TaskSpecification, json: (String) -> JSONValue) {
        self.jobs = JobPolicyDocument(task.jobs, json: json)
        self.timeout = task.timeout.wholeNanoseconds
        self.maxArtifacts = task.maxArtifacts
        self.retries = Retries(
            maxAttempts: task.retries.maxAttempts, on: task.retries.on.map(\.rawValue).sorted(),
            noRetryExitCodes: task.retries.noRetryExitCodes.sorted(), onLost: task.retries.onLost.rawValue,
            backoff: task.retries.backoff.wholeNanoseconds)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.jobs = try JobPolicyDocument(from: decoder)
        self.timeout = try container.decode(Int64.self, forKey: .timeout)
        self.maxArtifacts = try container.decode(Int64.self, forKey: .maxArtifacts)
        self.retries = try container.decode(Retries.self, forKey: .retries)
    }

    package func encode(to encoder: any Encoder) throws {
        try jobs.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(timeout, forKey: .timeout)
        try container.encode(maxArtifacts, forKey: .maxArtifacts)
        try container.encode(retries, forKey: .retries)
    }

    enum CodingKeys: String, CodingKey {
        case timeout, retries
        case maxArtifacts = "max_artifacts"
    }

    /// `retries` of a TaskAPI.
    package struct Retries: Sendable, Hashable, Codable {
        package var maxAttempts: Int
        package var on: [String]
        package var noRetryExitCodes: [Int]
        package var onLost: String
        /// Nanoseconds.
        package var backoff: Int64

        enum CodingKeys: String, CodingKey {
            case on, backoff
            case maxAttempts = "max_attempts"
            case noRetryExitCodes = "no_retry_exit_codes"
            case onLost = "on_lost"
        }
    }
}
