import ContainerHTTP
import Core
import Logging
import Support
import Synchronization

/// What all workers of a dequeuer share.
struct WorkerContext: Sendable {
    let store: any RequestQueue
    let clock: any PlatformClock
    let chance: RandomSource
    let logger: Logger
    let configuration: DequeuerConfiguration
    let hub: ChangeHub
    let transport: any ContainerTransport
    let outage: OutageLog
}

/// A random number generator that many tasks share. Safe from any thread.
final class RandomSource: Sendable {
    private let generator: Mutex<any RandomNumberGenerator & Sendable>

    init(_ generator: any RandomNumberGenerator & Sendable) {
        self.generator = Mutex(generator)
    }

    /// Evenly from 0 up to 1.
    func next() -> Double {
        generator.withLock { Double($0.next() >> 11) * 0x1p-53 }
    }
}

/// Logs a store outage once, and its end once. Safe from any thread.
final class OutageLog: Sendable {
    private let logger: Logger
    private let isOut = Mutex(false)

    init(_ logger: Logger) {
        self.logger = logger
    }

    func failed(_ step: String, _ error: any Error) {
        let isFirst = isOut.withLock { isOut in
            defer { isOut = true }
            return !isOut
        }
        guard isFirst else { return }
        logger.warning(
            "the store does not answer; nothing is lost, it is tried again",
            metadata: ["step": "\(step)", "error": "\(error)"])
    }

    func succeeded() {
        let wasOut = isOut.withLock { isOut in
            defer { isOut = false }
            return isOut
        }
        if wasOut { logger.info("the store answers again") }
    }
}

extension Backoff {
    /// Between two attempts to reach a store that does not answer.
    static let store = Backoff(first: .milliseconds(250), longest: .seconds(5))
    /// Between two attempts to connect within one delivery: a server that has just restarted listens again within a
    /// second.
    static let refusal = Backoff(first: .milliseconds(25), longest: .milliseconds(400))
    /// Between two requests for a replica that is ready and does not connect: it must not use up the attempts of the
    /// queue until its probe fails.
    static let replica = Backoff(first: .milliseconds(250), longest: .seconds(5))
}
