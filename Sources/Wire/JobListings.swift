package import Core

// As in JobDocuments.swift, members stand in the order of the CodingKeys.

/// The answer to `GET <base>/schedules` (contract J14). Times are RFC 3339 with the offset of the schedule's zone.
package struct ScheduleListDocument: Sendable, Hashable, Codable {
    package var schedules: [ScheduleDocument]

    package init(schedules: [ScheduleDocument]) {
        self.schedules = schedules
    }
}

package struct ScheduleDocument: Sendable, Hashable, Codable {
    package enum State: String, Sendable, Hashable, Codable {
        case active, suspended
    }

    package var name: String
    /// Either this or ``every``.
    package var cron: String?
    /// Seconds.
    package var every: Double?
    package var timeZone: String
    package var overlap: ScheduleSpecification.Overlap
    package var catchUp: ScheduleSpecification.CatchUp
    package var state: State
    /// The newest planned time that led to a job or a skip.
    package var last: Last?
    /// The next 5 planned times; empty while suspended.
    package var next: [String]
    /// The newest 100.
    package var skipped: [Skip]

    package init(
        _ schedule: ScheduleSpecification, isSuspended: Bool, last: Last?, next: [String], skipped: [Skip]
    ) {
        self.name = schedule.name
        switch schedule.timing {
        case .cron(let expression, _): self.cron = expression.text
        case .every(let period): self.every = period.inSeconds
        }
        self.timeZone = schedule.timeZone
        self.overlap = schedule.overlap
        self.catchUp = schedule.catchUp
        self.state = isSuspended ? .suspended : .active
        self.last = last
        self.next = next
        self.skipped = skipped
    }

    enum CodingKeys: String, CodingKey {
        case name, cron, every
        case timeZone = "time_zone"
        case overlap
        case catchUp = "catch_up"
        case state, last, next, skipped
    }

    package struct Last: Sendable, Hashable, Codable {
        package var plannedAt: String
        package var jobID: RequestID?
        /// The job's status, as long as the job is kept.
        package var status: JobStatus?
        /// Why there is no job.
        package var skipped: String?

        package init(plannedAt: String, jobID: RequestID? = nil, status: JobStatus? = nil, skipped: String? = nil) {
            self.plannedAt = plannedAt
            self.jobID = jobID
            self.status = status
            self.skipped = skipped
        }

        enum CodingKeys: String, CodingKey {
            case plannedAt = "planned_at"
            case jobID = "job_id"
            case status, skipped
        }
    }

    /// Planned times without a job, of one cause.
    package struct Skip: Sendable, Hashable, Codable {
        /// The newest of them.
        package var plannedAt: String
        package var count: Int
        package var reason: String

        package init(plannedAt: String, count: Int, reason: String) {
            self.plannedAt = plannedAt
            self.count = count
            self.reason = reason
        }

        enum CodingKeys: String, CodingKey {
            case plannedAt = "planned_at"
            case count, reason
        }
    }
}

/// The answer to `GET <base>/<id>/artifacts` (contract T6), sorted by worker and path.
package struct ArtifactListDocument: Sendable, Hashable, Codable {
    package var artifacts: [Artifact]
    /// Files that were not kept.
    package var omitted: [Omitted]?

    package init(artifacts: [Artifact], omitted: [Omitted]) {
        self.artifacts = artifacts
        self.omitted = omitted.isEmpty ? nil : omitted
    }

    package struct Artifact: Sendable, Hashable, Codable {
        package var worker: Int
        package var attempt: Int
        package var path: String
        /// Bytes.
        package var size: Int64
        /// Hexadecimal digits.
        package var sha256: String

        package init(worker: Int, attempt: Int, path: String, size: Int64, sha256: String) {
            self.worker = worker
            self.attempt = attempt
            self.path = path
            self.size = size
            self.sha256 = sha256
        }
    }

    package struct Omitted: Sendable, Hashable, Codable {
        package var worker: Int
        package var attempt: Int
        package var path: String
        package var reason: String

        package init(worker: Int, attempt: Int, path: String, reason: String) {
            self.worker = worker
            self.attempt = attempt
            self.path = path
            self.reason = reason
        }
    }
}
