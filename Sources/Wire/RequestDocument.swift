package import Core

/// A request as the gateway and the operator show it (contract A2, A3, O3): one shape, of which each answer has the
/// members that it needs.
///
/// The operator encodes this type. The gateway writes ``RequestText``, which has the same members around the
/// container's own result.
package struct RequestDocument: Sendable, Hashable, Codable {
    package var id: RequestID
    package var status: RequestStatus
    /// Deliveries that counted.
    package var attempts: Int
    /// RFC 3339, UTC. The gateway leaves it out.
    package var submittedAt: String?
    /// When it ended: RFC 3339, UTC.
    package var timestamp: String?
    /// Only for `failed`.
    package var error: RequestFailure?
    /// The failure of each attempt that counted, oldest first. The operator omits it if no attempt failed; the gateway
    /// includes it on request.
    package var attemptErrors: [AttemptError]?
    /// ``attemptErrors`` in the form that clients up to version 1.0 read. Only the operator has it.
    package var failures: [Attempt]?

    /// As the operator shows it.
    package init(_ record: RequestRecord) {
        self.id = record.id
        self.status = record.status
        self.attempts = record.attempts
        self.submittedAt = record.submittedAt.rfc3339
        self.timestamp = record.endedAt?.rfc3339
        self.error = record.failure
        if !record.failures.isEmpty {
            self.attemptErrors = record.failures.map(AttemptError.init)
            self.failures = record.failures.map(Attempt.init)
        }
    }

    enum CodingKeys: String, CodingKey {
        case id, status, attempts, timestamp, error, failures
        case submittedAt = "submitted_at"
        case attemptErrors = "attempt_errors"
    }

    /// One failed attempt: the members of the failure, and the time.
    package struct AttemptError: Sendable, Hashable, Codable {
        /// RFC 3339, UTC.
        package var timestamp: String
        package var failure: RequestFailure

        package init(_ attempt: AttemptFailure) {
            self.timestamp = attempt.at.rfc3339
            self.failure = attempt.failure
        }

        package init(from decoder: any Decoder) throws {
            self.timestamp = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .timestamp)
            self.failure = try RequestFailure(from: decoder)
        }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(timestamp, forKey: .timestamp)
            try failure.encode(to: encoder)
        }

        private enum CodingKeys: String, CodingKey {
            case timestamp
        }
    }

    /// One failed attempt, in the form of ``failures``.
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

/// A request as the gateway answers it: compact JSON with the original's order of keys, the result's bytes untouched, a
/// line feed at the end.
///
/// Written by hand because it is on the hot path and a result is never decoded. `RequestTextTests` checks that it reads
/// as a ``RequestDocument``.
package struct RequestText: Sendable {
    /// Up to the result, or as far as the members in front of it where there is none.
    package let head: [UInt8]
    package let result: Body?
    /// After the result.
    package let tail: [UInt8]

    /// - Parameter verbose: whether the failures of all attempts are included.
    package init(_ record: RequestRecord, verbose: Bool = false) {
        var head: [UInt8] = []
        head.reserveCapacity(96)
        Self.append("{\"id\":\"", to: &head)
        record.id.append(to: &head)
        Self.append("\",\"status\":\"", to: &head)
        head.append(contentsOf: record.status.rawValue.utf8)
        head.append(UInt8(ascii: "\""))
        var tail: [UInt8] = []
        tail.reserveCapacity(64)
        if let result = record.result {
            Self.append(",\"result\":", to: &head)
            self.result = result
        } else {
            self.result = nil
        }
        if let ended = record.endedAt {
            Self.append(",\"timestamp\":\"", to: &tail)
            ended.appendRFC3339(to: &tail)
            tail.append(UInt8(ascii: "\""))
        }
        Self.append(",\"attempts\":", to: &tail)
        if record.attempts < 10, record.attempts >= 0 {
            tail.append(UInt8(ascii: "0") + UInt8(record.attempts))
        } else {
            tail.append(contentsOf: String(record.attempts).utf8)
        }
        if let failure = record.failure {
            tail.append(contentsOf: ",\"error\":{".utf8)
            Self.appendMembers(of: failure, to: &tail)
            tail.append(UInt8(ascii: "}"))
        }
        if verbose {
            tail.append(contentsOf: ",\"attempt_errors\":[".utf8)
            for (index, attempt) in record.failures.enumerated() {
                if index > 0 { tail.append(UInt8(ascii: ",")) }
                tail.append(contentsOf: "{\"timestamp\":\"\(attempt.at.rfc3339)\",".utf8)
                Self.appendMembers(of: attempt.failure, to: &tail)
                tail.append(UInt8(ascii: "}"))
            }
            tail.append(UInt8(ascii: "]"))
        }
        Self.append("}\n", to: &tail)
        self.head = head
        self.tail = tail
    }

    private static func append(_ text: StaticString, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends the members of a failure, without braces: `"kind":"…","message":"…"`.
    package static func appendMembers(of failure: RequestFailure, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: "\"kind\":\"\(failure.kind.rawValue)\",\"message\":".utf8)
        JSONText.appendJSONString(failure.message, to: &bytes)
        if let status = failure.statusCode { bytes.append(contentsOf: ",\"status_code\":\(status)".utf8) }
        if let body = failure.body {
            bytes.append(contentsOf: ",\"body\":".utf8)
            JSONText.appendJSONString(body, to: &bytes)
        }
    }
}
