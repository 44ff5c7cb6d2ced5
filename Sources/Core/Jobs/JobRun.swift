/// One attempt of a worker of a TaskAPI's job (contract T2, T3).
package struct JobRun: Sendable, Hashable {
    /// The raw values are sent to callers, except the first: a planned run is not shown.
    package enum Status: String, Sendable, Hashable, Codable, CaseIterable {
        /// Durable, before its pod is started.
        case planned
        case running
        case succeeded
        case exit
        case oom
        case timeout
        case lost
        case stopped
        case startFailed = "start_failed"

        package var isEnded: Bool { self != .planned && self != .running }
    }

    package var worker: Int
    /// From 1. A run that was lost is followed by one with the same number.
    package var attempt: Int
    /// The pod that was started last for it.
    package var pod: String
    package var status: Status
    package var exitCode: Int?
    package var reason: String?
    package var startedAt: Timestamp
    package var endedAt: Timestamp?

    package init(
        worker: Int, attempt: Int, pod: String, status: Status, exitCode: Int? = nil, reason: String? = nil,
        startedAt: Timestamp, endedAt: Timestamp? = nil
    ) {
        self.worker = worker
        self.attempt = attempt
        self.pod = pod
        self.status = status
        self.exitCode = exitCode
        self.reason = reason
        self.startedAt = startedAt
        self.endedAt = endedAt
    }
}

/// A file that the platform keeps of a job: an artifact, a worker's result, or the log of a container.
package struct JobFile: Sendable, Hashable {
    package enum Kind: String, Sendable, Hashable, Codable {
        case artifact
        /// `result.json`, one JSON text.
        case result
        /// The output of a container; the path is its name.
        case log
    }

    package enum Content: Sendable, Hashable {
        /// With the SHA-256 of the bytes; empty for a log.
        case kept(Body, digest: [UInt8])
        /// Only its path is known, and why.
        case omitted(reason: String)
    }

    package var kind: Kind
    package var worker: Int
    package var attempt: Int
    package var path: String
    package var content: Content

    package init(kind: Kind, worker: Int, attempt: Int, path: String, content: Content) {
        self.kind = kind
        self.worker = worker
        self.attempt = attempt
        self.path = path
        self.content = content
    }
}
