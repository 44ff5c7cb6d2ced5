package import Core
package import NIOHTTP1

extension PlatformError.Code {
    /// The HTTP status that goes with it; the only place where codes and statuses meet.
    package var status: HTTPResponseStatus {
        switch self {
        case .badRequest, .configurationInvalid, .versionMismatch, .notSupported, .usage: .badRequest
        case .unauthorized: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .conflict, .apiUpdating: .conflict
        case .payloadTooLarge: .payloadTooLarge
        case .idempotencyMismatch: .unprocessableEntity
        case .queueFull: .tooManyRequests
        case .storeUnavailable, .diskLow, .engineUnavailable, .unavailable: .serviceUnavailable
        case .imageUnavailable, .containerFailed, .connectionFailed: .badGateway
        case .timedOut: .gatewayTimeout
        default: .internalServerError
        }
    }

    /// Whether a request is refused because a limit is reached, which is no fault of the platform: its log says when
    /// the limit is reached, not whom that concerns.
    var isRefusal: Bool { self == .diskLow || self == .unavailable }

    /// `Retry-After` in seconds, where waiting helps.
    package var retryAfter: Int? {
        switch self {
        case .queueFull, .storeUnavailable, .unavailable: 1
        case .engineUnavailable, .diskLow: 5
        default: nil
        }
    }
}

/// A ``PlatformError`` that says more than its code does: another status, or headers.
package struct HTTPFault: Error, Sendable {
    package var error: PlatformError
    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders

    package init(_ error: PlatformError, status: HTTPResponseStatus? = nil, headers: HTTPHeaders = [:]) {
        self.error = error
        self.status = status ?? error.code.status
        self.headers = headers
    }

    /// 405, with the methods that there are.
    package static func methodNotAllowed(_ method: HTTPMethod, allowed: [HTTPMethod]) -> HTTPFault {
        let list = allowed.map(\.rawValue).joined(separator: ", ")
        return HTTPFault(
            PlatformError(.methodNotAllowed, "\(method.rawValue) is not possible here. Use \(list)"),
            headers: ["Allow": list])
    }
}

extension OutgoingResponse {
    /// `{"error":{"kind","message"}}` with the right status (contract A4).
    package init(_ fault: HTTPFault) {
        var document = Array("{\"error\":{\"kind\":".utf8)
        JSONText.appendJSONString(fault.error.code.kind, to: &document)
        document.append(contentsOf: ",\"message\":".utf8)
        JSONText.appendJSONString(fault.error.message, to: &document)
        document.append(contentsOf: "}}\n".utf8)
        self = .json(document, status: fault.status, headers: fault.headers)
        if let seconds = fault.error.code.retryAfter, !headers.contains(name: "Retry-After") {
            headers.add(name: "Retry-After", value: String(seconds))
        }
    }
}
