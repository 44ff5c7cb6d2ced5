/// The status of a job; the raw values are sent to callers. The first three are open, the others are ends (contract
/// J4).
package enum JobStatus: String, Sendable, Hashable, Codable, CaseIterable {
    /// Submitted durably. It waits for its turn or for its first worker.
    case pending
    /// Its input is being listed, and no batch has begun.
    case enqueuing
    case running
    case succeeded
    case completedWithFailures = "completed_with_failures"
    case enqueueFailed = "enqueue_failed"
    case workerError = "worker_error"
    case workerOOM = "worker_oom"
    case timedOut = "timed_out"
    case stopped
    case unexpectedError = "unexpected_error"

    package static let open: Set<JobStatus> = [.pending, .enqueuing, .running]

    package var isOpen: Bool { Self.open.contains(self) }

    /// The statuses from which a job may get this one. Stores apply it: a change that is not here never happens.
    package var origins: Set<JobStatus> {
        switch self {
        case .pending: []
        case .enqueuing: [.pending]
        case .running: [.pending, .enqueuing]
        case .enqueueFailed: [.enqueuing, .running]
        case .succeeded: [.enqueuing, .running]
        case .completedWithFailures: [.running]
        case .workerError, .workerOOM, .timedOut, .stopped, .unexpectedError: Self.open
        }
    }
}

/// Why an open job is being stopped. It is durable before anything is stopped; the status follows when the job's
/// workers are gone (contract J5, J10).
package struct JobStop: Sendable, Hashable {
    /// The end that the job will have.
    package var status: JobStatus
    /// One line, for people.
    package var reason: String

    package init(status: JobStatus, reason: String) {
        self.status = status
        self.reason = reason
    }
}
