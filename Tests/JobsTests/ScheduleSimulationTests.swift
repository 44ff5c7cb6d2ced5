import Core
import Foundation
import TestSupport
import Testing

@testable import Jobs

/// A schedule in a world with crashes, downtime, a calendar that jumps, suspensions and jobs of all durations.
private struct World {
    let specification: ScheduleSpecification
    let plan: SchedulePlan
    let begin: Timestamp
    private var random: SeededGenerator
    private var calendar: Timestamp
    private var instant = Instant(microseconds: 0)

    // What survives a crash.
    private(set) var saved: ScheduleState
    /// By planned time.
    private(set) var jobs: [Timestamp: RequestID] = [:]
    private var ends: [RequestID: Instant] = [:]
    private(set) var skips: [ScheduleState.Skip] = []

    // What does not.
    private var machine: ScheduleMachine
    private var watch: CalendarWatch

    private enum End: Equatable {
        case crashed
        case waits(until: Timestamp?)
    }

    private(set) var crashes = 0
    private(set) var repeatedJobs = 0
    private(set) var problems: [String] = []

    init(_ specification: ScheduleSpecification, begin: Timestamp, seed: UInt64) throws {
        self.specification = specification
        self.begin = begin
        plan = try SchedulePlan(specification.timing)
        random = SeededGenerator(seed: seed)
        calendar = begin
        watch = CalendarWatch(now: begin, instant: instant)
        machine = try ScheduleMachine(api: "sum", specification: specification, deployedAt: begin, watchedSince: begin)
        saved = machine.initialState(now: begin)
    }

    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    /// Short and long ones are equally frequent.
    private mutating func duration(upTo seconds: Double) -> Duration {
        .milliseconds(Int64(1000 * exp2(Double.random(in: 0...log2(seconds), using: &random))))
    }

    private var lastJobIsOpen: Bool { saved.lastJob.flatMap { ends[$0] }.map { $0 > instant } ?? false }

    private mutating func pass(_ duration: Duration) {
        calendar = calendar + duration
        instant = instant + duration
    }

    /// One event, and what the platform does after it.
    mutating func step() throws {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<2: try crash()
        case 2..<4: calendar = calendar + duration(upTo: 3 * 86_400)
        case 4..<6: calendar = calendar - duration(upTo: 2 * 86_400)
        case 6..<8: saved.isSuspended = true
        case 8..<13:
            saved.isSuspended = false
            machine.resume(now: calendar)
        case 13..<20: pass(duration(upTo: 86_400))
        default: break
        }
        guard case .waits(let time) = act() else { return try crash() }
        // On to the next planned time or the end of the job, and at most a second past it.
        var next = time.map { $0 - calendar } ?? duration(upTo: 86_400)
        if let end = saved.lastJob.flatMap({ ends[$0] }), end > instant { next = min(next, end - instant) }
        pass(max(next, .zero) + .milliseconds(Int.random(in: 0..<1000, using: &random)))
    }

    /// Ends the work: everything that is planned until now is decided.
    mutating func finish() throws {
        saved.isSuspended = false
        while act() == .crashed { try crash() }
    }

    private mutating func crash() throws {
        crashes += 1
        if chance(70) { pass(duration(upTo: 20 * 86_400)) }
        watch = CalendarWatch(now: calendar, instant: instant)
        machine = try ScheduleMachine(
            api: "sum", specification: specification, deployedAt: begin, watchedSince: calendar)
    }

    /// Carries out decisions until the machine waits.
    private mutating func act() -> End {
        for _ in 0..<10_000 {
            watch.observe(now: calendar, instant: instant)
            let decision = machine.decide(
                saved, lastJobIsOpen: lastJobIsOpen, watchedSince: watch.since, now: calendar)
            if chance(1) { return .crashed }
            switch decision {
            case .save(let new, let skipped):
                if new.lastPlanned < saved.lastPlanned { problems.append("lastPlanned went back") }
                if new == saved { problems.append("a state without a change") }
                saved = new
                skips += skipped
            case .fire(let planned):
                if chance(2), jobs[planned] == nil {
                    saved = machine.refused(saved, reason: "refused")
                    skips.append(.init(plannedAt: planned, count: 1, reason: "refused"))
                    continue
                }
                let job = make(planned)
                if chance(2) { return .crashed }
                saved = machine.made(saved, job: job)
            case .stopLastJob:
                if let job = saved.lastJob, let end = ends[job] {
                    ends[job] = min(end, instant + .milliseconds(Int.random(in: 1..<30_000, using: &random)))
                }
                return .waits(until: calendar + .seconds(1))
            case .wait(let time): return .waits(until: time)
            }
        }
        problems.append("it never waits")
        return .waits(until: nil)
    }

    /// The store: one job for a planned time.
    private mutating func make(_ planned: Timestamp) -> RequestID {
        if let job = jobs[planned] {
            repeatedJobs += 1
            return job
        }
        // A clock may have been set back since the decision.
        let isOpen = ends.values.contains { $0 > instant }
        if specification.overlap != .allow, isOpen { problems.append("two jobs at \(planned.rfc3339)") }
        let job = RequestID(high: UInt64(jobs.count), low: 0)
        jobs[planned] = job
        ends[job] = instant + duration(upTo: 3 * 86_400)
        return job
    }
}

@Suite("J14: simulated decades of schedules")
struct ScheduleSimulationTests {
    private static func timing(_ index: Int) throws -> (ScheduleSpecification.Timing, begin: Int64) {
        let nineties: Int64 = 631_152_000
        switch index % 5 {
        case 0: return (.cron(try CronExpression("30 2 * * *"), timeZone: "Europe/Berlin"), nineties)
        case 1: return (.cron(try CronExpression("0 */4 * * *"), timeZone: "America/New_York"), nineties)
        // Into the day that did not exist.
        case 2: return (.cron(try CronExpression("0 12 * * *"), timeZone: "Pacific/Apia"), 1_293_840_000)
        case 3: return (.cron(try CronExpression("15,45 1-3 * * *"), timeZone: "Australia/Lord_Howe"), nineties)
        default: return (.every(.seconds(7 * 3600)), 0)
        }
    }

    @Test(
        "J14: each planned time leads to exactly one job or exactly one recorded skip, and jobs do not overlap",
        arguments: ScheduleSpecification.Overlap.allCases, ScheduleSpecification.CatchUp.allCases)
    func exactlyOne(overlap: ScheduleSpecification.Overlap, catchUp: ScheduleSpecification.CatchUp) throws {
        var (crashes, repeatedJobs, jobs, skips) = (0, 0, 0, 0)
        for seed in 0..<5 {
            let (timing, begin) = try Self.timing(seed)
            let specification = ScheduleSpecification(
                name: "report", timing: timing, overlap: overlap, catchUp: catchUp,
                catchUpWindow: .seconds([3600, 30 * 86_400][seed % 2]), jitter: .seconds([0, 600, 3600][seed % 3]))
            var world = try World(specification, begin: Timestamp(seconds: begin), seed: UInt64(seed))
            for _ in 0..<1500 { try world.step() }
            try world.finish()
            #expect(world.problems == [])
            crashes += world.crashes
            repeatedJobs += world.repeatedJobs
            jobs += world.jobs.count
            skips += world.skips.count

            var ends: [Timestamp: Int] = world.jobs.mapValues { _ in 1 }
            for skip in world.skips {
                let times = world.plan.newest(skip.count, after: world.begin, through: skip.plannedAt)
                #expect(times.count == skip.count && times.last == skip.plannedAt, "\(skip)")
                for time in times { ends[time, default: 0] += 1 }
            }
            // A planned time that waits at the end has no job yet.
            if let waiting = world.saved.waiting { ends[waiting, default: 0] += 1 }
            let count = world.plan.count(after: world.begin, through: world.saved.lastPlanned)
            let planned = world.plan.times(after: world.begin, limit: count)
            #expect(planned.filter { ends[$0] != 1 } == [], "seed \(seed)")
            #expect(ends.count == planned.count, "seed \(seed)")
        }
        #expect(crashes > 250 && repeatedJobs > 20 && jobs > 500 && skips > 100, "a world without events")
    }
}
