import Core
import HTTPTypes

extension PlatformError.Code {
    /// The HTTP status with which the operator answers an error (contract A4).
    var operatorStatus: HTTPResponse.Status {
        switch self {
        case .badRequest, .configurationInvalid, .versionMismatch, .notSupported, .usage: .badRequest
        case .unauthorized: .unauthorized
        case .notFound: .notFound
        case .methodNotAllowed: .methodNotAllowed
        case .conflict: .conflict
        case .payloadTooLarge: .contentTooLarge
        case .idempotencyMismatch: .unprocessableContent
        case .queueFull: .tooManyRequests
        case .storeUnavailable, .unavailable, .engineUnavailable: .serviceUnavailable
        case .imageUnavailable, .containerFailed, .connectionFailed: .badGateway
        case .timedOut: .gatewayTimeout
        default: .internalServerError
        }
    }
}
