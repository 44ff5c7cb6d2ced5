package import Core

/// What a job's submission fixed, as a store keeps it; the version of its API is a ``DeployedAPIRecord`` beside it.
/// What that record says of formats and fields holds here too.
package struct JobRecord: Codable, Sendable {
    package static let format = 1

    package var submission: JobSubmission
    package var createdAt: Timestamp

    package init(_ job: Job) {
        submission = job.submission
        createdAt = job.createdAt
    }

    private enum Key: String, CodingKey {
        case format, workers, timeout, config, ignoredFields, retryOf, schedule, idempotency, batch, task, createdAt
    }
    private enum ScheduleKey: String, CodingKey { case name, plannedAt, isManual }
    private enum IdempotencyKey: String, CodingKey { case key, fingerprint }

    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        try NewerFormat.check(record.decodeIfPresent(Int.self, forKey: .format), latest: Self.format)
        let work: JobSubmission.Work
        if let batch = try record.decodeIfPresent(BatchWorkRecord.self, forKey: .batch) {
            work = .batch(batch.value)
        } else {
            work = .task(try record.decode(TaskWorkRecord.self, forKey: .task).value)
        }
        submission = JobSubmission(
            workers: try record.decode(Int.self, forKey: .workers),
            timeout: try record.decodeIfPresent(Duration.self, forKey: .timeout),
            config: try record.decodeIfPresent(String.self, forKey: .config).map { Array($0.utf8) },
            ignoredFields: try record.value(.ignoredFields, or: []),
            retryOf: try record.decodeIfPresent(RequestID.self, forKey: .retryOf), work: work)
        if record.contains(.schedule) {
            let schedule = try record.nestedContainer(keyedBy: ScheduleKey.self, forKey: .schedule)
            submission.schedule = ScheduledTime(
                name: try schedule.decode(String.self, forKey: .name),
                plannedAt: try schedule.decode(Timestamp.self, forKey: .plannedAt),
                isManual: try schedule.value(.isManual, or: false))
        }
        if record.contains(.idempotency) {
            let idempotency = try record.nestedContainer(keyedBy: IdempotencyKey.self, forKey: .idempotency)
            submission.idempotency = Submission.Idempotency(
                key: try idempotency.decode(String.self, forKey: .key),
                fingerprint: try idempotency.decode([UInt8].self, forKey: .fingerprint))
        }
        createdAt = try record.decode(Timestamp.self, forKey: .createdAt)
    }

    package func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(Self.format, forKey: .format)
        try record.encode(submission.workers, forKey: .workers)
        try record.encodeIfPresent(submission.timeout, forKey: .timeout)
        // It is JSON text, so it is UTF-8.
        try record.encodeIfPresent(submission.config.map { String(decoding: $0, as: UTF8.self) }, forKey: .config)
        if !submission.ignoredFields.isEmpty { try record.encode(submission.ignoredFields, forKey: .ignoredFields) }
        try record.encodeIfPresent(submission.retryOf, forKey: .retryOf)
        if let value = submission.schedule {
            var schedule = record.nestedContainer(keyedBy: ScheduleKey.self, forKey: .schedule)
            try schedule.encode(value.name, forKey: .name)
            try schedule.encode(value.plannedAt, forKey: .plannedAt)
            if value.isManual { try schedule.encode(true, forKey: .isManual) }
        }
        if let value = submission.idempotency {
            var idempotency = record.nestedContainer(keyedBy: IdempotencyKey.self, forKey: .idempotency)
            try idempotency.encode(value.key, forKey: .key)
            try idempotency.encode(value.fingerprint, forKey: .fingerprint)
        }
        switch submission.work {
        case .batch(let work): try record.encode(BatchWorkRecord(work), forKey: .batch)
        case .task(let work): try record.encode(TaskWorkRecord(work), forKey: .task)
        }
        try record.encode(createdAt, forKey: .createdAt)
    }
}

private struct BatchWorkRecord: Codable {
    private var batchSize: Int
    private var maxFailedBatches: Int?
    private var files: FilesRecord?

    private struct FilesRecord: Codable {
        var use: JobSubmission.FileInput.Use
        var paths: [String]
        var includes: [String]?
        var excludes: [String]?
    }

    init(_ work: JobSubmission.BatchWork) {
        batchSize = work.batchSize
        maxFailedBatches = work.maxFailedBatches
        files = work.files.map {
            FilesRecord(use: $0.use, paths: $0.paths, includes: $0.includes, excludes: $0.excludes)
        }
    }

    var value: JobSubmission.BatchWork {
        JobSubmission.BatchWork(
            batchSize: batchSize, maxFailedBatches: maxFailedBatches,
            files: files.map {
                .init(use: $0.use, paths: $0.paths, includes: $0.includes ?? [], excludes: $0.excludes ?? [])
            })
    }
}

private struct TaskWorkRecord: Codable {
    private var args: [String]?
    private var env: [String: String]?
    private var retries: String?
    private var indexes: [Int]?

    init(_ work: JobSubmission.TaskWork) {
        args = work.args
        env = work.env.isEmpty ? nil : work.env
        // It is JSON text, so it is UTF-8.
        retries = work.retries.map { String(decoding: $0, as: UTF8.self) }
        indexes = work.indexes
    }

    var value: JobSubmission.TaskWork {
        JobSubmission.TaskWork(
            args: args, env: env ?? [:], retries: retries.map { Array($0.utf8) }, indexes: indexes)
    }
}
