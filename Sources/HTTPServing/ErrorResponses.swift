package import Core
package import Logging
import NIOCore
package import NIOHTTP1
import Synchronization

/// Turns errors of handlers into answers, and logs those that are faults of the platform.
///
/// The same kind of fault is logged once a second at most, with the number of those omitted: a store that is down must
/// not fill the disk with logs.
package final class ErrorResponses: Sendable {
    private struct Seen {
        var loggedAt: NIODeadline
        var omitted: Int
    }

    private let logger: Logger
    private let seen = Mutex<[PlatformError.Code: Seen]>([:])

    package init(logger: Logger) {
        self.logger = logger
    }

    /// The answer to an error.
    ///
    /// - Throws: ``CallerGone`` where `error` means that there is no caller to answer.
    package func response(to error: any Error) throws -> OutgoingResponse {
        switch error {
        case let gone as CallerGone: throw gone
        case is CancellationError, is ChannelError: throw CallerGone()
        case let fault as HTTPFault:
            log(fault.error)
            return OutgoingResponse(fault)
        case let error as PlatformError:
            log(error)
            return OutgoingResponse(HTTPFault(error))
        default:
            let error = PlatformError(
                .internal, "the server failed to answer this request. Its log has the cause", cause: error)
            log(error)
            return OutgoingResponse(HTTPFault(error))
        }
    }

    private func log(_ error: PlatformError) {
        guard error.code.status.code >= 500, !error.code.isRefusal else { return }
        let now = NIODeadline.now()
        let omitted = seen.withLock { seen -> Int? in
            guard let last = seen[error.code] else {
                seen[error.code] = Seen(loggedAt: now, omitted: 0)
                return 0
            }
            guard now - last.loggedAt >= .seconds(1) else {
                seen[error.code]?.omitted += 1
                return nil
            }
            seen[error.code] = Seen(loggedAt: now, omitted: 0)
            return last.omitted
        }
        guard let omitted else { return }
        logger.error(
            "request failed", metadata: ["error": "\(error)", "not_logged_before": "\(omitted)"])
    }
}

extension PlatformError.Code {
    /// The HTTP status of the code. No other place maps codes to statuses.
    package var status: HTTPResponseStatus {
        switch self {
        case .badRequest, .configurationInvalid, .versionMismatch, .notSupported, .usage, .onlySupportedForKind,
            .specifyExactlyOneKey, .conflictingFields, .queryParameterRequired, .noFilesFound:
            .badRequest
        case .unauthorized: .unauthorized
        case .forbidden: .forbidden
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .methodNotImplemented: .notImplemented
        case .conflict, .usedByTrafficSplitter, .jobNotInProgress: .conflict
        case _ where isAPIUpdating: .conflict
        case .payloadTooLarge: .payloadTooLarge
        case .idempotencyMismatch: .unprocessableEntity
        case .queueFull: .tooManyRequests
        case .storeUnavailable, .diskLow, .engineUnavailable, .unavailable: .serviceUnavailable
        case .imageUnavailable, .containerFailed, .connectionFailed: .badGateway
        case .timedOut: .gatewayTimeout
        default: .internalServerError
        }
    }

    /// Whether a request is refused because a limit is reached, which is no fault of the platform: the log has an entry
    /// when the limit is reached, not for each request.
    var isRefusal: Bool { self == .diskLow || self == .unavailable || self == .methodNotImplemented }

    /// `Retry-After` in seconds, for errors that end by themselves.
    package var retryAfter: Int? {
        switch self {
        case .queueFull, .storeUnavailable, .unavailable: 1
        case .engineUnavailable, .diskLow: 5
        default: nil
        }
    }
}

/// A ``PlatformError`` with another status than that of its code, or with headers.
package struct HTTPFault: Error, Sendable {
    package var error: PlatformError
    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders

    package init(_ error: PlatformError, status: HTTPResponseStatus? = nil, headers: HTTPHeaders = [:]) {
        self.error = error
        self.status = status ?? error.code.status
        self.headers = headers
    }

    /// 405, with the allowed methods.
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
