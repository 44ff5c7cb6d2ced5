import Core
import Testing

@Suite("J14: cron expressions")
struct CronExpressionTests {
    /// The minutes of a day, and the days of a month, that an expression matches, found one by one.
    private func matches(_ text: String, from start: String, days: Int) throws -> [String] {
        let expression = try CronExpression(text)
        let first = try #require(wall(start))
        let end = first + Int64(days) * 86_400
        var matches: [String] = []
        var next = expression.next(atOrAfter: first)
        while let wall = next, wall < end {
            matches.append(String(Timestamp(seconds: wall).rfc3339.dropLast(4)))
            next = expression.next(atOrAfter: wall + 1)
        }
        #expect(expression.count(in: first..<end) == matches.count)
        return matches
    }

    private func wall(_ date: String) -> Int64? {
        (0..<60_000).first { Timestamp(seconds: $0 * 86_400).rfc3339.hasPrefix(date) }.map { $0 * 86_400 }
    }

    @Test(
        "J14: numbers, lists, ranges, steps and names",
        arguments: [
            ("30 4 * * *", ["2026-11-30T04:30", "2026-12-01T04:30"]),
            ("0,30 4,5 30 * *", ["2026-11-30T04:00", "2026-11-30T04:30", "2026-11-30T05:00", "2026-11-30T05:30"]),
            ("0 22-23 30 11 *", ["2026-11-30T22:00", "2026-11-30T23:00"]),
            ("*/25 7 1 * *", ["2026-12-01T07:00", "2026-12-01T07:25", "2026-12-01T07:50"]),
            ("10-50/20 7 1 * *", ["2026-12-01T07:10", "2026-12-01T07:30", "2026-12-01T07:50"]),
            (
                "5,10-20/10,59 7 1 * *",
                ["2026-12-01T07:05", "2026-12-01T07:10", "2026-12-01T07:20", "2026-12-01T07:59"]
            ),
            ("0 0 * nov mon", ["2026-11-30T00:00"]), ("0 0 * NOV Mon", ["2026-11-30T00:00"]),
            ("0 0 * oct-dec tue,wed", ["2026-12-01T00:00"]), ("0 0 * * tue-thu/2", ["2026-12-01T00:00"]),
            ("  0\t0  1 12 *  ", ["2026-12-01T00:00"]), ("00 000 01 012 *", ["2026-12-01T00:00"]),
            ("0 */90 * * *", ["2026-11-30T00:00", "2026-12-01T00:00"]),
            ("*/99999999999999999999 0 1 * *", ["2026-12-01T00:00"]),
            ("@daily", ["2026-11-30T00:00", "2026-12-01T00:00"]),
            ("@midnight", ["2026-11-30T00:00", "2026-12-01T00:00"]), ("@monthly", ["2026-12-01T00:00"]),
            ("@yearly", []), ("@annually", []), ("@weekly", []),
        ] as [(String, [String])])
    func fields(text: String, expected: [String]) throws {
        // A Monday and a Tuesday.
        #expect(try matches(text, from: "2026-11-30", days: 2) == expected)
        #expect(try CronExpression(text).text == text)
    }

    @Test("J14: the macros are what they are named after")
    func macros() throws {
        #expect(try matches("@hourly", from: "2026-11-30", days: 1).count == 24)
        #expect(
            try matches("@yearly", from: "2026-11-30", days: 800).map { $0.prefix(10) } == [
                "2027-01-01", "2028-01-01", "2029-01-01",
            ])
        #expect(try matches("@annually", from: "2026-11-30", days: 40) == ["2027-01-01T00:00"])
        // Sundays.
        #expect(
            try matches("@weekly", from: "2026-11-30", days: 14).map { $0.prefix(10) } == ["2026-12-06", "2026-12-13"])
        #expect(CronExpression.macros.count == 7)
    }

    @Test(
        "J14: a day matches when either day field does if both are restricted, otherwise when both do",
        arguments: [
            // 2026-11-01 is a Sunday.
            ("0 0 13 * fri", ["06", "13", "20", "27"]), ("0 0 14 * fri", ["06", "13", "14", "20", "27"]),
            ("0 0 * * fri", ["06", "13", "20", "27"]), ("0 0 14 * *", ["14"]),
            // Neither field may begin with a wildcard for the first rule.
            ("0 0 */2 * fri", ["13", "27"]), ("0 0 1-7 * */7", ["01"]), ("0 0 *,14 * fri", ["06", "13", "20", "27"]),
            ("0 0 15-21/3 * sun", ["01", "08", "15", "18", "21", "22", "29"]),
            ("0 0 14-15 * 0", ["01", "08", "14", "15", "22", "29"]),
            ("0 0 14-15 * 7", ["01", "08", "14", "15", "22", "29"]),
            ("0 0 * * 5-7", ["01", "06", "07", "08", "13", "14", "15", "20", "21", "22", "27", "28", "29"]),
            ("0 0 * * 0-1", ["01", "02", "08", "09", "15", "16", "22", "23", "29", "30"]),
            ("0 0 * * SAT", ["07", "14", "21", "28"]), ("0 0 31 * *", []),
        ] as [(String, [String])])
    func days(text: String, expected: [String]) throws {
        #expect(try matches(text, from: "2026-11-01", days: 30).map { String($0.dropFirst(8).prefix(2)) } == expected)
    }

    @Test("J14: 29 February of a leap year, also together with a day of the week")
    func leapDays() throws {
        #expect(
            try matches("0 0 29 2 *", from: "2026-11-30", days: 4000).map { $0.prefix(10) } == [
                "2028-02-29", "2032-02-29", "2036-02-29",
            ])
        // 2100 is not a leap year: 40 years from Sunday to Sunday.
        #expect(
            try matches("0 0 29 2 */7", from: "2060-03-01", days: 50 * 365).map { $0.prefix(10) } == ["2088-02-29"])
        #expect(try matches("0 0 29 2 */7", from: "2088-03-01", days: 50 * 365).map { $0.prefix(10) } == ["2128-02-29"])
    }

    @Test(
        "J14: what no cron expression is, and why",
        arguments: [
            (
                "", nil,
                "must have five fields (minute, hour, day of month, month, day of week), separated by spaces, not 0"
            ),
            (
                "* * * *", nil,
                "must have five fields (minute, hour, day of month, month, day of week), separated by spaces, not 4"
            ),
            (
                "0 0 0 * * *", nil,
                "must have five fields (minute, hour, day of month, month, day of week), separated by spaces, not 6; seconds and years are not supported"
            ),
            (
                "@Daily", nil,
                "must be five fields (minute, hour, day of month, month, day of week) or one of @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly"
            ),
            ("60 * * * *", .minute, "the minute field must be 0 to 59, not \"60\""),
            ("-1 * * * *", .minute, "the minute field must be 0 to 59, not \"-1\""),
            ("0 24 * * *", .hour, "the hour field must be 0 to 23, not \"24\""),
            ("0 noon * * *", .hour, "the hour field must be 0 to 23, not \"noon\""),
            ("0 99999999999999999999 * * *", .hour, "the hour field must be 0 to 23, not \"99999999999999999999\""),
            ("0 0 0 * *", .dayOfMonth, "the day of month field must be 1 to 31, not \"0\""),
            ("0 0 32 * *", .dayOfMonth, "the day of month field must be 1 to 31, not \"32\""),
            ("0 0 L * *", .dayOfMonth, "the day of month field must be 1 to 31, not \"L\""),
            ("0 0 ? * *", .dayOfMonth, "the day of month field must be 1 to 31, not \"?\""),
            ("0 0 jan * *", .dayOfMonth, "the day of month field must be 1 to 31, not \"jan\""),
            ("0 0 * 13 *", .month, "the month field must be 1 to 12 or jan to dec, not \"13\""),
            ("0 0 * january *", .month, "the month field must be 1 to 12 or jan to dec, not \"january\""),
            ("0 0 * mon *", .month, "the month field must be 1 to 12 or jan to dec, not \"mon\""),
            (
                "0 0 * * 8", .dayOfWeek,
                "the day of week field must be 0 to 7 (0 and 7 are Sunday) or sun to sat, not \"8\""
            ),
            (
                "0 0 * * 5#2", .dayOfWeek,
                "the day of week field must be 0 to 7 (0 and 7 are Sunday) or sun to sat, not \"5#2\""
            ),
            (
                "0 0 * * sat-sun", .dayOfWeek,
                "the day of week field has the range \"sat-sun\", which ends before it begins; as the last day, Sunday is 7"
            ),
            ("30-10 0 * * *", .minute, "the minute field has the range \"30-10\", which ends before it begins"),
            ("1-2-3 0 * * *", .minute, "the minute field must be 0 to 59, not \"1-2-3\""),
            ("*/0 * * * *", .minute, "the minute field has the step \"0\"; a step must be a whole number, at least 1"),
            (
                "*/-5 * * * *", .minute,
                "the minute field has the step \"-5\"; a step must be a whole number, at least 1"
            ),
            ("*/ * * * *", .minute, "the minute field has the step \"\"; a step must be a whole number, at least 1"),
            ("5/10 * * * *", .minute, "the minute field has the step \"5/10\" without a range; write 5-59/10"),
            ("0 0 * * 1/2", .dayOfWeek, "the day of week field has the step \"1/2\" without a range; write 1-6/2"),
            ("1,,2 * * * *", .minute, "the minute field has \"\" where a value must be 0 to 59"),
            ("1, * * * *", .minute, "the minute field has \"\" where a value must be 0 to 59"),
            ("1/2/3 * * * *", .minute, "the minute field has \"1/2/3\" where a value must be 0 to 59"),
            ("*-5 * * * *", .minute, "the minute field must be 0 to 59, not \"*-5\""),
            ("٣ * * * *", .minute, "the minute field must be 0 to 59, not \"٣\""),
            (
                "0 0 30 2 *", .dayOfMonth,
                "must match a day of the next 50 years: no month of the month field has the day of month"
            ),
            (
                "0 0 31 4,6,9,11 */2", .dayOfMonth,
                "must match a day of the next 50 years: no month of the month field has the day of month"
            ),
        ] as [(String, CronExpression.Field?, String)])
    func refused(text: String, field: CronExpression.Field?, message: String) {
        let problem = #expect(throws: CronExpression.Problem.self) { try CronExpression(text) }
        #expect(problem?.field == field)
        #expect(problem?.message == message)
    }

    @Test("J14: an expression that is too long is refused; a misspelt macro is corrected")
    func limits() throws {
        let minutes = (0...59).map(String.init).joined(separator: ",")
        #expect(try CronExpression("\(minutes) * * * *").text.count < CronExpression.maximumLength)
        let long = Array(repeating: "1", count: 600).joined(separator: ",")
        let tooLong = #expect(throws: CronExpression.Problem.self) { try CronExpression("\(long) * * * *") }
        #expect(tooLong?.message == "must have at most 1000 characters")
        let problem = #expect(throws: CronExpression.Problem.self) { try CronExpression("@Daily") }
        #expect(problem?.suggestion == "@daily")
        // If both day fields are restricted, the day of the week is enough.
        #expect(try matches("0 0 31 4 mon", from: "2026-04-01", days: 30).count == 4)
    }

    @Test(
        "J14: the hour is fixed unless it begins with * or contains a step",
        arguments: [
            ("0 3 * * *", false), ("*/5 3 * * *", false), ("0 1-5,7 * * *", false), ("0 * * * *", true),
            ("0 */6 * * *", true), ("0 1-23/2 * * *", true), ("0 3,8-20/4 * * *", true), ("0 *,3 * * *", true),
            ("@hourly", true), ("@daily", false),
        ])
    func fixedHour(text: String, followsElapsedTime: Bool) throws {
        #expect(try CronExpression(text).followsElapsedTime == followsElapsedTime)
    }
}
