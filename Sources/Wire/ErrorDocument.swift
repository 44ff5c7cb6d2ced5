package import Core

/// The body of every answer that is not a success: `{"error":{"kind","message"}}` (contract A4).
package struct ErrorDocument: Sendable, Hashable, Codable {
    package var error: Detail

    package init(_ error: Detail) {
        self.error = error
    }

    package init(_ error: PlatformError, problems: [ReportedProblem]? = nil) {
        self.error = Detail(kind: error.code.kind, message: error.message, problems: problems)
    }

    /// The error.
    package struct Detail: Sendable, Hashable, Codable {
        /// A word of ``PlatformError/Code``.
        package var kind: String
        package var message: String
        /// Only for `configuration_invalid`: what `message` says, one by one.
        package var problems: [ReportedProblem]?

        package init(kind: String, message: String, problems: [ReportedProblem]? = nil) {
            self.kind = kind
            self.message = message
            self.problems = problems
        }
    }
}

/// `{"message"}`: the answer of `refresh` and `delete`.
package struct MessageDocument: Sendable, Hashable, Codable {
    package var message: String

    package init(message: String) {
        self.message = message
    }
}

/// One line of the `application/x-ndjson` stream of `GET /logs/{api}`.
///
/// Exactly one of three: a line of a container (`replica`, `container`, `text`), a notice of the platform (`notice`),
/// or the error that ended the stream (`error`). An empty line of the stream is a heartbeat: skip it.
package struct LogLineDocument: Sendable, Hashable, Codable {
    package var replica: String?
    package var container: String?
    /// Only for a job: the index of the worker, and its attempt (contract J12).
    package var worker: Int?
    package var attempt: Int?
    /// The line, without its line end.
    package var text: String?
    /// A message for the reader, not a line of a container.
    package var notice: String?
    package var error: ErrorDocument.Detail?

    package init(
        replica: String, container: String, worker: Int? = nil, attempt: Int? = nil, text: String
    ) {
        self.replica = replica
        self.container = container
        self.worker = worker
        self.attempt = attempt
        self.text = text
    }

    package init(notice: String) {
        self.notice = notice
    }

    package init(error: PlatformError) {
        self.error = ErrorDocument(error).error
    }
}
