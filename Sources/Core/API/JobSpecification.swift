/// The declaration of a BatchAPI without its name and networking (contract B, "Fields of cortex.yaml").
package struct BatchSpecification: Sendable, Hashable {
    /// The pod of one worker.
    package var pod: PodSpecification
    package var jobs: JobPolicy
    /// Per delivery of a batch.
    package var timeout: Duration
    /// Which failed deliveries are repeated (contract B7).
    package var retries: RetryPolicy
    /// How long the items of failed and cancelled batches are kept for a retry of the job (contract B10).
    package var keepFailed: Duration
    /// Bytes of a JSON Lines submission (contract B2).
    package var maxPayload: Int64

    package init(
        pod: PodSpecification, jobs: JobPolicy = .init(), timeout: Duration = .seconds(12 * 3600),
        retries: RetryPolicy = .init(), keepFailed: Duration = .seconds(86_400),
        maxPayload: Int64 = Limits.maxPayload
    ) {
        self.pod = pod
        self.jobs = jobs
        self.timeout = timeout
        self.retries = retries
        self.keepFailed = keepFailed
        self.maxPayload = maxPayload
    }

    /// The rules for the requests of a job's hidden queue: each batch is one request.
    package var requests: RequestPolicy {
        RequestPolicy(
            timeout: timeout, retention: jobs.retention, keepFailed: keepFailed, maxPayload: maxPayload,
            maxResult: jobs.maxResult, retries: retries)
    }
}

/// The declaration of a TaskAPI without its name and networking (contract T, "Fields of cortex.yaml").
package struct TaskSpecification: Sendable, Hashable {
    /// The pod of one worker. ``PodSpecification/port`` and the readiness probes have no meaning here: nothing is sent
    /// to a task.
    package var pod: PodSpecification
    package var jobs: JobPolicy
    /// Per attempt (contract T9).
    package var timeout: Duration
    /// Which ends of an attempt lead to another one (contract T3).
    package var retries: TaskRetryPolicy
    /// Bytes of all artifacts of one attempt (contract T6).
    package var maxArtifacts: Int64

    package init(
        pod: PodSpecification, jobs: JobPolicy = .init(), timeout: Duration = .seconds(12 * 3600),
        retries: TaskRetryPolicy = .init(), maxArtifacts: Int64 = Limits.maxArtifacts
    ) {
        self.pod = pod
        self.jobs = jobs
        self.timeout = timeout
        self.retries = retries
        self.maxArtifacts = maxArtifacts
    }
}

/// The rules for each job of a BatchAPI or a TaskAPI. A running job keeps those of its version (contract J7).
package struct JobPolicy: Sendable, Hashable {
    /// How long a job is readable after its end (contract J11).
    package var retention: Duration
    /// Bytes of one reply (Batch) or of `result.json` (Task).
    package var maxResult: Int64
    /// The number of jobs that work at the same time; `nil`: no limit (contract J9).
    package var maxConcurrentJobs: Int?
    /// The number of jobs that wait for their turn; `nil`: no limit (contract J9).
    package var maxQueuedJobs: Int?
    /// How long workers may fail to start before the job ends (contract B12, T4). Waiting for capacity does not count.
    package var startTimeout: Duration
    /// In the order of the file.
    package var schedules: [ScheduleSpecification]

    package init(
        retention: Duration = .seconds(7 * 86_400), maxResult: Int64 = Limits.maxResult,
        maxConcurrentJobs: Int? = nil, maxQueuedJobs: Int? = nil, startTimeout: Duration = .seconds(15 * 60),
        schedules: [ScheduleSpecification] = []
    ) {
        self.retention = retention
        self.maxResult = maxResult
        self.maxConcurrentJobs = maxConcurrentJobs
        self.maxQueuedJobs = maxQueuedJobs
        self.startTimeout = startTimeout
        self.schedules = schedules
    }
}

/// `retries` of a TaskAPI: which ends of an attempt are followed by another attempt of the same worker (contract T3).
package struct TaskRetryPolicy: Sendable, Hashable {
    /// An end of an attempt that can be retried.
    package enum Reason: String, Sendable, Hashable, Codable, CaseIterable {
        /// The first container exited with a code other than 0.
        case exit
        /// A container was killed because of its memory limit.
        case oom
        /// The attempt took longer than ``TaskSpecification/timeout``.
        case timeout
    }

    /// What follows an end that the platform or the machine caused.
    package enum LossRule: String, Sendable, Hashable, Codable, CaseIterable {
        /// The worker is started again, and no attempt is counted.
        case retry
        /// The worker fails, so that nothing runs twice.
        case fail
    }

    /// Attempts of one worker in total, including the first.
    package var maxAttempts: Int
    package var on: Set<Reason>
    /// Exit codes, 1 … 255, that end the worker at once, whatever ``on`` says.
    package var noRetryExitCodes: Set<Int>
    package var onLost: LossRule
    /// Delay before the second attempt; doubles with each further one, up to five minutes.
    package var backoff: Duration

    package init(
        maxAttempts: Int = 1, on: Set<Reason> = [], noRetryExitCodes: Set<Int> = [], onLost: LossRule = .retry,
        backoff: Duration = .seconds(1)
    ) {
        self.maxAttempts = maxAttempts
        self.on = on
        self.noRetryExitCodes = noRetryExitCodes
        self.onLost = onLost
        self.backoff = backoff
    }
}
