import Core

/// The parts of a ``DeployedAPIRecord`` that a BatchAPI and a TaskAPI have.
struct JobsRecord: Codable {
    var value: JobPolicy

    private enum Key: String, CodingKey {
        case retention, maxResult, maxConcurrentJobs, maxQueuedJobs, startTimeout, schedules
    }

    init(value: JobPolicy) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let standard = JobPolicy()
        value = JobPolicy(
            retention: try record.value(.retention, or: standard.retention),
            maxResult: try record.value(.maxResult, or: standard.maxResult),
            maxConcurrentJobs: try record.decodeIfPresent(Int.self, forKey: .maxConcurrentJobs),
            maxQueuedJobs: try record.decodeIfPresent(Int.self, forKey: .maxQueuedJobs),
            startTimeout: try record.value(.startTimeout, or: standard.startTimeout),
            schedules: try record.value(.schedules, or: [ScheduleRecord]()).map(\.value))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.retention, forKey: .retention)
        try record.encode(value.maxResult, forKey: .maxResult)
        try record.encodeIfPresent(value.maxConcurrentJobs, forKey: .maxConcurrentJobs)
        try record.encodeIfPresent(value.maxQueuedJobs, forKey: .maxQueuedJobs)
        try record.encode(value.startTimeout, forKey: .startTimeout)
        if !value.schedules.isEmpty {
            try record.encode(value.schedules.map(ScheduleRecord.init(value:)), forKey: .schedules)
        }
    }
}

private struct ScheduleRecord: Codable {
    var value: ScheduleSpecification

    private enum Key: String, CodingKey {
        case name, cron, timeZone, every, overlap, catchUp, catchUpWindow, jitter, isSuspended, job
    }

    init(value: ScheduleSpecification) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let timing: ScheduleSpecification.Timing
        if let text = try record.decodeIfPresent(String.self, forKey: .cron) {
            timing = .cron(try CronExpression(text), timeZone: try record.value(.timeZone, or: "UTC"))
        } else {
            timing = .every(try record.decode(Duration.self, forKey: .every))
        }
        let standard = ScheduleSpecification(name: "", timing: timing)
        value = ScheduleSpecification(
            name: try record.decode(String.self, forKey: .name), timing: timing,
            overlap: try record.value(.overlap, or: standard.overlap),
            catchUp: try record.value(.catchUp, or: standard.catchUp),
            catchUpWindow: try record.value(.catchUpWindow, or: standard.catchUpWindow),
            jitter: try record.value(.jitter, or: standard.jitter),
            isSuspended: try record.value(.isSuspended, or: standard.isSuspended),
            job: try record.value(.job, or: standard.job))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.name, forKey: .name)
        switch value.timing {
        case .cron(let expression, let timeZone):
            try record.encode(expression.text, forKey: .cron)
            try record.encode(timeZone, forKey: .timeZone)
        case .every(let period): try record.encode(period, forKey: .every)
        }
        try record.encode(value.overlap, forKey: .overlap)
        try record.encode(value.catchUp, forKey: .catchUp)
        try record.encode(value.catchUpWindow, forKey: .catchUpWindow)
        try record.encode(value.jitter, forKey: .jitter)
        try record.encode(value.isSuspended, forKey: .isSuspended)
        try record.encode(value.job, forKey: .job)
    }
}

/// What only a BatchAPI has.
struct BatchRecord: Codable {
    private var timeout: Duration?
    private var retries: RetriesRecord?
    private var keepFailed: Duration?
    private var maxPayload: Int64?

    init(_ batch: BatchSpecification) {
        timeout = batch.timeout
        retries = RetriesRecord(batch.retries)
        keepFailed = batch.keepFailed
        maxPayload = batch.maxPayload
    }

    func value(pod: PodSpecification, jobs: JobPolicy) -> BatchSpecification {
        let standard = BatchSpecification(pod: pod)
        return BatchSpecification(
            pod: pod, jobs: jobs, timeout: timeout ?? standard.timeout,
            retries: retries?.value(standard.retries) ?? standard.retries,
            keepFailed: keepFailed ?? standard.keepFailed, maxPayload: maxPayload ?? standard.maxPayload)
    }
}

/// What only a TaskAPI has.
struct TaskRecord: Codable {
    private var timeout: Duration?
    private var retries: Retries?
    private var maxArtifacts: Int64?

    private struct Retries: Codable {
        var maxAttempts: Int?
        var on: [TaskRetryPolicy.Reason]?
        var noRetryExitCodes: [Int]?
        var onLost: TaskRetryPolicy.LossRule?
        var backoff: Duration?
    }

    init(_ task: TaskSpecification) {
        timeout = task.timeout
        retries = Retries(
            maxAttempts: task.retries.maxAttempts, on: task.retries.on.sorted { $0.rawValue < $1.rawValue },
            noRetryExitCodes: task.retries.noRetryExitCodes.sorted(), onLost: task.retries.onLost,
            backoff: task.retries.backoff)
        maxArtifacts = task.maxArtifacts
    }

    func value(pod: PodSpecification, jobs: JobPolicy) -> TaskSpecification {
        let standard = TaskSpecification(pod: pod)
        var value = TaskSpecification(
            pod: pod, jobs: jobs, timeout: timeout ?? standard.timeout,
            maxArtifacts: maxArtifacts ?? standard.maxArtifacts)
        if let retries {
            value.retries = TaskRetryPolicy(
                maxAttempts: retries.maxAttempts ?? standard.retries.maxAttempts,
                on: retries.on.map(Set.init) ?? standard.retries.on,
                noRetryExitCodes: Set(retries.noRetryExitCodes ?? []),
                onLost: retries.onLost ?? standard.retries.onLost, backoff: retries.backoff ?? standard.retries.backoff)
        }
        return value
    }
}
