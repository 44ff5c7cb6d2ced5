/// A cron expression of five fields, or a macro such as `@daily` (contract J14).
///
/// An expression is about wall times: days of the proleptic Gregorian calendar and minutes of the day. `SchedulePlan`
/// maps them to moments of a time zone.
package struct CronExpression: Sendable, Hashable, CustomStringConvertible {
    /// As written.
    package let text: String
    /// The allowed values, one bit each.
    private var minutes: UInt64 = 0
    private var hours: UInt64 = 0
    private var daysOfMonth: UInt64 = 0
    private var months: UInt64 = 0
    /// Bit 0 is Sunday; bit 7 is not used.
    private var daysOfWeek: UInt64 = 0
    /// Both day fields are restricted: a day matches when either field does. Otherwise both must match.
    private var matchesEitherDay = false
    /// The hour field is a wildcard or stepped: every moment whose wall time matches is planned. Otherwise the hour is
    /// fixed, and each wall time is planned once (contract J14, "Clock changes").
    package private(set) var followsElapsedTime = false

    package var description: String { text }

    package enum Field: Int, Sendable, Hashable, CaseIterable {
        case minute, hour, dayOfMonth, month, dayOfWeek

        package var name: String {
            switch self {
            case .minute: "minute"
            case .hour: "hour"
            case .dayOfMonth: "day of month"
            case .month: "month"
            case .dayOfWeek: "day of week"
            }
        }

        fileprivate var range: ClosedRange<Int> {
            switch self {
            case .minute: 0...59
            case .hour: 0...23
            case .dayOfMonth: 1...31
            case .month: 1...12
            case .dayOfWeek: 0...7
            }
        }

        /// The allowed single values, as the continuation of "must be".
        package var allowed: String {
            switch self {
            case .minute, .hour, .dayOfMonth: "\(range.lowerBound) to \(range.upperBound)"
            case .month: "1 to 12 or jan to dec"
            case .dayOfWeek: "0 to 7 (0 and 7 are Sunday) or sun to sat"
            }
        }

        /// Names of the values, beginning with the lowest one.
        fileprivate var names: [String] {
            switch self {
            case .minute, .hour, .dayOfMonth: []
            case .month: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
            case .dayOfWeek: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
            }
        }
    }

    /// What is wrong with a text that is no cron expression.
    package struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        /// `nil`: the expression as a whole.
        package var field: Field?
        /// What is wrong and what is allowed. Messages append ", found …" with the whole expression.
        package var message: String
        /// The expression that was probably intended.
        package var suggestion: String?

        package var description: String { message }
    }

    /// The macros and what they stand for.
    package static let macros: KeyValuePairs<String, String> = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]

    /// The longest accepted text, in bytes: longer than a list of all values of each field.
    package static let maximumLength = 1000

    /// Reads an expression. Fields are separated by spaces or tabs.
    package init(_ text: String) throws(Problem) {
        self.text = text
        guard text.utf8.count <= Self.maximumLength else {
            throw Problem(message: "must have at most \(Self.maximumLength) characters")
        }
        let fields = try Self.fields(of: text)
        minutes = try Self.values(of: fields[0], .minute)
        hours = try Self.values(of: fields[1], .hour)
        daysOfMonth = try Self.values(of: fields[2], .dayOfMonth)
        months = try Self.values(of: fields[3], .month)
        daysOfWeek = try Self.values(of: fields[4], .dayOfWeek)
        // 0 and 7 are Sunday.
        daysOfWeek = (daysOfWeek | daysOfWeek >> 7) & 0x7F
        followsElapsedTime = fields[1].hasPrefix("*") || fields[1].contains("/")
        matchesEitherDay = !fields[2].hasPrefix("*") && !fields[4].hasPrefix("*")
        guard matchesSomeDay else {
            throw Problem(
                field: .dayOfMonth,
                message: "must match a day of the next 50 years: no month of the month field has the day of month")
        }
    }

    private static func fields(of text: String) throws(Problem) -> [Substring] {
        let known = "\(macros.dropLast().map(\.key).joined(separator: ", ")) or \(macros.last?.key ?? "")"
        let order = Field.allCases.map(\.name).joined(separator: ", ")
        let fields = text.split { $0 == " " || $0 == "\t" }
        if let first = fields.first, first.hasPrefix("@") {
            if fields.count == 1, let macro = macros.first(where: { $0.key == first }) {
                return macro.value.split(separator: " ")
            }
            throw Problem(
                message: "must be five fields (\(order)) or one of \(known)",
                suggestion: macros.first { $0.key == text.lowercased() }?.key)
        }
        guard fields.count == Field.allCases.count else {
            let advice = fields.count == 6 ? "; seconds and years are not supported" : ""
            throw Problem(
                message: "must have five fields (\(order)), separated by spaces, not \(fields.count)\(advice)")
        }
        return fields
    }

    // MARK: One field

    /// The bits of a field: `*`, or elements separated by commas.
    private static func values(of text: Substring, _ field: Field) throws(Problem) -> UInt64 {
        var bits: UInt64 = 0
        for element in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = element.split(separator: "/", omittingEmptySubsequences: false)
            guard !element.isEmpty, parts.count <= 2 else {
                throw problem(field, "has \(element.quotedForCron) where a value must be \(field.allowed)")
            }
            let range = try range(of: parts[0], field)
            guard parts.count == 2 else {
                for value in range { bits |= 1 << UInt64(value) }
                continue
            }
            guard parts[0] == "*" || parts[0].contains("-") else {
                let whole = "\(parts[0])-\(field == .dayOfWeek ? 6 : field.range.upperBound)/\(parts[1])"
                throw problem(field, "has the step \(element.quotedForCron) without a range; write \(whole)")
            }
            guard let step = number(parts[1]), step > 0 else {
                throw problem(
                    field, "has the step \(parts[1].quotedForCron); a step must be a whole number, at least 1")
            }
            for value in stride(from: range.lowerBound, through: range.upperBound, by: step) {
                bits |= 1 << UInt64(value)
            }
        }
        return bits
    }

    /// `*`, a value, or two values with a hyphen.
    private static func range(of text: Substring, _ field: Field) throws(Problem) -> ClosedRange<Int> {
        if text == "*" { return field.range }
        let ends = text.split(separator: "-", omittingEmptySubsequences: false)
        // A text such as -5 or *-5 is reported as a whole.
        guard ends.count == 2, !ends.contains(where: { $0.isEmpty || $0 == "*" }) else {
            let value = try value(of: text, field)
            return value...value
        }
        let (first, last) = (try value(of: ends[0], field), try value(of: ends[1], field))
        guard first <= last else {
            let sunday = field == .dayOfWeek && last == 0 ? "; as the last day, Sunday is 7" : ""
            throw problem(field, "has the range \(text.quotedForCron), which ends before it begins\(sunday)")
        }
        return first...last
    }

    private static func value(of text: Substring, _ field: Field) throws(Problem) -> Int {
        if let index = field.names.firstIndex(of: text.lowercased()) { return field.range.lowerBound + index }
        guard let value = number(text), field.range.contains(value) else {
            throw problem(field, "must be \(field.allowed), not \(text.quotedForCron)")
        }
        return value
    }

    /// A decimal number; one that does not fit is as large as possible.
    private static func number(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return Int(text) ?? .max
    }

    private static func problem(_ field: Field, _ message: String) -> Problem {
        Problem(field: field, message: "the \(field.name) field \(message)")
    }

    // MARK: Matching

    /// Each date falls on each day of the week within 40 years, so only days that no chosen month has never match.
    private var matchesSomeDay: Bool {
        if matchesEitherDay { return true }
        // A leap year.
        return (1...12).contains { month in
            months & 1 << UInt64(month) != 0 && daysOfMonth & CivilTime.daysMask(year: 2000, month: month) != 0
        }
    }

    /// The first matching minute at or after a wall time.
    ///
    /// - Parameter wall: the wall time, in seconds since 1970-01-01T00:00:00 on a clock that never changes.
    /// - Returns: a wall time in the same unit; `nil` if nothing matches within 50 years.
    package func next(atOrAfter wall: Int64) -> Int64? {
        let day = wall.flooredQuotient(by: 86_400)
        let minute = (wall - day * 86_400 + 59) / 60
        guard let match = nextDay(atOrAfter: day) else { return nil }
        if match > day { return match * 86_400 + firstMinute(atOrAfter: 0) * 60 }
        let time = firstMinute(atOrAfter: minute)
        if time < 1440 { return day * 86_400 + time * 60 }
        return nextDay(atOrAfter: day + 1).map { $0 * 86_400 + firstMinute(atOrAfter: 0) * 60 }
    }

    /// The number of matching minutes in a range of wall times.
    package func count(in walls: Range<Int64>) -> Int {
        var total = 0
        var day = walls.lowerBound.flooredQuotient(by: 86_400)
        while let match = nextDay(atOrAfter: day), match * 86_400 < walls.upperBound {
            let start = match * 86_400
            let first = (max(walls.lowerBound - start, 0) + 59) / 60
            let end = (min(walls.upperBound - start, 86_400) + 59) / 60
            total += minutes(before: end) - minutes(before: first)
            day = match + 1
        }
        return total
    }

    /// The number of matching minutes of a day before `minute`, which is 0 to 1440.
    private func minutes(before minute: Int64) -> Int {
        let (hour, rest) = (UInt64(minute / 60), UInt64(minute % 60))
        let whole = (hours & ((1 << hour) - 1)).nonzeroBitCount * minutes.nonzeroBitCount
        return whole + (hours & 1 << hour == 0 ? 0 : (minutes & ((1 << rest) - 1)).nonzeroBitCount)
    }

    /// The first matching minute of a day at or after `minute`; 1440 or more if there is none.
    private func firstMinute(atOrAfter minute: Int64) -> Int64 {
        let (hour, rest) = (minute / 60, minute % 60)
        guard hour < 24 else { return 1440 }
        if hours & 1 << UInt64(hour) != 0 {
            let later = minutes >> UInt64(rest)
            if later != 0 { return minute + Int64(later.trailingZeroBitCount) }
        }
        let later = hours >> UInt64(hour + 1)
        guard later != 0 else { return 1440 }
        return (hour + 1 + Int64(later.trailingZeroBitCount)) * 60 + Int64(minutes.trailingZeroBitCount)
    }

    /// The first matching day at or after `day`, both in days since 1970-01-01.
    private func nextDay(atOrAfter day: Int64) -> Int64? {
        let start = CivilTime(Timestamp(seconds: day * 86_400))
        var (year, month, first) = (start.year, start.month, day - Int64(start.day) + 1)
        var earlier = UInt64(start.day)
        for _ in 0...600 {
            if months & 1 << UInt64(month) != 0 {
                let days = matchingDays(year: year, month: month, first: first) >> earlier
                if days != 0 { return first + Int64(earlier) + Int64(days.trailingZeroBitCount) - 1 }
            }
            first += Int64(CivilTime.days(year: year, month: month))
            earlier = 1
            (year, month) = month == 12 ? (year + 1, 1) : (year, month + 1)
        }
        return nil
    }

    /// The days of a month that match, one bit each; bit 1 is the first.
    private func matchingDays(year: Int, month: Int, first: Int64) -> UInt64 {
        let weekday = UInt64((first % 7 + 11) % 7)
        // The seven bits six times in a row, so that the first day of the month is bit 1.
        let weeks: UInt64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 | 1 << 35
        let byWeekday = ((daysOfWeek * weeks) >> weekday) << 1
        let matching = matchesEitherDay ? daysOfMonth | byWeekday : daysOfMonth & byWeekday
        return matching & CivilTime.daysMask(year: year, month: month)
    }
}

extension CivilTime {
    package static func days(year: Int, month: Int) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    /// The days of a month, one bit each; bit 1 is the first.
    fileprivate static func daysMask(year: Int, month: Int) -> UInt64 {
        (1 << UInt64(days(year: year, month: month) + 1)) - 2
    }
}

extension Int64 {
    /// The quotient, rounded down also for negative numbers. `divisor` must be positive.
    package func flooredQuotient(by divisor: Int64) -> Int64 {
        self >= 0 ? self / divisor : -((-(self + 1)) / divisor) - 1
    }
}

extension Substring {
    fileprivate var quotedForCron: String { "\"\(self)\"" }
}
