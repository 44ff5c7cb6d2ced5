import Core

/// Waits that double from `first` to `longest`.
struct Backoff: Sendable, Hashable {
    var first: Duration
    var longest: Duration

    /// The wait after so many failures in a row (1 and more), spread by a fifth to either side so that many waiters don't come back together.
    ///
    /// - Parameter chance: evenly from 0 up to 1.
    func wait(failures: Int, chance: Double) -> Duration {
        let doublings = min(max(0, failures - 1), 62)
        let (doubled, overflow) = first.wholeMicroseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let microseconds = overflow ? longest.wholeMicroseconds : min(doubled, longest.wholeMicroseconds)
        return .microseconds(Int64(Double(microseconds) * (0.8 + 0.4 * chance)))
    }

    /// For a store that does not answer.
    static let store = Backoff(first: .milliseconds(250), longest: .seconds(5))
    /// Between two tries to connect within one delivery: a server that has just restarted listens again within a second.
    static let refusal = Backoff(first: .milliseconds(25), longest: .milliseconds(400))
    /// For a pod that was thought ready and does not connect: it must not eat the queue's attempts until its probe notices.
    static let replica = Backoff(first: .milliseconds(250), longest: .seconds(5))
}
