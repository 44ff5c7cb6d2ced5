/// The reason for a failed attempt; callers see it as `error` (contract A3).
package struct RequestFailure: Error, Sendable, Hashable, Codable {
    /// The kinds of failure that users see (contract A3).
    package enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// No connection to a ready pod.
        case containerUnreachable = "container_unreachable"
        /// Any status except 200, including redirects.
        case containerStatus = "container_status"
        /// The `Content-Type` is not `application/json`.
        case containerNotJSONType = "container_not_json_type"
        /// The body is not one valid JSON text.
        case containerInvalidJSON = "container_invalid_json"
        /// The attempt took longer than `timeout`.
        case timeout
        /// The connection or the pod was lost after the request had been sent.
        case replicaLost = "replica_lost"
        /// Over `max_result`.
        case resultTooLarge = "result_too_large"
        /// Waited longer than `max_queue_time`.
        case expired
        /// A member of the answer that the platform reads, `X-Cortex-Failed-Items`, makes no sense (contract B6).
        case containerMalformed = "container_malformed"
        /// The container said that these items failed (contract B6).
        case itemFailed = "item_failed"

        /// Whether a container saw the request and answered.
        package var isAnswer: Bool {
            switch self {
            case .containerStatus, .containerNotJSONType, .containerInvalidJSON, .resultTooLarge, .containerMalformed,
                .itemFailed:
                true
            case .containerUnreachable, .timeout, .replicaLost, .expired: false
            }
        }
    }

    package var kind: Kind
    package var message: String
    /// The container's status, for `container_status`.
    package var statusCode: Int?
    /// The first 4 KiB of the container's answer as text, for `container_status`.
    package var body: String?

    package init(_ kind: Kind, _ message: String, statusCode: Int? = nil, body: String? = nil) {
        self.kind = kind
        self.message = message
        self.statusCode = statusCode
        self.body = body
    }

    enum CodingKeys: String, CodingKey {
        case kind, message
        case statusCode = "status_code"
        case body
    }
}
