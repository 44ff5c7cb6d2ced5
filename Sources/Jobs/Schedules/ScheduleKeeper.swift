import Core
import Logging
import ServiceLifecycle
import Support
import Wire

/// Submits the jobs of all schedules at their planned times (contract J14), as ``ScheduleMachine`` decides.
///
/// It looks at every schedule once a second, so that a calendar that jumps is noticed before the next planned time is
/// late.
actor ScheduleKeeper: Service {
    private static let period: Duration = .seconds(1)

    /// What is remembered of one schedule.
    private struct Entry {
        var machine: ScheduleMachine
        var state: ScheduleState
        /// The version whose machine it is.
        var version: String
        /// The last job, once it is known to have ended.
        var endedJob: RequestID?
        /// When there is something to do, as far as its last decision says.
        var next: Timestamp?
    }

    private let store: any Store
    private let clock: any PlatformClock
    private let logger: Logger
    private let submitter: JobSubmitter
    private var watch: CalendarWatch
    /// By API and schedule.
    private var entries: [String: [String: Entry]] = [:]
    private let gate = Limiter(waitingLimit: 1000, of: "changes of schedules")
    private var isFailing = false

    init(store: any Store, clock: any PlatformClock, logger: Logger, submitter: JobSubmitter) {
        self.store = store
        self.clock = clock
        self.logger = logger
        self.submitter = submitter
        self.watch = CalendarWatch(now: clock.now(), instant: clock.instant())
    }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                var wait = Self.period
                do {
                    try await self.gate.run { try await self.pass() }
                    wait = await self.succeeded()
                } catch is CancellationError {
                    return
                } catch {
                    await self.failed(error)
                }
                guard (try? await self.clock.sleep(for: wait)) != nil else { return }
            }
        }
    }

    /// - Returns: how long to wait for the next planned time, but no longer than a period.
    private func succeeded() -> Duration {
        isFailing = false
        let now = clock.now()
        let next = entries.values.flatMap(\.values).compactMap(\.next).min()
        return next.map { min(Self.period, max(.milliseconds(5), $0 - now)) } ?? Self.period
    }

    private func failed(_ error: any Error) {
        // What a shutdown interrupts is no failure, also where a service wrapped the cancellation in its own error.
        guard !isFailing, !Task.isCancelled else { return }
        isFailing = true
        logger.warning(
            "schedules cannot be followed at the moment; missed times are handled as `catch_up` of each schedule says",
            metadata: ["error": "\(error.safeDescription)"])
    }

    // MARK: Passes

    private func pass() async throws {
        watch.observe(now: clock.now(), instant: clock.instant())
        let deployed = try await store.deployedAPIs().filter { !($0.specification.jobs?.schedules ?? []).isEmpty }
        let names = Set(deployed.map(\.name))
        for api in entries.keys where !names.contains(api) { entries[api] = nil }
        var failure: (any Error)?
        for api in deployed {
            do {
                try await adopt(api)
                for schedule in api.specification.jobs?.schedules ?? [] { try await follow(schedule.name, of: api) }
            } catch {
                // One API must not hold the others up.
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Takes over the schedules of a version that is new here.
    private func adopt(_ api: DeployedAPI) async throws {
        let schedules = api.specification.jobs?.schedules ?? []
        if let known = entries[api.name], known.count == schedules.count,
            known.values.allSatisfy({ $0.version == api.id })
        {
            return
        }
        let saved = try await store.schedules(of: api.name)
        let now = clock.now()
        var next: [String: Entry] = [:]
        for schedule in schedules {
            let machine = try ScheduleMachine(
                api: api.name, specification: schedule, deployedAt: api.lastUpdated, watchedSince: watch.since)
            var state = machine.initialState(now: now)
            if let known = saved[schedule.name] {
                state = known
            } else {
                try await store.save(state, of: schedule.name, api: api.name)
            }
            next[schedule.name] = Entry(machine: machine, state: state, version: api.id)
        }
        for name in saved.keys where next[name] == nil { try await store.removeSchedule(name, of: api.name) }
        entries[api.name] = next
    }

    /// Does what a schedule needs now.
    private func follow(_ name: String, of api: DeployedAPI) async throws {
        while var entry = entries[api.name]?[name] {
            try Task.checkCancellation()
            let isOpen = try await lastJobIsOpen(&entry, api)
            let decision = entry.machine.decide(
                entry.state, lastJobIsOpen: isOpen, watchedSince: watch.since, now: clock.now())
            entry.next = nil
            entries[api.name]?[name] = entry
            switch decision {
            case .save(let state, let skipped):
                for skip in skipped {
                    logger.info(
                        "planned times of a schedule are skipped",
                        metadata: [
                            "api": "\(api.name)", "schedule": "\(name)", "newest": "\(skip.plannedAt.rfc3339)",
                            "count": "\(skip.count)", "reason": "\(skip.reason)",
                        ])
                }
                try await save(state, name, api)
            case .fire(let planned):
                do {
                    let job = try await submit(
                        entry.machine.specification, ScheduledTime(name: name, plannedAt: planned), api)
                    try await save(entry.machine.made(entry.state, job: job.id), name, api)
                } catch let error as PlatformError where Self.isRefusal(error) {
                    try await save(entry.machine.refused(entry.state, reason: error.message), name, api)
                }
            case .stopLastJob:
                if let job = entry.state.lastJob {
                    let stop = JobStop(
                        status: .stopped, reason: "replaced by the next planned time of schedule \(name)")
                    _ = try await store.stop(job, stop, now: clock.now())
                }
                return
            case .wait(let next):
                entries[api.name]?[name]?.next = next
                return
            }
        }
    }

    private func lastJobIsOpen(_ entry: inout Entry, _ api: DeployedAPI) async throws -> Bool {
        guard let id = entry.state.lastJob, id != entry.endedJob else { return false }
        let job = try await store.job(id, api: api.name, now: clock.now())
        if job?.status.isOpen == true { return true }
        entry.endedJob = id
        return false
    }

    private func save(_ state: ScheduleState, _ name: String, _ api: DeployedAPI) async throws {
        try await store.save(state, of: name, api: api.name)
        entries[api.name]?[name]?.state = state
    }

    /// Whether a submission was refused for good, and not only because something does not answer now.
    private static func isRefusal(_ error: PlatformError) -> Bool {
        switch error.code {
        case .storeUnavailable, .unavailable, .timedOut, .diskLow, .internal: false
        default: true
        }
    }

    private func submit(
        _ schedule: ScheduleSpecification, _ time: ScheduledTime, _ api: DeployedAPI
    ) async throws -> Job {
        let bytes = Array(schedule.job.utf8)
        let parsed = try SubmissionParser.parse(bytes, for: api.specification.kind.name)
        var submission = parsed.submission
        submission.schedule = time
        if case .batch(let work) = submission.work, let files = work.files {
            try await submitter.services.files.check(files)
        }
        return try await submitter.create(submission, of: api, items: parsed.items.map { bytes[$0] })
    }

    // MARK: For the routes

    /// `schedule run`: its job at once, beside the plan.
    func run(_ name: String, of api: DeployedAPI) async throws -> Job {
        let schedule = try Self.schedule(name, of: api)
        return try await submit(schedule, ScheduledTime(name: name, plannedAt: clock.now(), isManual: true), api)
    }

    /// `schedule suspend` and `schedule resume`.
    nonisolated func suspend(_ isSuspended: Bool, _ name: String, of api: DeployedAPI) async throws {
        _ = try Self.schedule(name, of: api)
        try await gate.run { try await self.change(isSuspended, name, api) }
    }

    private func change(_ isSuspended: Bool, _ name: String, _ api: DeployedAPI) async throws {
        try await adopt(api)
        guard var entry = entries[api.name]?[name], entry.state.isSuspended != isSuspended else { return }
        // What passed before the suspension keeps its job or its skip.
        if isSuspended { try await follow(name, of: api) }
        entry = entries[api.name]?[name] ?? entry
        var state = entry.state
        state.isSuspended = isSuspended
        try await save(state, name, api)
        if !isSuspended { entries[api.name]?[name]?.machine.resume(now: clock.now()) }
    }

    /// `GET <base>/schedules`.
    func document(of api: DeployedAPI) async throws -> ScheduleListDocument {
        let saved = try await store.schedules(of: api.name)
        let now = clock.now()
        var documents: [ScheduleDocument] = []
        for schedule in api.specification.jobs?.schedules ?? [] {
            let machine = try ScheduleMachine(
                api: api.name, specification: schedule, deployedAt: api.lastUpdated, watchedSince: watch.since)
            let state = saved[schedule.name] ?? machine.initialState(now: now)
            func text(_ time: Timestamp) -> String { machine.plan.rfc3339(time) }
            var last: ScheduleDocument.Last?
            if let id = state.lastJob, let job = try await store.job(id, api: api.name, now: now),
                let planned = job.submission.schedule?.plannedAt
            {
                last = .init(plannedAt: text(planned), jobID: id, status: job.status)
            }
            if let skip = state.skips.first, last == nil || skip.plannedAt == state.lastPlanned {
                last = .init(plannedAt: text(skip.plannedAt), skipped: skip.reason)
            }
            documents.append(
                ScheduleDocument(
                    schedule, isSuspended: state.isSuspended, last: last,
                    next: machine.upcoming(state, now: now, limit: 5).map(text),
                    skipped: state.skips.map {
                        .init(plannedAt: text($0.plannedAt), count: $0.count, reason: $0.reason)
                    }))
        }
        return ScheduleListDocument(schedules: documents)
    }

    private static func schedule(_ name: String, of api: DeployedAPI) throws -> ScheduleSpecification {
        guard let schedule = api.specification.jobs?.schedules.first(where: { $0.name == name }) else {
            throw PlatformError(.notFound, "\(api.name) has no schedule \(name)")
        }
        return schedule
    }
}

/// `CORTEX_SCHEDULED_TIME` (contract J8).
enum ScheduledTimeText {
    /// RFC 3339 with the offset of the schedule's zone; `nil` for a job that no schedule made.
    static func of(_ job: Job) -> String? {
        guard let time = job.submission.schedule else { return nil }
        let schedule = job.version.specification.jobs?.schedules.first { $0.name == time.name }
        guard let schedule, let plan = try? SchedulePlan(schedule.timing) else { return time.plannedAt.rfc3339 }
        return plan.rfc3339(time.plannedAt)
    }
}
