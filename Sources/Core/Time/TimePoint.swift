/// A point of time in whole microseconds: what ``Timestamp`` and ``Instant`` have in common. They are two types, so that nobody compares one with the other.
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
