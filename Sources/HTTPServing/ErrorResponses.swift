import Core
package import Logging
import NIOCore
import NIOHTTP1
import Synchronization

/// Turns what a handler throws into an answer, and logs what is our own fault.
///
/// The same kind of fault is logged once a second at most, with the number of those left out: a store that is down must
/// not fill the disk with logs.
package final class ErrorResponses: Sendable {
    private struct Seen {
        var loggedAt: NIODeadline
        var leftOut: Int
    }

    private let logger: Logger
    private let seen = Mutex<[PlatformError.Code: Seen]>([:])

    package init(logger: Logger) {
        self.logger = logger
    }

    /// The answer to an error.
    ///
    /// - Throws: ``CallerGone`` as it is: there is no caller to answer.
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
                .internal, "something went wrong inside the server. Its log says what", cause: error)
            log(error)
            return OutgoingResponse(HTTPFault(error))
        }
    }

    private func log(_ error: PlatformError) {
        guard error.code.status.code >= 500, !error.code.isRefusal else { return }
        let now = NIODeadline.now()
        let leftOut = seen.withLock { seen -> Int? in
            guard let last = seen[error.code] else {
                seen[error.code] = Seen(loggedAt: now, leftOut: 0)
                return 0
            }
            guard now - last.loggedAt >= .seconds(1) else {
                seen[error.code]?.leftOut += 1
                return nil
            }
            seen[error.code] = Seen(loggedAt: now, leftOut: 0)
            return last.leftOut
        }
        guard let leftOut else { return }
        logger.error(
            "request failed", metadata: ["error": "\(error)", "not_logged_before": "\(leftOut)"])
    }
}
