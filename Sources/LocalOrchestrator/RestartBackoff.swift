import Core
import Support

/// When something that ended may start again: after 1 s, doubling to 5 minutes, from the beginning once it ran well for
/// 10 minutes (contract C14).
struct RestartBackoff: Sendable, Hashable {
    static let healthy: Duration = .seconds(600)

    /// Ends so far.
    private(set) var count = 0
    private var backoff = Backoff(first: .seconds(1), longest: .seconds(300))

    /// Notes an end and gives the moment of the next start.
    ///
    /// - Parameter startedAt: when what ended had started; `nil` if it never did.
    mutating func ended(startedAt: Instant?, now: Instant) -> Instant {
        if let startedAt, now - startedAt >= Self.healthy { backoff.reset() }
        count += 1
        return now + backoff.next()
    }
}
