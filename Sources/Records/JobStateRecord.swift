package import Core

/// What changes in a job, as a store keeps it, without its status and its counts. What ``DeployedAPIRecord`` says of
/// formats and fields holds here and for the other records of this file.
package struct JobStateRecord: Codable, Sendable {
    package static let format = 1

    private var format: Int?
    private var reason: String?
    private var runningSince: Timestamp?
    private var endedAt: Timestamp?
    private var stop: StopRecord?
    private var isInputComplete: Bool?
    private var cursor: [UInt8]?
    private var completion: CompletionRecord?

    private struct StopRecord: Codable {
        var status: JobStatus
        var reason: String
    }

    private struct CompletionRecord: Codable {
        var status: String
        var failure: FailureRecord?
    }

    package init(_ job: Job) {
        format = Self.format
        reason = job.reason
        runningSince = job.runningSince
        endedAt = job.endedAt
        stop = job.stop.map { StopRecord(status: $0.status, reason: $0.reason) }
        isInputComplete = job.isInputComplete
        cursor = job.cursor
        completion = job.completion.map {
            switch $0 {
            case .running: CompletionRecord(status: "running")
            case .succeeded: CompletionRecord(status: "succeeded")
            case .notHandled: CompletionRecord(status: "not_handled")
            case .failed(let failure): CompletionRecord(status: "failed", failure: FailureRecord(failure))
            }
        }
    }

    /// Sets what was kept.
    ///
    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package func restore(_ job: inout Job) throws {
        try NewerFormat.check(format, latest: Self.format)
        job.reason = reason
        job.runningSince = runningSince
        job.endedAt = endedAt
        job.stop = stop.map { JobStop(status: $0.status, reason: $0.reason) }
        job.isInputComplete = isInputComplete ?? true
        job.cursor = cursor
        job.completion = try completion.map {
            switch ($0.status, $0.failure) {
            case ("running", _): .running
            case ("succeeded", _): .succeeded
            case ("not_handled", _): .notHandled
            case ("failed", let failure?): .failed(try failure.value())
            default: throw DamagedRecord()
            }
        }
    }
}

/// A run as a store keeps it.
package struct JobRunRecord: Codable, Sendable {
    package static let format = 1

    private var format: Int?
    private var worker: Int
    private var attempt: Int
    private var pod: String
    private var status: JobRun.Status
    private var exitCode: Int?
    private var reason: String?
    private var startedAt: Timestamp
    private var endedAt: Timestamp?

    package init(_ run: JobRun) {
        format = Self.format
        worker = run.worker
        attempt = run.attempt
        pod = run.pod
        status = run.status
        exitCode = run.exitCode
        reason = run.reason
        startedAt = run.startedAt
        endedAt = run.endedAt
    }

    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package func run() throws -> JobRun {
        try NewerFormat.check(format, latest: Self.format)
        return JobRun(
            worker: worker, attempt: attempt, pod: pod, status: status, exitCode: exitCode, reason: reason,
            startedAt: startedAt, endedAt: endedAt)
    }
}

/// A file of a job as a store keeps it, without its kind, worker, attempt and bytes.
package struct JobFileRecord: Codable, Sendable {
    package static let format = 1

    private var format: Int?
    package var path: String
    private var digest: [UInt8]?
    private var omitted: String?

    package init(_ file: JobFile) {
        format = Self.format
        path = file.path
        switch file.content {
        case .kept(_, let digest): self.digest = digest
        case .omitted(let reason): omitted = reason
        }
    }

    /// - Parameter body: the bytes of a file that is kept.
    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package func content(_ body: Body?) throws -> JobFile.Content {
        try NewerFormat.check(format, latest: Self.format)
        if let omitted { return .omitted(reason: omitted) }
        guard let body else { throw DamagedRecord() }
        return .kept(body, digest: digest ?? [])
    }
}

/// The state of a schedule as a store keeps it.
package struct ScheduleStateRecord: Codable, Sendable {
    package static let format = 1

    private var format: Int?
    private var fingerprint: String
    private var lastPlanned: Timestamp
    private var isSuspended: Bool?
    private var waiting: Timestamp?
    private var lastJob: RequestID?
    private var skips: [SkipRecord]?

    private struct SkipRecord: Codable {
        var plannedAt: Timestamp
        var count: Int
        var reason: String
    }

    package init(_ state: ScheduleState) {
        format = Self.format
        fingerprint = state.fingerprint
        lastPlanned = state.lastPlanned
        isSuspended = state.isSuspended
        waiting = state.waiting
        lastJob = state.lastJob
        skips = state.skips.map { SkipRecord(plannedAt: $0.plannedAt, count: $0.count, reason: $0.reason) }
    }

    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package func state() throws -> ScheduleState {
        try NewerFormat.check(format, latest: Self.format)
        return ScheduleState(
            fingerprint: fingerprint, lastPlanned: lastPlanned, isSuspended: isSuspended ?? false, waiting: waiting,
            lastJob: lastJob,
            skips: (skips ?? []).map { .init(plannedAt: $0.plannedAt, count: $0.count, reason: $0.reason) })
    }
}

/// A durable record has values that do not belong together.
package struct DamagedRecord: Error {
    package init() {}
}

/// A ``RequestFailure`` inside another record.
struct FailureRecord: Codable {
    private var kind: String
    private var message: String
    private var statusCode: Int?
    private var body: String?

    private enum CodingKeys: String, CodingKey {
        case kind, message, body
        case statusCode = "status_code"
    }

    init(_ failure: RequestFailure) {
        kind = failure.kind.rawValue
        message = failure.message
        statusCode = failure.statusCode
        body = failure.body
    }

    func value() throws -> RequestFailure {
        guard let kind = RequestFailure.Kind(rawValue: kind) else { throw DamagedRecord() }
        return RequestFailure(kind, message, statusCode: statusCode, body: body)
    }
}
