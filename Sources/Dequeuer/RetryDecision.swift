package import Core
import Support

extension RetryPolicy {
    /// Whether a failure is of a kind that this policy tries again.
    package func covers(_ failure: RequestFailure) -> Bool {
        switch failure.kind {
        case .containerUnreachable, .replicaLost: on.contains(.unreachable)
        case .timeout: on.contains(.timeout)
        case .containerStatus: on.contains(.status5xx) && (500...599).contains(failure.statusCode ?? 0)
        case .containerNotJSONType, .containerInvalidJSON: on.contains(.invalidResponse)
        case .resultTooLarge, .expired: false
        }
    }

    /// What becomes of a request whose delivery failed (contract A11).
    ///
    /// - Parameters:
    ///   - earlier: deliveries before this one that counted.
    ///   - chance: evenly from 0 up to 1; spreads the wait.
    package func outcome(
        of failure: RequestFailure, earlier: Int, now: Timestamp, chance: Double
    ) -> Outcome {
        let deliveries = earlier + 1
        guard deliveries < maxAttempts, covers(failure) else { return .failed(failure) }
        let wait = Backoff(first: backoff, longest: Limits.retryBackoff).delay(failures: deliveries, chance: chance)
        return .retry(failure, notBefore: now + wait)
    }
}
