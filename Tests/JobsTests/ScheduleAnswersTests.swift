import Core
import Foundation
import Testing

@testable import Jobs

@Suite("J14: planned times for other implementations")
struct ScheduleAnswersTests {
    /// `scripts/schedule-test.sh` compares the file with Python packages.
    private static let file = ProcessInfo.processInfo.environment["CORTEX_SCHEDULE_ANSWERS"]

    @Test(
        "J14: 200,000 random expressions, zones and times, half of them around clock changes, with the next planned time"
    )
    func answers() throws {
        let expressions = Self.file == nil ? 200 : 20_000
        var random = RandomSchedules(seed: 2026)
        var lines = ["# time zone data \(TimeZone.timeZoneDataVersion)"]
        for number in 0..<expressions {
            let isNearChange = number % 2 == 1
            let text = random.expression(rareDays: !isNearChange).text
            let cron = try CronExpression(text)
            for _ in 0..<10 {
                let (zone, start) = isNearChange ? random.startNearChange() : random.start()
                let plan = try SchedulePlan(.cron(cron, timeZone: zone))
                let next = try #require(
                    plan.next(after: Timestamp(seconds: start)), "\(text) in \(zone) after \(start)")
                #expect(next.seconds > start)
                lines.append("\(text)\t\(zone)\t\(start)\t\(next.seconds)")
            }
        }
        if let file = Self.file {
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(filePath: file))
        }
    }
}
