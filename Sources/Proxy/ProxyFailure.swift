import Core
import HTTPServing
import NIOCore
import NIOHTTP1

/// A response that the platform writes in place of a container (contract R16).
struct ProxyFailure: Error, Sendable {
    let status: HTTPResponseStatus
    let kind: String
    let message: String
    /// The error type of `Proxy-Status` (RFC 9209).
    let type: String
    var retryAfter: Int?
    var headers: HTTPHeaders = [:]

    init(
        _ status: HTTPResponseStatus, _ kind: String, _ message: String, type: String, retryAfter: Int? = nil,
        headers: HTTPHeaders = [:]
    ) {
        self.status = status
        self.kind = kind
        self.message = message
        self.type = type
        self.retryAfter = retryAfter
        self.headers = headers
    }

    // MARK: Requests that are refused

    static func method(_ method: HTTPMethod) -> ProxyFailure {
        ProxyFailure(
            .methodNotAllowed, "method_not_allowed", "\(method.rawValue) is not forwarded to containers",
            type: "http_request_denied", headers: ["Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"])
    }

    static let target = ProxyFailure(
        .badRequest, "bad_request", "the target may have visible ASCII characters only. Percent-encode others",
        type: "http_request_error")

    static func value(_ field: String) -> ProxyFailure {
        ProxyFailure(
            .badRequest, "bad_request",
            "the value of the header \(JSONText.quoted(field)) is not valid UTF-8. Encode it, for example in Base64",
            type: "http_request_error")
    }

    static func payloadTooLarge(limit: Int64) -> ProxyFailure {
        ProxyFailure(
            .payloadTooLarge, "payload_too_large",
            "the body has more than the \(limit) bytes that are allowed here (max_payload)", type: "http_request_error")
    }

    static func unknownTarget(_ name: String) -> ProxyFailure {
        ProxyFailure(
            .badRequest, "bad_request",
            "X-Cortex-Target names \(JSONText.quoted(name)), which is no target of this splitter",
            type: "http_request_error")
    }

    static func missingTarget(_ name: String) -> ProxyFailure {
        ProxyFailure(
            .serviceUnavailable, "no_replica", "\(name) is not deployed", type: "destination_unavailable",
            retryAfter: 1)
    }

    /// A fault of the request that the server found.
    static func request(_ fault: HTTPFault) -> ProxyFailure {
        ProxyFailure(
            fault.status, fault.error.code.kind, fault.error.message,
            type: fault.status.code >= 500 ? "proxy_internal_response" : "http_request_error",
            retryAfter: fault.error.code.retryAfter, headers: fault.headers)
    }

    static let foreignOrigin = ProxyFailure(
        .forbidden, "forbidden",
        "pages of this origin may not call this API. Add the origin to networking.cors.allow_origins in cortex.yaml",
        type: "http_request_denied")

    /// The answer to a preflight, which is no failure.
    static func preflight(_ response: OutgoingResponse) -> ProxyFailure {
        ProxyFailure(response.status, "", "", type: "", headers: response.headers)
    }

    // MARK: The gate

    static func queueTimeout(_ time: Duration) -> ProxyFailure {
        ProxyFailure(
            .serviceUnavailable, "queue_timeout",
            "the request waited for a replica for \(time.brief), which is max_queue_time. Send it again a little later",
            type: "connection_limit_reached", retryAfter: 1)
    }

    init(_ refusal: GateRefusal, maxQueueTime: Duration) {
        switch refusal {
        case .queueFull(let limit):
            self.init(
                .serviceUnavailable, "queue_full",
                "pending request queue full: \(limit) requests are inside or waiting. Send it again a little later",
                type: "connection_limit_reached", retryAfter: 1)
        case .noReplica(let reason, let retryAfter):
            self.init(
                .serviceUnavailable, "no_replica", reason, type: "destination_unavailable", retryAfter: retryAfter)
        case .deleted:
            self.init(
                .serviceUnavailable, "no_replica", "the API was deleted while the request waited",
                type: "destination_unavailable", retryAfter: 1)
        case .shutdown: self = .shutdown
        case .noFreeSlot: self = .queueTimeout(maxQueueTime)
        }
    }

    static let shutdown = ProxyFailure(
        .serviceUnavailable, "unavailable", "the platform is shutting down. Send it again a little later",
        type: "proxy_internal_response", retryAfter: 1)

    // MARK: Containers

    static func unreachable(port: Int, attempts: Int) -> ProxyFailure {
        ProxyFailure(
            .badGateway, "container_unreachable",
            "the container refused the connection to port \(port) (\(attempts == 1 ? "1 attempt" : "\(attempts) attempts"))",
            type: "connection_refused")
    }

    static func lost(_ reason: String) -> ProxyFailure {
        ProxyFailure(
            .badGateway, "replica_lost",
            "\(reason) before the container answered. It may have begun to work on the request",
            type: "connection_terminated")
    }

    static func malformed(_ reason: String, type: String = "http_protocol_error") -> ProxyFailure {
        ProxyFailure(
            .badGateway, "container_malformed", "the container's answer could not be read: \(reason)", type: type)
    }

    static func malformedValue(of field: String) -> ProxyFailure {
        malformed("the value of its header \(JSONText.quoted(field)) is not UTF-8")
    }

    static func timeout(_ time: Duration, idle: Bool) -> ProxyFailure {
        ProxyFailure(
            .gatewayTimeout, "timeout",
            idle
                ? "no byte moved for \(time.brief), which is idle_timeout"
                : "the container did not answer within \(time.brief), which is timeout", type: "http_response_timeout")
    }

    // MARK: Response

    /// `nil` for a response without a body.
    var body: ByteBuffer? {
        if kind.isEmpty { return nil }
        var document = Array("{\"error\":{\"kind\":".utf8)
        JSONText.appendJSONString(kind, to: &document)
        document.append(contentsOf: ",\"message\":".utf8)
        JSONText.appendJSONString(message, to: &document)
        document.append(contentsOf: "}}\n".utf8)
        return ByteBuffer(bytes: document)
    }

    /// The fields of the response besides those that every response of the proxy has.
    func fields(length: Int?) -> HTTPHeaders {
        guard let length else { return headers }
        var fields: HTTPHeaders = [
            "Content-Type": "application/json", "Cache-Control": "no-store",
            "Proxy-Status": "cortex; error=\(type)", "Content-Length": String(length),
        ]
        if let retryAfter { fields.add(name: "Retry-After", value: String(retryAfter)) }
        fields.add(contentsOf: headers)
        return fields
    }
}

extension Duration {
    /// For messages: `5 min`, `1.5 s`, `200 ms`.
    var brief: String {
        let milliseconds = wholeMicroseconds / 1000
        if milliseconds >= 60_000, milliseconds % 60_000 == 0 { return "\(milliseconds / 60_000) min" }
        if milliseconds >= 1000 {
            return milliseconds % 1000 == 0
                ? "\(milliseconds / 1000) s" : "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
        }
        return "\(milliseconds) ms"
    }
}
