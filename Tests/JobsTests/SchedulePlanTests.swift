import Core
import TestSupport
import Testing

@testable import Jobs

@Suite("J14: planned times")
struct SchedulePlanTests {
    private func plan(_ cron: String, _ zone: String) throws -> SchedulePlan {
        try SchedulePlan(.cron(try CronExpression(cron), timeZone: zone))
    }

    /// The planned times after a time and up to another one, in UTC without seconds.
    private func times(_ cron: String, _ zone: String, _ start: String, _ end: String) throws -> [String] {
        let plan = try plan(cron, zone)
        let (start, end) = (try time(start), try time(end))
        let times = plan.times(after: start, limit: 10_000).filter { $0 <= end }
        #expect(plan.count(after: start, through: end) == times.count)
        for limit in 1...3 { #expect(plan.newest(limit, after: start, through: end) == times.suffix(limit)) }
        return times.map { String($0.rfc3339.dropLast(4)) }
    }

    private func time(_ text: String) throws -> Timestamp {
        let numbers = text.split { "-T:".contains($0) }.compactMap { Int64($0) }
        let day = try #require(
            (Int64(-1000)...60_000).first { Timestamp(seconds: $0 * 86_400).rfc3339.hasPrefix(text.prefix(10)) })
        return Timestamp(seconds: day * 86_400 + numbers[3] * 3600 + numbers[4] * 60)
    }

    @Test(
        "J14: Europe/Berlin, the night without 02:00 to 03:00 (01:00Z)",
        arguments: [
            // A fixed hour: what does not exist is planned once, at 03:00.
            ("30 2 * * *", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
            (
                "*/20 2 * * *",
                [
                    "03-28T01:00", "03-28T01:20", "03-28T01:40", "03-29T01:00", "03-30T00:00", "03-30T00:20",
                    "03-30T00:40",
                ]
            ),
            ("0 2,3 * * *", ["03-28T01:00", "03-28T02:00", "03-29T01:00", "03-30T00:00", "03-30T01:00"]),
            (
                "15 2,3 * * *",
                ["03-28T01:15", "03-28T02:15", "03-29T01:00", "03-29T01:15", "03-30T00:15", "03-30T01:15"]
            ),
            ("0 3 29 3 *", ["03-29T01:00"]), ("59 1 29 3 *", ["03-29T00:59"]), ("30 2 * * sun", ["03-29T01:00"]),
            // Elapsed time: what does not exist is not planned.
            (
                "30 */2 29 3 *",
                [
                    "03-28T23:30", "03-29T02:30", "03-29T04:30", "03-29T06:30", "03-29T08:30", "03-29T10:30",
                    "03-29T12:30", "03-29T14:30", "03-29T16:30", "03-29T18:30", "03-29T20:30",
                ]
            ),
            ("30 2-2/1 * * *", ["03-28T01:30", "03-30T00:30"]),
            ("0 0-5/1 29 3 *", ["03-28T23:00", "03-29T00:00", "03-29T01:00", "03-29T02:00", "03-29T03:00"]),
        ] as [(String, [String])])
    func berlinSpring(cron: String, expected: [String]) throws {
        #expect(
            try times(cron, "Europe/Berlin", "2026-03-28T00:00", "2026-03-30T12:00").map { String($0.dropFirst(5)) }
                == expected)
    }

    @Test(
        "J14: Europe/Berlin, the night with 02:00 to 03:00 twice (00:00Z and 01:00Z)",
        arguments: [
            ("30 2 * * *", ["10-25T00:30", "10-26T01:30"]),
            ("*/20 2 25 10 *", ["10-25T00:00", "10-25T00:20", "10-25T00:40"]),
            ("0 3 25 10 *", ["10-25T02:00"]), ("59 1,2 25 10 *", ["10-24T23:59", "10-25T00:59"]),
            (
                "30 22-23,0-3/1 24-25 10 *",
                [
                    "10-24T20:30", "10-24T21:30", "10-24T22:30", "10-24T23:30", "10-25T00:30", "10-25T01:30",
                    "10-25T02:30", "10-25T21:30", "10-25T22:30",
                ]
            ),
            ("30 2-2/1 * * *", ["10-25T00:30", "10-25T01:30", "10-26T01:30"]),
            (
                "0 */3 25 10 *",
                [
                    "10-24T22:00", "10-25T02:00", "10-25T05:00", "10-25T08:00", "10-25T11:00", "10-25T14:00",
                    "10-25T17:00", "10-25T20:00",
                ]
            ),
        ] as [(String, [String])])
    func berlinAutumn(cron: String, expected: [String]) throws {
        let times = try times(cron, "Europe/Berlin", "2026-10-24T12:00", "2026-10-26T12:00")
        #expect(times.map { String($0.dropFirst(5)) } == expected)
    }

    @Test("J14: the second occurrence of a wall time is not planned, wherever the search begins")
    func secondOccurrence() throws {
        // 02:45 the first time, and 02:00 to 02:59 the second time.
        for start in ["2026-10-25T00:45", "2026-10-25T01:00", "2026-10-25T01:29", "2026-10-25T01:59"] {
            #expect(try times("30 2 * * *", "Europe/Berlin", start, "2026-10-26T12:00") == ["2026-10-26T01:30"])
            // The last moment of the first hour, and the first one after the second.
            #expect(
                try times("0,59 2,3 25 10 *", "Europe/Berlin", start, "2026-10-25T02:00").first
                    == (start < "2026-10-25T00:59" ? "2026-10-25T00:59" : "2026-10-25T02:00"))
        }
        #expect(
            try times("30 2-2/1 25 10 *", "Europe/Berlin", "2026-10-25T00:45", "2027-10-25T12:00") == [
                "2026-10-25T01:30", "2027-10-25T00:30",
            ])
    }

    @Test("J14: America/New_York, 2026-03-08 and 2026-11-01")
    func newYork() throws {
        let zone = "America/New_York"
        #expect(
            try times("30 2 * * *", zone, "2026-03-07T12:00", "2026-03-09T12:00") == [
                "2026-03-08T07:00", "2026-03-09T06:30",
            ])
        #expect(
            try times("30 1 * * *", zone, "2026-10-31T12:00", "2026-11-02T12:00") == [
                "2026-11-01T05:30", "2026-11-02T06:30",
            ])
        #expect(
            try times("30 1-1/1 * * *", zone, "2026-10-31T12:00", "2026-11-02T12:00") == [
                "2026-11-01T05:30", "2026-11-01T06:30", "2026-11-02T06:30",
            ])
        #expect(try times("0 * * * *", zone, "2026-10-31T12:00", "2026-11-02T12:00").count == 48)
        #expect(try times("0 * * * *", zone, "2026-03-07T12:00", "2026-03-09T12:00").count == 48)
    }

    @Test("J14: Australia/Lord_Howe changes by 30 minutes")
    func lordHowe() throws {
        let zone = "Australia/Lord_Howe"
        // 02:00 becomes 02:30 at 15:30Z.
        #expect(
            try times("10 2 * * *", zone, "2026-10-03T00:00", "2026-10-04T23:00") == [
                "2026-10-03T15:30", "2026-10-04T15:10",
            ])
        #expect(
            try times("10,30,40 2 * * *", zone, "2026-10-03T00:00", "2026-10-03T23:00") == [
                "2026-10-03T15:30", "2026-10-03T15:40",
            ])
        #expect(
            try times("*/15 * 4 10 *", zone, "2026-10-03T15:00", "2026-10-03T16:00") == [
                "2026-10-03T15:15", "2026-10-03T15:30", "2026-10-03T15:45", "2026-10-03T16:00",
            ])
        // 02:00 becomes 01:30 at 15:00Z.
        #expect(
            try times("45 1 * * *", zone, "2026-04-04T00:00", "2026-04-05T23:00") == [
                "2026-04-04T14:45", "2026-04-05T15:15",
            ])
        #expect(
            try times("45 * * * *", zone, "2026-04-04T13:50", "2026-04-04T17:00") == [
                "2026-04-04T14:45", "2026-04-04T15:15", "2026-04-04T16:15",
            ])
        // The hours after the change begin at half past in UTC.
        #expect(
            try times("23 */12 5 4 *", zone, "2026-04-04T00:00", "2026-04-05T12:00") == [
                "2026-04-04T13:23", "2026-04-05T01:53",
            ])
    }

    @Test("J14: Pacific/Apia has no 30 December 2011")
    func apia() throws {
        let zone = "Pacific/Apia"
        let span = ("2011-12-29T09:00", "2012-01-01T09:00")
        // 12:00 of the day that does not exist is planned at the beginning of the next one.
        #expect(
            try times("0 12 * * *", zone, span.0, span.1) == [
                "2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00", "2011-12-31T22:00",
            ])
        #expect(try times("0 12 30 12 *", zone, span.0, span.1) == ["2011-12-30T10:00"])
        #expect(try times("0 12 * * fri", zone, span.0, span.1) == ["2011-12-30T10:00"])
        #expect(
            try times("0 0 * * *", zone, span.0, span.1) == [
                "2011-12-29T10:00", "2011-12-30T10:00", "2011-12-31T10:00",
            ])
        #expect(try times("0 12-12/1 30 12 *", zone, span.0, span.1) == [])
        #expect(try times("0 * * * *", zone, span.0, span.1).count == 72)
    }

    @Test("J14: a zone without clock changes, and rare days")
    func rareDays() throws {
        #expect(
            try times("0 0 29 2 *", "Asia/Kolkata", "2026-01-01T00:00", "2037-01-01T00:00") == [
                "2028-02-28T18:30", "2032-02-28T18:30", "2036-02-28T18:30",
            ])
        #expect(
            try plan("0 0 29 2 */7", "Europe/Berlin").next(after: time("2060-03-01T00:00")) == time("2088-02-28T23:00"))
        #expect(
            try times("0 12 * * *", "UTC", "1969-12-30T00:00", "1970-01-01T12:00") == [
                "1969-12-30T12:00", "1969-12-31T12:00", "1970-01-01T12:00",
            ])
    }

    @Test("J14: planned times of every are multiples since 1970")
    func every() throws {
        let plan = try SchedulePlan(.every(.seconds(7 * 60)))
        let start = Timestamp(seconds: 7 * 60 * 1000)
        #expect(plan.times(after: start, limit: 2).map(\.seconds) == [420_420, 420_840])
        #expect(plan.next(after: start - .microseconds(1)) == start)
        #expect(plan.next(after: Timestamp(seconds: -1)) == Timestamp(seconds: 0))
        #expect(plan.next(after: Timestamp(seconds: -421)) == Timestamp(seconds: -420))
        #expect(plan.count(after: start, through: start + .seconds(86_400)) == 205)
        #expect(plan.newest(2, after: start, through: start + .seconds(840)).map(\.seconds) == [420_420, 420_840])
        #expect(plan.newest(9, after: start, through: start + .seconds(840)).count == 2)
        let fine = try SchedulePlan(.every(.milliseconds(1500)))
        #expect(fine.next(after: Timestamp(seconds: 1)) == Timestamp(microseconds: 1_500_000))
        #expect(fine.rfc3339(Timestamp(microseconds: 1_500_000)) == "1970-01-01T00:00:01.500000Z")
    }

    @Test("J8, J14: a planned time is written with the offset of the zone")
    func text() throws {
        let winter = try time("2026-11-30T02:00")
        #expect(try plan("@daily", "Europe/Berlin").rfc3339(winter) == "2026-11-30T03:00:00+01:00")
        #expect(try plan("@daily", "America/St_Johns").rfc3339(winter) == "2026-11-29T22:30:00-03:30")
        #expect(try plan("@daily", "UTC").rfc3339(winter) == "2026-11-30T02:00:00Z")
        #expect(try plan("@daily", "Pacific/Kiritimati").rfc3339(winter) == "2026-11-30T16:00:00+14:00")
    }

    @Test("J14: next planned times, counts and the newest agree with a search minute by minute around clock changes")
    func search() throws {
        var random = RandomSchedules(seed: 7)
        for _ in 0..<250 {
            let cron = random.expression(rareDays: false)
            let (zone, start) = random.startNearChange()
            let end = start + 2 * 86_400
            let clock = try #require(ZoneClock(name: zone))
            let expected = cron.plannedTimes(clock, after: start, through: end)
            let plan = try plan(cron.text, zone)
            let (first, last) = (Timestamp(seconds: start), Timestamp(seconds: end))
            let found = plan.times(after: first, limit: expected.count + 1).map(\.seconds).filter { $0 <= end }
            #expect(found == expected, "\(cron.text) in \(zone) after \(first.rfc3339)")
            #expect(
                plan.count(after: first, through: last) == expected.count,
                "\(cron.text) in \(zone) after \(first.rfc3339)")
            #expect(plan.newest(3, after: first, through: last).map(\.seconds) == expected.suffix(3))
        }
    }
}
