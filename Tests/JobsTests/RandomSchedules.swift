import Core
import Foundation
import TestSupport

@testable import Jobs

/// A random cron expression with the values of each field as a list, so that a search by the words of the contract can
/// be compared with it.
struct RandomCron {
    var fields: [(text: String, values: Set<Int64>)]

    var text: String { fields.map(\.text).joined(separator: " ") }

    private var isHourFixed: Bool { !fields[1].text.hasPrefix("*") && !fields[1].text.contains("/") }

    private func matches(wall: Int64) -> Bool {
        guard fields[0].values.contains(wall / 60 % 60), fields[1].values.contains(wall / 3600 % 24) else {
            return false
        }
        let date = CivilTime(Timestamp(seconds: wall))
        guard fields[3].values.contains(Int64(date.month)) else { return false }
        let day = fields[2].values.contains(Int64(date.day))
        let weekday = fields[4].values.contains { $0 % 7 == Int64(date.weekday) }
        if fields[2].text.hasPrefix("*") || fields[4].text.hasPrefix("*") { return day && weekday }
        return day || weekday
    }

    /// The planned times after `start` and up to `end`, found by looking at each minute. The offsets of the zone must
    /// be whole minutes.
    func plannedTimes(_ clock: ZoneClock, after start: Int64, through end: Int64) -> [Int64] {
        var planned: [Int64] = []
        var newestWall = Int64.min
        // Wall times from before `start` occur again after it.
        var moment = (start - 30 * 3600) / 60 * 60
        var before = clock.offset(at: moment - 60)
        while moment <= end {
            let offset = clock.offset(at: moment)
            let wall = moment + offset
            var isPlanned = (!isHourFixed || wall > newestWall) && matches(wall: wall)
            if isHourFixed, offset > before, !isPlanned {
                isPlanned = stride(from: moment + before, to: wall, by: 60).contains { matches(wall: $0) }
            }
            if isPlanned, moment > start { planned.append(moment) }
            newestWall = max(newestWall, wall)
            before = offset
            moment += 60
        }
        return planned
    }
}

/// Random expressions, zones and times between 1973 and 2060.
struct RandomSchedules {
    private static let zones = [
        "UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "America/New_York",
        "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "America/Santiago", "America/Havana",
        "America/Caracas", "Africa/Cairo", "Africa/Casablanca", "Asia/Kolkata", "Asia/Tehran", "Asia/Kathmandu",
        "Asia/Gaza", "Asia/Tokyo", "Asia/Pyongyang", "Australia/Sydney", "Australia/Lord_Howe", "Antarctica/Troll",
        "Antarctica/Vostok", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kwajalein",
    ]
    private static let names: [[String]] = [
        [], [], [], ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ]
    private static let ranges: [ClosedRange<Int64>] = [0...59, 0...23, 1...31, 1...12, 0...7]

    private var generator: SeededGenerator

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    /// Any zone and time.
    mutating func start() -> (zone: String, start: Int64) {
        (
            Self.zones.randomElement(using: &generator) ?? "UTC",
            .random(in: 94_694_400...2_840_140_800, using: &generator)
        )
    }

    /// A zone, and a time up to a day before or after one of its clock changes.
    mutating func startNearChange() -> (zone: String, start: Int64) {
        let change = Self.changes.randomElement(using: &generator) ?? ("UTC", 0)
        return (change.zone, change.moment + .random(in: -86_400...86_400, using: &generator))
    }

    /// The clock changes of all zones between 1973 and 2055.
    private static let changes: [(zone: String, moment: Int64)] = zones.flatMap { name in
        var changes: [(zone: String, moment: Int64)] = []
        var time = Date(timeIntervalSince1970: 94_694_400)
        while let next = TimeZone(identifier: name)?.nextDaylightSavingTimeTransition(after: time),
            next > time, next.timeIntervalSince1970 < 2_700_000_000
        {
            changes.append((name, Int64(next.timeIntervalSince1970)))
            time = next
        }
        return changes
    }

    /// An expression that matches some day, most days unless `rareDays`.
    mutating func expression(rareDays: Bool) -> RandomCron {
        while true {
            let cron = RandomCron(
                fields: (0..<5).map { index in
                    index < 2 || rareDays || .random(in: 0..<4, using: &generator) == 0
                        ? field(index) : ("*", Set(Self.ranges[index]))
                })
            if (try? CronExpression(cron.text)) != nil { return cron }
        }
    }

    private mutating func field(_ index: Int) -> (text: String, values: Set<Int64>) {
        if Int.random(in: 0..<4, using: &generator) == 0 { return ("*", Set(Self.ranges[index])) }
        let elements = (0..<max(1, Int.random(in: -1...3, using: &generator))).map { _ in element(index) }
        return (elements.map(\.text).joined(separator: ","), elements.reduce(into: []) { $0.formUnion($1.values) })
    }

    private mutating func element(_ index: Int) -> (text: String, values: Set<Int64>) {
        let range = Self.ranges[index]
        let first = Int64.random(in: range, using: &generator)
        let step = Int.random(in: 1...(index == 0 ? 30 : 7), using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: return ("*/\(step)", Set(stride(from: range.lowerBound, through: range.upperBound, by: step)))
        case 1 where first < range.upperBound:
            let last = Int64.random(in: first + 1...range.upperBound, using: &generator)
            return ("\(first)-\(last)/\(step)", Set(stride(from: first, through: last, by: step)))
        case 2:
            let last = Int64.random(in: first...range.upperBound, using: &generator)
            return ("\(first)-\(last)", Set(first...last))
        case 3 where Self.names[index].indices.contains(Int(first)):
            let name = Self.names[index][Int(first)]
            return (Bool.random(using: &generator) ? name : name.uppercased(), [first])
        default: return ("\(first)", [first])
        }
    }
}
