package import Core

/// Decides what happens with the planned times of one schedule (contract J14): a function of the saved state, the last
/// job and the calendar. Jobs of `schedule run` are beside the plan: they are not the last job.
///
/// Its caller asks for a decision at least once a second, carries it out, and asks again until the answer is
/// ``Decision/wait(until:)`` or ``Decision/stopLastJob``. Each step can be repeated after a crash:
///
/// 1. The decision that a planned time leads to a job is saved before the job is made. It is then
///    ``ScheduleState/waiting``, and ``ScheduleState/lastPlanned`` has passed it.
/// 2. The job is made. A store makes one job for a planned time; a second call finds the first.
/// 3. The job's id is saved, and nothing waits any more.
///
/// While a planned time waits and the last job is open, no job has been made for it, so it can still be skipped. If the
/// last job has ended or is absent, its job may exist, and it is always made before anything else.
package struct ScheduleMachine: Sendable {
    package enum Decision: Sendable, Hashable {
        /// Save the state. The skips are those that it has gained, for the log.
        case save(ScheduleState, skipped: [ScheduleState.Skip])
        /// Make the job of a planned time, and save ``ScheduleMachine/made(_:job:)`` or
        /// ``ScheduleMachine/refused(_:reason:)``.
        case fire(Timestamp)
        /// Stop the last job (contract J5). Its successor is made when it has ended.
        case stopLastJob
        /// Nothing to do before this time of the calendar, unless the last job ends or the state changes; `nil`: no
        /// planned time is known.
        case wait(until: Timestamp?)
    }

    package let specification: ScheduleSpecification
    package let plan: SchedulePlan
    private let jitter: ScheduleJitter
    private let deployedAt: Timestamp
    /// Planned times before it were missed.
    private var watchedSince: Timestamp

    /// - Parameters:
    ///   - deployedAt: when the version of the API was deployed: its plan begins then, although the platform looks at
    ///     it up to a second later.
    ///   - watchedSince: ``CalendarWatch/since``.
    package init(
        api: String, specification: ScheduleSpecification, deployedAt: Timestamp, watchedSince: Timestamp
    ) throws(ScheduleSpecification.Problem) {
        self.specification = specification
        self.deployedAt = deployedAt
        plan = try SchedulePlan(specification.timing)
        jitter = ScheduleJitter(api: api, schedule: specification.name, bound: specification.jitter)
        self.watchedSince = watchedSince
    }

    /// The state of a schedule that is deployed for the first time.
    package func initialState(now: Timestamp) -> ScheduleState {
        ScheduleState(
            fingerprint: specification.fingerprint, lastPlanned: min(deployedAt, now),
            isSuspended: specification.isSuspended)
    }

    /// The moment at which a planned time is due: its own, plus its jitter.
    package func due(_ planned: Timestamp) -> Timestamp {
        if specification.jitter == .zero { return planned }
        return planned + jitter.delay(of: planned, following: plan.next(after: planned))
    }

    /// The planned times that `GET <base>/schedules` shows.
    package func upcoming(_ state: ScheduleState, now: Timestamp, limit: Int) -> [Timestamp] {
        if state.isSuspended { return [] }
        // A planned time that has passed is still ahead until its jitter is over.
        let start = max(state.lastPlanned, now - specification.jitter)
        let passed = plan.count(after: start, through: now)
        return Array(plan.times(after: start, limit: limit + passed).filter { due($0) > now }.prefix(limit))
    }

    // MARK: Decisions

    /// - Parameters:
    ///   - state: what is saved.
    ///   - lastJobIsOpen: whether ``ScheduleState/lastJob`` has not ended. A job that no longer exists has ended.
    ///   - watchedSince: ``CalendarWatch/since``.
    package mutating func decide(
        _ state: ScheduleState, lastJobIsOpen: Bool, watchedSince: Timestamp, now: Timestamp
    ) -> Decision {
        // After a jump of the calendar the new moment counts, also if it is an earlier one.
        self.watchedSince = max(self.watchedSince, watchedSince)
        if self.watchedSince > now { self.watchedSince = watchedSince }
        if let waiting = state.waiting, !lastJobIsOpen || state.lastJob == nil { return .fire(waiting) }
        if state.fingerprint != specification.fingerprint { return adopt(state, now: now) }
        if state.isSuspended { return suspended(state, now: now) }
        if state.waiting != nil, specification.overlap == .allow {
            // A deploy changed `overlap`: it does not wait any more.
            var new = state
            new.lastJob = nil
            return .save(new, skipped: [])
        }
        if let decision = passed(state, lastJobIsOpen: lastJobIsOpen, now: now) { return decision }
        if state.waiting != nil, specification.overlap == .replace { return .stopLastJob }
        return .wait(until: plan.next(after: state.lastPlanned).map(due))
    }

    /// `schedule resume`: planned times that passed before were missed.
    package mutating func resume(now: Timestamp) {
        watchedSince = now
    }

    /// The state after the job of the waiting planned time was made.
    package func made(_ state: ScheduleState, job: RequestID) -> ScheduleState {
        var new = state
        new.waiting = nil
        new.lastJob = job
        return new
    }

    /// The state after the store or the API refused the job of the waiting planned time.
    package func refused(_ state: ScheduleState, reason: String) -> ScheduleState {
        guard let waiting = state.waiting else { return state }
        var change = Change(state)
        change.skip(waiting, count: 1, reason)
        change.state.waiting = nil
        return change.state
    }

    /// A deploy changed the schedule.
    private func adopt(_ state: ScheduleState, now: Timestamp) -> Decision {
        var change = Change(state)
        change.state.fingerprint = specification.fingerprint
        if !specification.hasTiming(ofFingerprint: state.fingerprint) {
            change.skipWaiting("the schedule was changed")
            // A clock that was ahead has left a later time.
            change.state.lastPlanned = min(max(state.lastPlanned, deployedAt), now)
        }
        if !specification.hasSuspension(ofFingerprint: state.fingerprint) {
            change.state.isSuspended = specification.isSuspended
        }
        return change.decision
    }

    private mutating func suspended(_ state: ScheduleState, now: Timestamp) -> Decision {
        watchedSince = now
        guard state.waiting != nil else { return .wait(until: nil) }
        var change = Change(state)
        change.skipWaiting("the schedule was suspended")
        return change.decision
    }

    /// The next step for planned times that are due; `nil` if none is.
    private func passed(_ state: ScheduleState, lastJobIsOpen: Bool, now: Timestamp) -> Decision? {
        guard let first = plan.next(after: state.lastPlanned), first <= now,
            let newest = newestDue(after: state.lastPlanned, through: now)
        else { return nil }
        var change = Change(state)
        // Planned times that are due for longer were missed, for example because the store failed.
        let cutoff = max(watchedSince, now - Limits.scheduleLateness)
        if let missed = newestDue(after: state.lastPlanned, through: cutoff - .microseconds(1)) {
            skipMissed(&change, through: missed, now: now)
        }
        let times = plan.times(after: change.state.lastPlanned, limit: 1)
        // All that were due are skipped.
        guard let next = times.first, next <= newest else { return change.decision }
        guard lastJobIsOpen, let job = state.lastJob, specification.overlap != .allow else {
            change.state.lastPlanned = next
            change.state.waiting = next
            change.state.lastJob = nil
            return change.decision
        }
        let count = plan.count(after: change.state.lastPlanned, through: newest)
        switch specification.overlap {
        case .skip, .allow: change.skip(newest, count: count, "job \(job) had not ended")
        case .queue, .replace:
            let reason = "a newer planned time took its place while job \(job) had not ended"
            change.skipWaiting(reason)
            if count > 1, let older = plan.newest(2, after: change.state.lastPlanned, through: newest).first {
                change.skip(older, count: count - 1, reason)
            }
            change.state.waiting = newest
        }
        change.state.lastPlanned = newest
        return change.decision
    }

    /// Skips the missed planned times that do not lead to a job. Those that do are left.
    private func skipMissed(_ change: inout Change, through missed: Timestamp, now: Timestamp) {
        let kept: Int
        switch specification.catchUp {
        case .nothing:
            return skip(&change, through: missed, "missed; catch_up is none")
        case .latest: kept = 1
        case .all: kept = Limits.scheduleCatchUp
        }
        let window = now - specification.catchUpWindow - .microseconds(1)
        if window > change.state.lastPlanned {
            skip(&change, through: min(missed, window), "missed; older than catch_up_window")
        }
        guard plan.count(after: change.state.lastPlanned, through: missed) > kept,
            let first = plan.newest(kept, after: change.state.lastPlanned, through: missed).first
        else { return }
        let reason =
            specification.catchUp == .latest
            ? "missed; catch_up is latest, and a newer planned time was missed too"
            : "missed; at most \(kept) planned times are caught up"
        skip(&change, through: first - .microseconds(1), reason)
    }

    /// Skips all planned times up to `end`, in one entry.
    private func skip(_ change: inout Change, through end: Timestamp, _ reason: String) {
        let count = plan.count(after: change.state.lastPlanned, through: end)
        guard count > 0, let newest = plan.newest(1, after: change.state.lastPlanned, through: end).last else {
            return
        }
        change.skip(newest, count: count, reason)
        change.state.lastPlanned = newest
    }

    /// The newest planned time after `start` that is due at `end`. A planned time is due before the next one.
    private func newestDue(after start: Timestamp, through end: Timestamp) -> Timestamp? {
        plan.newest(2, after: start, through: end).last { due($0) <= end }
    }
}

/// A state that is being changed, with the skips that it gains.
private struct Change {
    var state: ScheduleState
    private var skipped: [ScheduleState.Skip] = []

    init(_ state: ScheduleState) {
        self.state = state
    }

    var decision: ScheduleMachine.Decision { .save(state, skipped: skipped) }

    /// Records planned times without a job. An entry with the same reason as the newest one is added to it.
    ///
    /// - Parameter newest: the newest of them.
    mutating func skip(_ newest: Timestamp, count: Int, _ reason: String) {
        let skip = ScheduleState.Skip(plannedAt: newest, count: count, reason: reason)
        skipped.append(skip)
        if let last = state.skips.first, last.reason == reason {
            state.skips[0].plannedAt = max(last.plannedAt, newest)
            state.skips[0].count += count
        } else {
            state.skips.insert(skip, at: 0)
            if state.skips.count > Limits.scheduleSkips { state.skips.removeLast() }
        }
    }

    mutating func skipWaiting(_ reason: String) {
        guard let waiting = state.waiting else { return }
        skip(waiting, count: 1, reason)
        state.waiting = nil
    }
}

/// Since when the calendar has run without a jump in front of this process. A planned time from before was missed
/// (contract J14, "Catch-up").
package struct CalendarWatch: Sendable {
    /// How much the calendar may gain or lose between two observations; a clock that is adjusted stays below it.
    private static let tolerance: Int64 = 1_000_000

    /// The moment of the start or of the last jump, after it.
    package private(set) var since: Timestamp
    private var last: (calendar: Timestamp, instant: Instant)

    package init(now: Timestamp, instant: Instant) {
        since = now
        last = (now, instant)
    }

    /// Compares the calendar with the monotonic clock. Call it at least once a second.
    package mutating func observe(now: Timestamp, instant: Instant) {
        let expected = last.calendar + (instant - last.instant)
        if abs((now - expected).wholeMicroseconds) > Self.tolerance { since = now }
        last = (now, instant)
    }
}
