import Core
import Foundation
import TestSupport
import Testing

@Suite("A3: time")
struct TimestampTests {
    @Test(
        "A3: RFC 3339 in UTC, whole seconds",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (1_622_810_096, "2021-06-04T12:34:56Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"), (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] as [(Int64, String)])
    func rfc3339(_ seconds: Int64, _ expected: String) {
        #expect(Timestamp(seconds: seconds).rfc3339 == expected)
    }

    @Test("A3: fractions of a second are cut off, also before 1970")
    func fractions() {
        #expect(Timestamp(microseconds: 1_999_999).rfc3339 == "1970-01-01T00:00:01Z")
        #expect(Timestamp(microseconds: -1).rfc3339 == "1969-12-31T23:59:59Z")
        #expect(Timestamp(microseconds: -1_000_001).seconds == -2)
    }

    @Test("A3: the calendar agrees with Foundation's, day and weekday")
    func calendar() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = try #require(TimeZone(identifier: "UTC"))
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<500 {
            // Since 1583, when that calendar began.
            let seconds = Int64.random(in: -12_000_000_000...30_000_000_000, using: &generator)
            let civil = CivilTime(Timestamp(seconds: seconds))
            let parts = calendar.dateComponents(
                [.year, .month, .day, .hour, .minute, .second, .weekday],
                from: Date(timeIntervalSince1970: Double(seconds)))
            #expect(civil.year == parts.year && civil.month == parts.month && civil.day == parts.day)
            #expect(civil.hour == parts.hour && civil.minute == parts.minute && civil.second == parts.second)
            #expect(civil.weekday + 1 == parts.weekday)
        }
    }

    @Test("A10: adding saturates instead of overflowing")
    func saturation() {
        let never = Duration.seconds(Int64.max)
        #expect(Timestamp(seconds: 1) + never == Timestamp(microseconds: .max))
        #expect(Timestamp(seconds: 1) - never == Timestamp(microseconds: 1_000_000 - .max))
        #expect(Timestamp(microseconds: -2) - never == Timestamp(microseconds: .min))
        #expect(Timestamp(microseconds: .min) + .seconds(-1) == Timestamp(microseconds: .min))
        #expect(Timestamp(microseconds: .max) - Timestamp(microseconds: .min) > .seconds(1 << 44 - 1))
        #expect(Timestamp(seconds: 5) - Timestamp(seconds: 3) == .seconds(2))
    }

    @Test("A10: durations in microseconds are clamped to 64 bits")
    func wholeMicroseconds() {
        #expect(Duration.seconds(9_223_372_036_854).wholeMicroseconds == 9_223_372_036_854_000_000)
        #expect((Duration.seconds(9_223_372_036_854) + .microseconds(999_999)).wholeMicroseconds == .max)
        #expect((Duration.seconds(-9_223_372_036_854) - .microseconds(999_999)).wholeMicroseconds == .min)
        #expect(Duration.nanoseconds(-1500).wholeMicroseconds == -1)
        #expect(Duration.milliseconds(1500).inSeconds == 1.5)
    }
}
