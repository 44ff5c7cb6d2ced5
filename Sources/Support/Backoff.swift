import Core

/// Delays between repeated attempts: doubled from `first` to `longest`.
package struct Backoff: Sendable, Hashable {
    package var first: Duration
    package var longest: Duration
    /// Failures in a row that ``next(chance:)`` has counted.
    private var failures = 0

    package init(first: Duration, longest: Duration) {
        self.first = first
        self.longest = longest
    }

    /// The delay after a number of failures in a row.
    ///
    /// - Parameters:
    ///   - failures: 1 or more.
    ///   - chance: from 0 up to 1. Spreads the delay by up to a fifth to either side, so that many callers do not
    ///     return together; 0.5 is the delay itself.
    package func delay(failures: Int, chance: Double = 0.5) -> Duration {
        let doublings = min(max(0, failures - 1), 62)
        let (doubled, overflow) = first.wholeMicroseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let microseconds = overflow ? longest.wholeMicroseconds : min(doubled, longest.wholeMicroseconds)
        return .microseconds(Int64(Double(microseconds) * (0.8 + 0.4 * chance)))
    }

    /// Counts a failure and returns the delay after it.
    package mutating func next(chance: Double = 0.5) -> Duration {
        failures += 1
        return delay(failures: failures, chance: chance)
    }

    /// The next delay is the first again.
    package mutating func reset() { failures = 0 }
}
