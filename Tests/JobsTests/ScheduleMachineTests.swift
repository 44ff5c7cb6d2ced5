import Core
import Testing

@testable import Jobs

/// 2026-11-30T00:00:00Z, a Monday.
private let midnight = Timestamp(seconds: 1_796_515_200)

private func at(_ seconds: Int64) -> Timestamp { midnight + .seconds(seconds) }

private let job = RequestID(high: 0x0193_0000_0000_7000, low: 0x8000_0000_0000_0001)

@Suite("J14: what happens with planned times")
struct ScheduleMachineTests {
    /// Planned each minute.
    private var specification = ScheduleSpecification(name: "report", timing: .every(.seconds(60)))

    private func machine(
        deployedAt: Timestamp = midnight, watchedSince: Timestamp = midnight
    ) throws -> ScheduleMachine {
        try ScheduleMachine(
            api: "sum", specification: specification, deployedAt: deployedAt, watchedSince: watchedSince)
    }

    private func state(
        lastPlanned: Int64 = 0, waiting: Int64? = nil, lastJob: RequestID? = nil, isSuspended: Bool = false
    ) -> ScheduleState {
        ScheduleState(
            fingerprint: specification.fingerprint, lastPlanned: at(lastPlanned), isSuspended: isSuspended,
            waiting: waiting.map(at), lastJob: lastJob)
    }

    /// What the steps until the next wait do, in short.
    private func run(
        _ state: inout ScheduleState, _ machine: inout ScheduleMachine, at seconds: Int64, lastJobIsOpen: Bool = false,
        watchedSince: Timestamp = midnight
    ) -> [String] {
        var log: [String] = []
        var isOpen = lastJobIsOpen
        while log.count < 5000 {
            switch machine.decide(state, lastJobIsOpen: isOpen, watchedSince: watchedSince, now: at(seconds)) {
            case .save(let new, let skipped):
                log += skipped.map { "skip \($0.count) to \(($0.plannedAt - midnight).secondsText): \($0.reason)" }
                state = new
            case .fire(let time):
                log.append("fire \((time - midnight).secondsText)")
                state = machine.made(state, job: job)
                isOpen = lastJobIsOpen
            case .stopLastJob: return log + ["stop"]
            case .wait(let time): return log + ["wait \(time.map { ($0 - midnight).secondsText } ?? "-")"]
            }
        }
        return log
    }

    @Test("J14: each planned time leads to one job, not before its time")
    func regular() throws {
        var machine = try machine(deployedAt: at(1))
        var state = machine.initialState(now: at(1))
        #expect(run(&state, &machine, at: 1) == ["wait 60"])
        #expect(run(&state, &machine, at: 59) == ["wait 60"])
        #expect(run(&state, &machine, at: 60) == ["fire 60", "wait 120"])
        #expect(run(&state, &machine, at: 61) == ["wait 120"])
        #expect(state.lastPlanned == at(60) && state.lastJob == job && state.skips.isEmpty)
    }

    @Test(
        "J14: the decision is saved before the job is made, so a crash between them repeats it, whatever else changed")
    func crash() throws {
        var machine = try machine()
        let saved = machine.decide(state(), lastJobIsOpen: false, watchedSince: midnight, now: at(60))
        guard case .save(var state, _) = saved else { throw CancellationError() }
        #expect(state.waiting == at(60) && state.lastPlanned == at(60))
        // After an hour, suspended, with another policy and other planned times.
        state.isSuspended = true
        for overlap in ScheduleSpecification.Overlap.allCases {
            var other = ScheduleSpecification(name: "report", timing: .every(.seconds(7)), overlap: overlap)
            other.catchUp = .nothing
            var later = try ScheduleMachine(
                api: "sum", specification: other, deployedAt: at(3600), watchedSince: at(3600))
            for isOpen in [false, true] {
                let decision = later.decide(state, lastJobIsOpen: isOpen, watchedSince: at(3600), now: at(3600))
                #expect(decision == .fire(at(60)))
            }
        }
    }

    @Test("J14: overlap skip records a skip with the running job; skips of one cause are one entry")
    mutating func skip() throws {
        specification.overlap = .skip
        var machine = try machine()
        var state = state(lastJob: job)
        #expect(
            run(&state, &machine, at: 60, lastJobIsOpen: true) == [
                "skip 1 to 60: job \(job) had not ended", "wait 120",
            ])
        #expect(
            run(&state, &machine, at: 120, lastJobIsOpen: true) == [
                "skip 1 to 120: job \(job) had not ended", "wait 180",
            ])
        #expect(state.skips == [.init(plannedAt: at(120), count: 2, reason: "job \(job) had not ended")])
        #expect(run(&state, &machine, at: 180) == ["fire 180", "wait 240"])
    }

    @Test("J14: overlap queue keeps the newest planned time waiting")
    mutating func queue() throws {
        specification.overlap = .queue
        var machine = try machine()
        var state = state(lastJob: job)
        #expect(run(&state, &machine, at: 60, lastJobIsOpen: true) == ["wait 120"])
        #expect(state.waiting == at(60))
        let reason = "a newer planned time took its place while job \(job) had not ended"
        #expect(run(&state, &machine, at: 120, lastJobIsOpen: true) == ["skip 1 to 60: \(reason)", "wait 180"])
        #expect(run(&state, &machine, at: 130) == ["fire 120", "wait 180"])
        #expect(state.waiting == nil)
    }

    @Test("J14: overlap replace stops the running job and fires when it has ended")
    mutating func replace() throws {
        specification.overlap = .replace
        var machine = try machine()
        var state = state(lastJob: job)
        #expect(run(&state, &machine, at: 60, lastJobIsOpen: true) == ["stop"])
        #expect(run(&state, &machine, at: 70, lastJobIsOpen: true) == ["stop"])
        #expect(run(&state, &machine, at: 80) == ["fire 60", "wait 120"])
    }

    @Test("J14: overlap allow starts the new job beside the running one")
    mutating func allow() throws {
        specification.overlap = .allow
        var machine = try machine()
        var state = state(lastJob: job)
        #expect(run(&state, &machine, at: 60, lastJobIsOpen: true) == ["fire 60", "wait 120"])
        // A deploy changed it from queue.
        state.waiting = at(60)
        #expect(run(&state, &machine, at: 120, lastJobIsOpen: true) == ["fire 60", "fire 120", "wait 180"])
    }

    @Test(
        "J14: planned times that passed while the platform was down",
        arguments: [
            (.nothing, ["skip 5 to 300: missed; catch_up is none", "wait 360"]),
            (
                .latest,
                [
                    "skip 4 to 240: missed; catch_up is latest, and a newer planned time was missed too", "fire 300",
                    "wait 360",
                ]
            ),
            (.all, ["fire 60", "fire 120", "fire 180", "fire 240", "fire 300", "wait 360"]),
        ] as [(ScheduleSpecification.CatchUp, [String])])
    mutating func down(catchUp: ScheduleSpecification.CatchUp, expected: [String]) throws {
        specification.catchUp = catchUp
        specification.overlap = .allow
        var machine = try machine(watchedSince: at(330))
        var state = state()
        #expect(run(&state, &machine, at: 330, watchedSince: at(330)) == expected)
        // The same for a clock that was set forward.
        var other = try self.machine()
        state = self.state()
        #expect(run(&state, &other, at: 330, watchedSince: at(330)) == expected)
        // And after a suspension, also if it has just ended.
        var third = try self.machine()
        state = self.state(isSuspended: true)
        #expect(run(&state, &third, at: 329) == ["wait -"])
        state.isSuspended = false
        third.resume(now: at(330))
        #expect(run(&state, &third, at: 330) == expected)
        // And if it could not be carried out for a while.
        var fourth = try self.machine()
        state = self.state()
        #expect(run(&state, &fourth, at: 330) == expected)
    }

    @Test("J14: a planned time is not missed if the platform was there, and after its start only what came before it")
    mutating func notMissed() throws {
        specification.catchUp = .nothing
        var machine = try machine()
        var state = state()
        #expect(run(&state, &machine, at: 69) == ["fire 60", "wait 120"])
        var other = try self.machine(watchedSince: at(239))
        state = self.state()
        #expect(
            run(&state, &other, at: 241, watchedSince: at(239)) == [
                "skip 3 to 180: missed; catch_up is none", "fire 240", "wait 300",
            ])
    }

    @Test("J14: planned times older than catch_up_window are skipped")
    mutating func window() throws {
        specification.catchUpWindow = .seconds(150)
        specification.overlap = .allow
        let old = "missed; older than catch_up_window"
        for (catchUp, expected) in [
            (.nothing, ["skip 5 to 300: missed; catch_up is none", "wait 360"]),
            (
                .latest,
                [
                    "skip 2 to 120: \(old)",
                    "skip 2 to 240: missed; catch_up is latest, and a newer planned time was missed too", "fire 300",
                    "wait 360",
                ]
            ),
            (.all, ["skip 2 to 120: \(old)", "fire 180", "fire 240", "fire 300", "wait 360"]),
        ] as [(ScheduleSpecification.CatchUp, [String])] {
            specification.catchUp = catchUp
            var machine = try machine(watchedSince: at(330))
            var state = state()
            // 180 is exactly as old as the window.
            #expect(run(&state, &machine, at: 330, watchedSince: at(330)) == expected)
        }
        specification.catchUpWindow = .seconds(5)
        var machine = try machine(watchedSince: at(330))
        var state = state()
        #expect(run(&state, &machine, at: 330, watchedSince: at(330)) == ["skip 5 to 300: \(old)", "wait 360"])
    }

    @Test("J14: catch_up all starts at most the newest 1000")
    mutating func limit() throws {
        specification.catchUp = .all
        specification.catchUpWindow = .seconds(10 * 86_400)
        specification.overlap = .allow
        var machine = try machine(watchedSince: at(86_400))
        var state = state()
        let log = run(&state, &machine, at: 86_400, watchedSince: at(86_400) + .microseconds(1))
        #expect(log.count == 1002)
        #expect(log.prefix(2) == ["skip 440 to 26400: missed; at most 1000 planned times are caught up", "fire 26460"])
        #expect(log.suffix(2) == ["fire 86400", "wait 86460"])
    }

    @Test("J14: years of planned times are skipped in one entry, and quickly")
    mutating func years() throws {
        specification.timing = .cron(try CronExpression("* * * * *"), timeZone: "Europe/Berlin")
        let decade = Int64(10 * 365 * 86_400)
        var machine = try machine(watchedSince: at(decade))
        var state = state()
        let start = ContinuousClock.now
        let log = run(&state, &machine, at: decade, watchedSince: at(decade))
        #expect(log.first == "skip \(10 * 365 * 1440 - 61) to \(decade - 3660): missed; older than catch_up_window")
        #expect(log.contains("fire \(decade)"))
        #expect(ContinuousClock.now - start < .seconds(10))
    }

    @Test("J14: a clock that is set back repeats nothing")
    func clockBack() throws {
        var machine = try machine()
        var state = state(lastPlanned: 600, lastJob: job)
        #expect(run(&state, &machine, at: 300, watchedSince: at(300)) == ["wait 660"])
        #expect(run(&state, &machine, at: 659, watchedSince: at(300)) == ["wait 660"])
        #expect(run(&state, &machine, at: 660, watchedSince: at(300)) == ["fire 660", "wait 720"])
        // Forward and back: what was planned meanwhile is over.
        #expect(run(&state, &machine, at: 900, watchedSince: at(900)).first?.hasPrefix("skip 2 to 780") == true)
        #expect(run(&state, &machine, at: 700, watchedSince: at(700)) == ["wait 960"])
        // Regular again, not missed, although the moment before was later.
        var none = specification
        none.catchUp = .nothing
        var other = try ScheduleMachine(api: "sum", specification: none, deployedAt: midnight, watchedSince: at(900))
        state = self.state(lastPlanned: 660)
        #expect(run(&state, &other, at: 700, watchedSince: at(700)) == ["wait 720"])
        #expect(run(&state, &other, at: 721, watchedSince: at(700)) == ["fire 720", "wait 780"])
    }

    @Test("J14: a suspended schedule plans nothing, and a waiting planned time is skipped")
    mutating func suspension() throws {
        specification.overlap = .queue
        var machine = try machine()
        var state = state(lastPlanned: 60, waiting: 60, lastJob: job, isSuspended: true)
        #expect(
            run(&state, &machine, at: 70, lastJobIsOpen: true) == [
                "skip 1 to 60: the schedule was suspended", "wait -",
            ])
        #expect(machine.upcoming(state, now: at(70), limit: 5) == [])
        #expect(run(&state, &machine, at: 1000) == ["wait -"])
        #expect(state.lastPlanned == at(60))
    }

    @Test(
        "J14: a deploy that changes cron, every or time_zone plans again from its moment; another one keeps the state")
    mutating func deploy() throws {
        specification.overlap = .queue
        var state = state(lastPlanned: 60, waiting: 60, lastJob: job)
        state.isSuspended = true
        specification.jitter = .seconds(1)
        var same = try machine()
        let old = state
        _ = run(&state, &same, at: 61, lastJobIsOpen: true)
        #expect(state.lastPlanned == old.lastPlanned && state.isSuspended)

        specification.jitter = .zero
        specification.timing = .every(.seconds(36))
        var changed = try machine(deployedAt: at(99))
        state = old
        state.isSuspended = false
        #expect(
            run(&state, &changed, at: 100, lastJobIsOpen: true) == [
                "skip 1 to 60: the schedule was changed", "wait 108",
            ])
        #expect(state.fingerprint == specification.fingerprint)
        // The platform looks at a new version up to a second later.
        changed = try machine(deployedAt: at(107))
        state = old
        state.isSuspended = false
        state.waiting = nil
        #expect(run(&state, &changed, at: 108) == ["fire 108", "wait 144"])
        var first = changed.initialState(now: at(108))
        #expect(run(&first, &changed, at: 108) == ["fire 108", "wait 144"])
        changed = try machine(deployedAt: at(99))
        // A new plan begins at the deploy also if the clock had been ahead before.
        state = old
        state.isSuspended = false
        state.waiting = nil
        state.lastPlanned = at(1_000_000)
        #expect(run(&state, &changed, at: 100) == ["wait 108"])
    }

    @Test("J14: suspend and resume hold across deploys that do not change suspended")
    mutating func deploySuspended() throws {
        var state = state(isSuspended: true)
        specification.timing = .every(.seconds(36))
        var machine = try machine(deployedAt: at(99))
        #expect(run(&state, &machine, at: 100) == ["wait -"])
        specification.isSuspended = true
        var suspended = try self.machine()
        state.isSuspended = false
        #expect(run(&state, &suspended, at: 101) == ["wait -"])
        // Resumed by hand; the next deploy has the same file.
        state.isSuspended = false
        #expect(run(&state, &suspended, at: 104).first == "wait 108")
        specification.isSuspended = false
        state.isSuspended = true
        var active = try self.machine()
        #expect(run(&state, &active, at: 104) == ["wait 108"])
        #expect(try self.machine(deployedAt: at(6)).initialState(now: at(5)) == self.state(lastPlanned: 5))
    }

    @Test("J14: a job that is refused is a recorded skip")
    func refused() throws {
        let machine = try machine()
        let state = machine.refused(state(lastPlanned: 60, waiting: 60), reason: "100 jobs wait")
        #expect(state.waiting == nil)
        #expect(state.skips == [.init(plannedAt: at(60), count: 1, reason: "100 jobs wait")])
        #expect(machine.refused(state, reason: "100 jobs wait") == state)
    }

    @Test("J14: at most 100 entries of skips are kept")
    func entries() throws {
        let machine = try machine()
        var state = state()
        for number in 1...150 {
            state.waiting = at(Int64(number))
            state = machine.refused(state, reason: "\(number)")
        }
        #expect(state.skips.count == 100)
        #expect(state.skips.first?.reason == "150")
    }

    @Test("J14: jitter is a fixed delay in [0, jitter), and never changes")
    mutating func jitter() throws {
        let jitter = ScheduleJitter(api: "sum", schedule: "nightly", bound: .seconds(3600))
        // Other values would move planned times at the update of the platform.
        #expect(jitter.hash(of: Timestamp(seconds: 0)) == 0xDB56_9174_B880_C584)
        #expect(jitter.hash(of: midnight) == 0x7C7E_A72E_BFBD_BC51)
        let delays = (0..<1000).map { jitter.delay(of: at($0 * 86_400), following: at($0 * 86_400 + 86_400)) }
        #expect(delays.allSatisfy { $0 >= .zero && $0 < .seconds(3600) })
        // Spread evenly: each tenth of the hour has about a tenth of them.
        for tenth in 0..<10 {
            let range = Duration.seconds(360 * tenth)..<Duration.seconds(360 * (tenth + 1))
            #expect((60...140).contains(delays.count { range.contains($0) }))
        }
        let other = ScheduleJitter(api: "sum2", schedule: "nightly", bound: .seconds(3600))
        #expect(other.delay(of: midnight, following: nil) != jitter.delay(of: midnight, following: nil))

        specification.jitter = .seconds(3600)
        var machine = try machine()
        var state = state()
        for minute in 1...200 {
            let planned = at(Int64(minute) * 60)
            let due = machine.due(planned)
            // Less than the period, so the order stays.
            #expect(due >= planned && due < planned + .seconds(60))
            #expect(
                machine.upcoming(state, now: due - .microseconds(1), limit: 2) == [planned, planned + .seconds(60)])
            #expect(
                machine.decide(state, lastJobIsOpen: false, watchedSince: midnight, now: due - .microseconds(1))
                    == .wait(until: due))
            guard
                case .save(let decided, _) = machine.decide(
                    state, lastJobIsOpen: false, watchedSince: midnight, now: due)
            else {
                throw CancellationError()
            }
            #expect(decided.waiting == planned)
            state = machine.made(decided, job: job)
        }
    }

    @Test("J14: the calendar is watched from the start, and again from each jump")
    func calendar() {
        var watch = CalendarWatch(now: midnight, instant: Instant(microseconds: 5))
        func instant(_ seconds: Int64) -> Instant { Instant(microseconds: 5 + seconds * 1_000_000) }
        watch.observe(now: at(100), instant: instant(100))
        #expect(watch.since == midnight)
        watch.observe(now: at(101) + .milliseconds(900), instant: instant(101))
        #expect(watch.since == midnight)
        watch.observe(now: at(3700), instant: instant(102))
        #expect(watch.since == at(3700))
        watch.observe(now: at(3800), instant: instant(202))
        #expect(watch.since == at(3700))
        watch.observe(now: at(200), instant: instant(203))
        #expect(watch.since == at(200))
    }
}
