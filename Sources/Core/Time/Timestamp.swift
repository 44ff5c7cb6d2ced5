/// A point of time in whole microseconds: the common part of ``Timestamp`` and ``Instant``. They are different types,
/// so that they cannot be compared by mistake.
package protocol TimePoint: Sendable, Hashable, Comparable {
    var microseconds: Int64 { get }
    init(microseconds: Int64)
}

extension TimePoint {
    package static func < (left: Self, right: Self) -> Bool {
        left.microseconds < right.microseconds
    }

    /// Saturates instead of overflowing, so that "never" can be a very long duration.
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

/// A time of the calendar: microseconds since 1970-01-01T00:00:00Z.
///
/// Every rule of the platform takes the current time as an argument, so that it can be tested and simulated without
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
    /// This duration in whole microseconds, rounded towards zero and clamped to 64 bits.
    package var wholeMicroseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, overflow2) = product.addingReportingOverflow(attoseconds / 1_000_000_000_000)
        return overflow2 ? (seconds < 0 ? .min : .max) : sum
    }

    /// This duration in whole nanoseconds, clamped to 64 bits.
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

/// A point of time on a monotonic clock, for deadlines and waits; it has no meaning outside this process.
///
/// Stored or shown times are ``Timestamp``s.
package struct Instant: TimePoint {
    /// Microseconds since an unspecified beginning.
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }
}

/// Calendar time, monotonic time and waiting, passed to everything below `Commands`, so that tests and the simulation
/// control both.
package protocol PlatformClock: Sendable {
    /// The current calendar time. The machine's administrator may set it forward or back at any time.
    func now() -> Timestamp

    /// The current time of the monotonic clock, for deadlines inside this process.
    func instant() -> Instant

    /// Returns after `duration`, independent of the calendar.
    ///
    /// - Throws: `CancellationError` as soon as the calling task is cancelled.
    func sleep(for duration: Duration) async throws
}

extension Timestamp {
    /// `2021-06-04T12:34:56Z`: RFC 3339, UTC, whole seconds, as in the original.
    package var rfc3339: String {
        var bytes: [UInt8] = []
        appendRFC3339(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends ``rfc3339``.
    package func appendRFC3339(to bytes: inout [UInt8]) {
        let civil = CivilTime(self)
        func append(_ value: Int, digits: Int) {
            var divisor = 1
            for _ in 1..<digits { divisor *= 10 }
            while divisor > 0 {
                bytes.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
                divisor /= 10
            }
        }
        if civil.year > 9999 { bytes += String(civil.year).utf8 } else { append(civil.year, digits: 4) }
        bytes.append(UInt8(ascii: "-"))
        append(civil.month, digits: 2)
        bytes.append(UInt8(ascii: "-"))
        append(civil.day, digits: 2)
        bytes.append(UInt8(ascii: "T"))
        append(civil.hour, digits: 2)
        bytes.append(UInt8(ascii: ":"))
        append(civil.minute, digits: 2)
        bytes.append(UInt8(ascii: ":"))
        append(civil.second, digits: 2)
        bytes.append(UInt8(ascii: "Z"))
    }
}

/// The proleptic Gregorian calendar's reading of a timestamp, in UTC.
package struct CivilTime: Sendable, Hashable {
    package var year: Int
    package var month: Int
    package var day: Int
    package var hour: Int
    package var minute: Int
    package var second: Int
    /// 0 is Sunday.
    package var weekday: Int

    /// Days are converted to a date by eras of 400 years, which have equal length (source: Howard Hinnant,
    /// "chrono-Compatible Low-Level Date Algorithms").
    package init(_ timestamp: Timestamp) {
        let seconds = Int(timestamp.seconds)
        let days = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        let secondOfDay = seconds - days * 86_400
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        self.day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        self.month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        self.year = yearOfEra + era * 400 + (self.month <= 2 ? 1 : 0)
        self.hour = secondOfDay / 3600
        self.minute = secondOfDay % 3600 / 60
        self.second = secondOfDay % 60
        self.weekday = ((days % 7) + 11) % 7
    }
}
