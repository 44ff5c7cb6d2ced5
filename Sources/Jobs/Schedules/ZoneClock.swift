import Foundation

/// The wall clock of a time zone: its offset at each moment, and the moments at which the offset changes.
///
/// Moments are seconds since 1970-01-01T00:00:00Z. A wall time is a moment plus the offset in force.
struct ZoneClock: Sendable {
    /// A part of the time line with one offset.
    struct Span: Sendable {
        /// The first moment, and the first one that does not belong to it.
        var start: Int64
        var end: Int64
        var offset: Int64
        /// The last change of the offset, if it is at most a day before `start`: its moment, and the offset before it.
        var change: (moment: Int64, before: Int64)?
        /// Whether the offset changes at `end`.
        var endsWithChange: Bool

        /// The wall times that do not exist because the clock is set forward at `start`.
        var gap: Range<Int64>? {
            guard let change, change.moment == start, offset > change.before else { return nil }
            return start + change.before..<start + offset
        }

        /// The first wall time that did not occur before `start`.
        var firstNewWall: Int64 {
            guard let change else { return start + offset }
            return max(start + offset, change.moment + change.before)
        }
    }

    /// How far a span looks for changes, in seconds: longer than any clock was ever set forward or back at once. No
    /// zone changes twice within this time.
    private static let reach: Int64 = 26 * 3600

    private let zone: TimeZone

    /// `nil` if Foundation does not know the zone.
    init?(name: String) {
        guard let zone = TimeZone(identifier: name) else { return nil }
        self.zone = zone
    }

    func offset(at moment: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(moment))))
    }

    /// The span that begins at `start`; it ends with the next change, or after about a day.
    func span(from start: Int64) -> Span {
        let offset = offset(at: start)
        var span = Span(start: start, end: start + Self.reach, offset: offset, endsWithChange: false)
        let before = self.offset(at: start - Self.reach)
        if before != offset {
            span.change = (change(in: start - Self.reach..<start), before)
        }
        if self.offset(at: span.end) != offset {
            span.end = change(in: start..<span.end)
            span.endsWithChange = true
        }
        return span
    }

    /// The first moment with another offset than at the beginning of `moments`; the offset changes once, at the end at
    /// the latest.
    private func change(in moments: Range<Int64>) -> Int64 {
        let before = offset(at: moments.lowerBound)
        var (low, high) = (moments.lowerBound, moments.upperBound)
        while high - low > 1 {
            let middle = low + (high - low) / 2
            if offset(at: middle) == before { low = middle } else { high = middle }
        }
        return high
    }
}
