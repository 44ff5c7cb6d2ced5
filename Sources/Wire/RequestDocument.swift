package import Core

/// A request as the operator lists it and as `POST /retry` answers it: the gateway's GET document without the result, and with what each attempt said.
package struct RequestDocument: Sendable, Hashable, Codable {
    package var id: RequestID
    package var status: RequestStatus
    /// Deliveries that counted.
    package var attempts: Int
    /// RFC 3339, UTC.
    package var submittedAt: String
    /// When it ended: RFC 3339, UTC.
    package var timestamp: String?
    /// Only for `failed`.
    package var error: RequestFailure?
    /// What went wrong in each attempt that counted, oldest first; left out when none did.
    package var failures: [Attempt]?

    package init(_ record: RequestRecord) {
        self.id = record.id
        self.status = record.status
        self.attempts = record.attempts
        self.submittedAt = record.submittedAt.rfc3339
        self.timestamp = record.endedAt?.rfc3339
        self.error = record.failure
        self.failures = record.failures.isEmpty ? nil : record.failures.map(Attempt.init)
    }

    enum CodingKeys: String, CodingKey {
        case id, status, attempts, timestamp, error, failures
        case submittedAt = "submitted_at"
    }

    /// One attempt that went wrong.
    package struct Attempt: Sendable, Hashable, Codable {
        /// RFC 3339, UTC.
        package var timestamp: String
        package var error: RequestFailure

        package init(_ attempt: AttemptFailure) {
            self.timestamp = attempt.at.rfc3339
            self.error = attempt.failure
        }
    }
}

/// A page of an API's requests, newest first.
package struct RequestListDocument: Sendable, Hashable, Codable {
    package var requests: [RequestDocument]
    /// `before` of the next page; left out when this page was not full, so it was the last one.
    package var next: RequestID?

    package init(requests: [RequestDocument], next: RequestID?) {
        self.requests = requests
        self.next = next
    }
}
