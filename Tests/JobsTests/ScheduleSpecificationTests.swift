import Core
import Foundation
import Testing

@testable import Jobs

@Suite("J14: fields of a schedule")
struct ScheduleSpecificationTests {
    @Test(
        "J14: time zones are IANA names in their spelling",
        arguments: [
            "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "US/Eastern", "Asia/Calcutta", "CET",
            "CST6CDT",
            "EET", "EST", "EST5EDT", "GMT", "HST", "MET", "MST", "MST7MDT", "PST8PDT", "WET",
        ])
    func zones(name: String) throws {
        #expect(ScheduleSpecification.problem(ofTimeZone: name) == nil)
        let timing = try ScheduleSpecification.timing(cron: "@daily", every: nil, timeZone: name)
        #expect(ScheduleSpecification(name: "a", timing: timing).timeZone == name)
        _ = try SchedulePlan(timing)
    }

    @Test(
        "J14: abbreviations, offsets and unknown names are refused",
        arguments: [
            ("PST", nil), ("CEST", nil), ("GMT+5", nil), ("GMT0", nil), ("+05:00", nil), ("", nil), ("Factory", nil),
            ("Mars/Olympus", nil), ("Etc/Unknown", nil), ("SystemV/AST4ADT", nil), ("/etc/localtime", nil),
            ("europe/berlin", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("new york", "America/New_York"),
            ("utc", "UTC"), ("Europe/Berlin ", nil),
        ] as [(String, String?)])
    func refusedZones(name: String, suggestion: String?) {
        let problem = ScheduleSpecification.problem(ofTimeZone: name)
        #expect(problem?.field == "time_zone")
        #expect(problem?.message == "must be UTC or an IANA time zone name such as Europe/Berlin")
        #expect(problem?.suggestion == suggestion)
    }

    @Test("J14: the accepted names are the zones of the linked time zone data")
    func names() {
        #expect(TimeZoneNames.all.count > 590)
        #expect(TimeZoneNames.all.filter { ZoneClock(name: $0) == nil } == [])
        // New versions of the data bring new names.
        let known = TimeZone.knownTimeZoneIdentifiers.filter { $0.contains("/") }
        #expect(known.count > 400)
        #expect(known.filter { !TimeZoneNames.contains($0) } == [])
    }

    private func problem(_ cron: String?, _ every: Duration?, _ zone: String? = nil) -> String? {
        let timing = Result { () throws(ScheduleSpecification.Problem) in
            try ScheduleSpecification.timing(cron: cron, every: every, timeZone: zone)
        }
        guard case .failure(let problem) = timing else { return nil }
        return "\(problem.field): \(problem.message)"
    }

    @Test("J14: exactly one of cron and every; time_zone with cron only; every from 1s to 365d")
    func timing() throws {
        #expect(problem("@daily", nil) == nil)
        #expect(problem(nil, .seconds(1)) == nil)
        #expect(problem(nil, .seconds(365 * 86_400)) == nil)
        #expect(problem(nil, nil) == ": one of cron and every is required")
        #expect(problem("@daily", .seconds(5)) == "every: only one of cron and every is allowed")
        #expect(
            problem(nil, .seconds(5), "UTC")
                == "time_zone: is allowed with cron only: every counts from 1970-01-01T00:00:00Z")
        #expect(problem(nil, .milliseconds(999)) == "every: must be a duration from 1s to 365d")
        #expect(problem(nil, .seconds(365 * 86_400 + 1)) == "every: must be a duration from 1s to 365d")
        #expect(problem("0 24 * * *", nil) == "cron: the hour field must be 0 to 23, not \"24\"")
        #expect(problem("@daily", nil, "PST")?.hasPrefix("time_zone: must be UTC") == true)
        let schedules = ["a", "b", "a", "a"].map { ScheduleSpecification(name: $0, timing: .every(.seconds(1))) }
        #expect(ScheduleSpecification.duplicates(in: schedules) == [2, 3])
    }

    @Test("J14: a fingerprint changes with cron, every, time_zone and suspended, and with nothing else")
    func fingerprint() throws {
        let berlin = ScheduleSpecification(
            name: "a", timing: .cron(try CronExpression("@daily"), timeZone: "Europe/Berlin"))
        var other = berlin
        other.overlap = .allow
        other.catchUp = .all
        other.catchUpWindow = .seconds(5)
        other.jitter = .seconds(5)
        other.job = #"{"a": 1}"#
        #expect(other.fingerprint == berlin.fingerprint)
        other.isSuspended = true
        #expect(other.fingerprint != berlin.fingerprint)
        #expect(other.hasTiming(ofFingerprint: berlin.fingerprint))
        #expect(!other.hasSuspension(ofFingerprint: berlin.fingerprint))
        other = berlin
        other.timing = .cron(try CronExpression("@daily"), timeZone: "Europe/Paris")
        #expect(!other.hasTiming(ofFingerprint: berlin.fingerprint))
        #expect(other.hasSuspension(ofFingerprint: berlin.fingerprint))
        other.timing = .every(.seconds(86_400))
        #expect(!other.hasTiming(ofFingerprint: berlin.fingerprint))
    }
}
