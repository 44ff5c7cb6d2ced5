package import Core

/// The planned times of a schedule (contract J14): a pure function of its expression and the rules of its time zone.
package struct SchedulePlan: Sendable {
    private enum Rule: Sendable {
        /// A fixed hour is planned once for each wall time, otherwise every moment that matches.
        case cron(CronExpression, ZoneClock)
        /// Microseconds.
        case every(Int64)
    }

    private let rule: Rule
    private let clock: ZoneClock

    /// - Throws: a problem of the time zone, if this program's time zone data lack it.
    package init(_ timing: ScheduleSpecification.Timing) throws(ScheduleSpecification.Problem) {
        let name = if case .cron(_, let timeZone) = timing { timeZone } else { "UTC" }
        guard let clock = ZoneClock(name: name) else {
            throw ScheduleSpecification.Problem(
                field: "time_zone", message: "is not in the time zone data of this version of the platform")
        }
        self.clock = clock
        switch timing {
        case .cron(let expression, _): rule = .cron(expression, clock)
        case .every(let period): rule = .every(max(1, period.wholeMicroseconds))
        }
    }

    /// The first planned time after `time`; `nil` if there is none within 50 years.
    package func next(after time: Timestamp) -> Timestamp? {
        switch rule {
        case .every(let period):
            let count = time.microseconds.flooredQuotient(by: period) + 1
            let (product, overflow) = count.multipliedReportingOverflow(by: period)
            return overflow ? nil : Timestamp(microseconds: product)
        case .cron(let expression, let clock):
            return Self.next(expression, clock, after: time.seconds).map { Timestamp(seconds: $0) }
        }
    }

    /// Up to `limit` planned times after `time`, in order.
    package func times(after time: Timestamp, limit: Int) -> [Timestamp] {
        var times: [Timestamp] = []
        while times.count < limit, let next = next(after: times.last ?? time) { times.append(next) }
        return times
    }

    /// The number of planned times after `start` up to and including `end`. The cost of a year is well below a
    /// millisecond.
    package func count(after start: Timestamp, through end: Timestamp) -> Int {
        guard start < end else { return 0 }
        switch rule {
        case .every(let period):
            return Int(
                end.microseconds.flooredQuotient(by: period) - start.microseconds.flooredQuotient(by: period))
        case .cron(let expression, let clock):
            return Self.count(expression, clock, after: start.seconds, through: end.seconds)
        }
    }

    /// The last `limit` planned times after `start` up to and including `end`, in order.
    package func newest(_ limit: Int, after start: Timestamp, through end: Timestamp) -> [Timestamp] {
        guard start < end, limit > 0 else { return [] }
        // The last `limit` times are after `low` or later, and not all of them are after `high`.
        var (low, high) = (start.microseconds, end.microseconds)
        if count(after: start, through: end) > limit {
            while high - low > 1 {
                let middle = low + (high - low) / 2
                if count(after: Timestamp(microseconds: middle), through: end) >= limit {
                    low = middle
                } else {
                    high = middle
                }
            }
        }
        return times(after: Timestamp(microseconds: low), limit: limit).filter { $0 <= end }
    }

    /// `2026-11-30T03:00:00+01:00`: RFC 3339 with the offset of the schedule's zone. Fractions of a second are shown
    /// only if there are any.
    package func rfc3339(_ time: Timestamp) -> String {
        // RFC 3339 has offsets in minutes; those of some zones before 1972 have seconds.
        let offset = clock.offset(at: time.seconds) / 60
        var text = String((time + .seconds(offset * 60)).rfc3339.dropLast())
        let fraction = time.microseconds - time.seconds * 1_000_000
        if fraction != 0 {
            let digits = String(fraction)
            text += "." + String(repeating: "0", count: 6 - digits.count) + digits
        }
        if offset == 0 { return text + "Z" }
        func twoDigits(_ value: Int64) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return text + "\(offset < 0 ? "-" : "+")\(twoDigits(abs(offset) / 60)):\(twoDigits(abs(offset) % 60))"
    }

    // MARK: Cron

    private static func next(_ expression: CronExpression, _ clock: ZoneClock, after moment: Int64) -> Int64? {
        var start = moment + 1
        let end = start + 51 * 366 * 86_400
        while start < end {
            let span = clock.span(from: start)
            if isPlannedAfterGap(expression, span) { return start }
            guard let wall = expression.next(atOrAfter: firstWall(expression, span)) else { return nil }
            let match = wall - span.offset
            if match < span.end { return match }
            // Nothing matches until two days before the match, whatever the zone does then: no clock is set back by
            // more than a day, and none will be before the end of the span.
            start = span.endsWithChange ? span.end : max(span.end, match - 2 * 86_400)
        }
        return nil
    }

    private static func count(
        _ expression: CronExpression, _ clock: ZoneClock, after moment: Int64, through last: Int64
    ) -> Int {
        var (start, total) = (moment + 1, 0)
        while start <= last {
            let span = clock.span(from: start)
            let end = min(span.end, last + 1)
            var wall = firstWall(expression, span)
            if isPlannedAfterGap(expression, span) {
                total += 1
                // The moment after the gap is planned once, also if its own wall time matches.
                wall += 1
            }
            if wall < end + span.offset { total += expression.count(in: wall..<end + span.offset) }
            start = end
        }
        return total
    }

    /// Whether wall times that do not exist are planned at the beginning of a span.
    private static func isPlannedAfterGap(_ expression: CronExpression, _ span: ZoneClock.Span) -> Bool {
        guard !expression.followsElapsedTime, let gap = span.gap,
            let wall = expression.next(atOrAfter: gap.lowerBound)
        else { return false }
        return wall < gap.upperBound
    }

    /// The first wall time of a span that can be planned: with a fixed hour, none that occurred before.
    private static func firstWall(_ expression: CronExpression, _ span: ZoneClock.Span) -> Int64 {
        expression.followsElapsedTime ? span.start + span.offset : span.firstNewWall
    }
}
