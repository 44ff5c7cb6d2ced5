import AsyncHTTPClient
package import Core
package import Foundation
package import NIOCore
import NIOHTTP1
import NIOPosix
import Wire

/// The server of a call, for errors that name the address and the next step.
package struct Peer: Sendable, Hashable {
    /// Scheme, host and port.
    package var address: String
    /// Name of the environment it belongs to.
    package var environment: String

    package init(address: String, environment: String) {
        self.address = address
        self.environment = environment
    }

    /// What an error of the HTTP client means to a person.
    package func error(for error: any Error) -> any Error {
        if error is CancellationError || error is PlatformError { return error }
        if let error = error as? HTTPClientError {
            switch error {
            case .cancelled: return CancellationError()
            case .connectTimeout:
                return failed("\(address) cannot be reached (no answer to a connection)", error)
            case .deadlineExceeded, .readTimeout, .writeTimeout:
                return PlatformError(.timedOut, "\(address) took too long to answer; try again", cause: error)
            case .remoteConnectionClosed:
                return PlatformError(
                    .connectionFailed, "\(address) closed the connection before it had answered; is it shutting down?",
                    cause: error)
            case _ where Self.isHeaderError(error):
                // The error's own text would show the value, which may be the token.
                return PlatformError(
                    .usage,
                    "a header, or the token of the environment \(environment), has a character that HTTP does not allow "
                        + "(a line break?); correct it")
            default:
                return PlatformError(
                    .connectionFailed, "talking to \(address) failed: \(error.shortDescription)", cause: error)
            }
        }
        if let error = error as? NIOConnectionError {
            if error.connectionErrors.isEmpty {
                return failed("the host name \"\(error.host)\" is not known", error)
            }
            return failed("nothing answers at \(address)", error)
        }
        if let error = error as? IOError {
            switch error.errnoCode {
            // ENOENT: the socket of a platform that has stopped.
            case ECONNREFUSED, ENOENT, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT:
                return failed("nothing answers at \(address)", error)
            default:
                let reason = String(cString: strerror(error.errnoCode))
                return PlatformError(
                    .connectionFailed, "the connection to \(address) was lost: \(reason)", cause: error)
            }
        }
        let name = String(describing: type(of: error))
        if name.contains("SSL") || name.contains("TLS") {
            return PlatformError(
                .connectionFailed,
                "no trusted connection to \(address): its certificate is not accepted here, or it does not speak https",
                cause: error)
        }
        return PlatformError(.connectionFailed, "talking to \(address) failed: \(error)", cause: error)
    }

    /// The error of an address where nothing listens.
    func nothingAnswers(_ cause: any Error) -> PlatformError { failed("nothing answers at \(address)", cause) }

    private func failed(_ what: String, _ cause: any Error) -> PlatformError {
        PlatformError(
            .connectionFailed,
            "\(what) (environment \(environment)); start a platform on this machine with: cortex up"
                + " (or correct the address with: cortex env configure \(environment) -o URL)", cause: cause)
    }

    private static func isHeaderError(_ error: HTTPClientError) -> Bool {
        [HTTPClientError.invalidHeaderFieldNames([]), .invalidHeaderFieldValues([])].contains {
            $0.shortDescription == error.shortDescription
        }
    }

    /// Whether this status means that a proxy does not reach the platform now (contract O3).
    private static func isAway(_ status: UInt) -> Bool {
        [408, 425, 500, 502, 503, 504].contains(status) || (520..<530).contains(status)
    }

    /// Where to find a token. The server does not tell callers without one (contract A4).
    private var tokenHint: String {
        if address.contains(ClusterNames.operatorService) || address.contains(ClusterNames.operatorIngress) {
            return
                "a pod's token is good for as long as its replica runs; pods of an earlier platform need: cortex refresh API"
        }
        return "the platform keeps its token in tokens.json in its data directory; give it with:"
            + " cortex env configure \(environment) -o \(address) --token-stdin (or CORTEX_TOKEN, or at the prompt)"
    }

    /// The error that an answer other than a success stands for.
    package func error(for reply: Reply) -> PlatformError {
        let detail = try? JSONDecoder().decode(ErrorDocument.self, from: Data(buffer: reply.body)).error
        if detail == nil, Self.isAway(reply.status.code) {
            return PlatformError(
                .unavailable,
                "\(address) answered \(reply.status.code) \(reply.status.reasonPhrase), and not in the platform's words: "
                    + "what stands before the platform does not reach it; try again later")
        }
        let code =
            detail.flatMap { PlatformError.Code(kind: $0.kind) } ?? PlatformError.Code(status: reply.status.code)
        var message = detail?.message ?? "\(address) answered \(reply.status.code) \(reply.status.reasonPhrase)"
        if detail == nil { message += "; is a Cortex \(CortexVersion.current) there?" }
        if code == .unauthorized { message += "; \(tokenHint)" }
        let problems = detail?.problems ?? []
        return PlatformError(code, message, cause: problems.isEmpty ? nil : RejectedFile(problems: problems))
    }
}

/// The cause of `configuration_invalid` when the server listed the problems.
package struct RejectedFile: Error, Sendable {
    package var problems: [ReportedProblem]
}

extension Data {
    /// A copy of a buffer's readable bytes.
    package init(buffer: ByteBuffer) {
        self.init(buffer.readableBytesView)
    }
}

extension PlatformError.Code {
    /// All codes that a server sends.
    private static let wire: [PlatformError.Code] =
        [
            .badRequest, .unauthorized, .forbidden, .notFound, .methodNotAllowed, .conflict, .usedByTrafficSplitter,
            .payloadTooLarge, .idempotencyMismatch,
            .queueFull, .configurationInvalid, .versionMismatch, .notSupported, .storeUnavailable, .storeCorrupt,
            .engineUnavailable, .imageUnavailable, .containerFailed, .timedOut, .unavailable, .connectionFailed, .usage,
            .setup, .internal,
        ] + APIKind.allCases.map(PlatformError.Code.apiUpdating)

    /// The code with this word on the wire. `usage` is this side's own: a server cannot make an exit status of 2.
    init?(kind: String) {
        guard let code = Self.wire.first(where: { $0.kind == kind }) else { return nil }
        self = code == .usage ? .badRequest : code
    }

    /// The nearest code to a status, for answers that are not ours.
    init(status: UInt) {
        switch status {
        case 401: self = .unauthorized
        case 403: self = .forbidden
        case 404: self = .notFound
        case 405: self = .methodNotAllowed
        case 409: self = .conflict
        case 413: self = .payloadTooLarge
        case 422: self = .idempotencyMismatch
        case 429: self = .queueFull
        case 400..<500: self = .badRequest
        case 503: self = .unavailable
        default: self = .internal
        }
    }
}
