/// A point of time in whole microseconds: what ``Timestamp`` and ``Instant`` have in common. They are two types, so
/// that they cannot be compared.
package protocol TimePoint: Sendable, Hashable, Comparable {
    var microseconds: Int64 { get }
    init(microseconds: Int64)
}

extension TimePoint {
    package static func < (left: Self, right: Self) -> Bool {
        left.microseconds < right.microseconds
    }

    /// Saturates instead of overflowing, so that "never" can be written as a very long duration.
    package static func + (left: Self, right: Duration) -> Self {
        let (sum, overflow) = left.microseconds.addingReportingOverflow(right.wholeMicroseconds)
        guard overflow else { return Self(microseconds: sum) }
        return Self(microseconds: right < .zero ? .min : .max)
    }

    package static func - (left: Self, right: Duration) -> Self {
        let microseconds = right.wholeMicroseconds
        let (difference, overflow) = left.microseconds.subtractingReportingOverflow(microseconds)
        guard overflow else { return Self(microseconds: difference) }
        return Self(microseconds: microseconds > 0 ? .min : .max)
    }

    /// The time from `right` until `left`.
    package static func - (left: Self, right: Self) -> Duration {
        .microseconds(left.microseconds) - .microseconds(right.microseconds)
    }
}

/// A moment of civil time: microseconds since 1970-01-01T00:00:00Z.
///
/// Every rule of the platform takes the present moment as an argument, so that it can be tested and simulated without
/// waiting.
package struct Timestamp: TimePoint, Codable {
    /// Microseconds since the Unix epoch; negative before it.
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    package init(seconds: Int64) {
        self.microseconds = seconds * 1_000_000
    }

    package init(from decoder: any Decoder) throws {
        self.microseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(microseconds)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    package var seconds: Int64 { (microseconds >= 0 ? microseconds : microseconds - 999_999) / 1_000_000 }

    /// Nanoseconds since 1970, clamped.
    package var nanoseconds: Int64 {
        let (product, overflow) = microseconds.multipliedReportingOverflow(by: 1000)
        guard overflow else { return product }
        return microseconds < 0 ? .min : .max
    }
}

extension Duration {
    /// This duration in whole microseconds, rounded towards zero and clamped to what 64 bits hold.
    package var wholeMicroseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000_000)
        return overflow2 ? (seconds < 0 ? .min : .max) : sum
    }

    /// This duration in whole nanoseconds, clamped to what 64 bits hold.
    package var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
        return overflow2 ? (seconds < 0 ? .min : .max) : sum
    }

    /// This duration in seconds, for display and arithmetic that tolerates rounding.
    package var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) / 1e18
    }

    /// The number of seconds as a short decimal number, for messages: `1`, `0.5`.
    package var secondsText: String {
        let seconds = inSeconds
        return seconds == seconds.rounded() && abs(seconds) < 1e15 ? "\(Int64(seconds))" : "\(seconds)"
    }
}

/// A point of time on a clock that cannot be set, for deadlines and waits; it means nothing outside this process.
///
/// What is stored, or shown to people, is a ``Timestamp``.
package struct Instant: TimePoint {
    /// Microseconds since an unknown beginning.
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }
}

/// Civil time, passing time and waiting, handed to everything below `Commands`, so that tests and the simulation own
/// both.
package protocol PlatformClock: Sendable {
    /// The present moment by the calendar. The machine's administrator may set it forward or back at any time.
    func now() -> Timestamp

    /// The present moment on a clock that only runs: what deadlines inside this process go by.
    func instant() -> Instant

    /// Returns after `duration`, however the calendar is set meanwhile.
    ///
    /// - Throws: `CancellationError` as soon as the calling task is cancelled.
    func sleep(for duration: Duration) async throws
}
