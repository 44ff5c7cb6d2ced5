/// A header field of the caller; `name` in lower case.
package struct HeaderField: Sendable, Hashable, Codable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A request from the gateway that is not yet durable.
package struct Submission: Sendable {
    package var id: RequestID
    package var api: String
    package var payload: Body
    /// The end-to-end headers for the container (contract C3), including `Content-Type`, in the caller's order.
    package var headers: [HeaderField]
    /// The query string as sent, without `?`; `nil` if there was none.
    package var query: String?
    package var idempotency: Idempotency?
    /// When it fails with `expired` unless a replica claimed it; `nil` for never.
    package var queueDeadline: Timestamp?

    package init(
        id: RequestID, api: String, payload: Body, headers: [HeaderField] = [], query: String? = nil,
        idempotency: Idempotency? = nil, queueDeadline: Timestamp? = nil
    ) {
        self.id = id
        self.api = api
        self.payload = payload
        self.headers = headers
        self.query = query
        self.idempotency = idempotency
        self.queueDeadline = queueDeadline
    }

    /// A key under which the same request is accepted only once (contract A6).
    package struct Idempotency: Sendable, Hashable {
        package var key: String
        /// A digest of body, content type and query: the same key with another fingerprint is refused.
        package var fingerprint: [UInt8]

        package init(key: String, fingerprint: [UInt8]) {
            self.key = key
            self.fingerprint = fingerprint
        }
    }
}

/// The result of a submission.
package enum SubmitResult: Sendable, Hashable {
    /// Durable: the request survives any crash.
    case accepted
    /// The idempotency key was used by this earlier request with the same content; nothing was enqueued.
    case duplicate(of: RequestID)
    /// The idempotency key was used with other content.
    case idempotencyMismatch
    /// The API's queue has `max_queue_length` requests.
    case queueFull
    /// No API of this name is deployed (any more).
    case unknownAPI
}
