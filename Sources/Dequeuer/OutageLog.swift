import Logging
import Synchronization

/// Logs a store outage once, and its end once.
final class OutageLog: Sendable {
    private let logger: Logger
    private let isOut = Mutex(false)

    init(_ logger: Logger) {
        self.logger = logger
    }

    func failed(_ what: String, _ error: any Error) {
        let isFirst = isOut.withLock { isOut in
            defer { isOut = true }
            return !isOut
        }
        guard isFirst else { return }
        logger.warning(
            "the store does not answer; nothing is lost, it is tried again",
            metadata: ["step": "\(what)", "error": "\(error)"])
    }

    func succeeded() {
        let wasOut = isOut.withLock { isOut in
            defer { isOut = false }
            return isOut
        }
        if wasOut { logger.info("the store answers again") }
    }
}
