import Core
import Logging
import Support

/// Carries out what ``TaskMachine`` decides for one job.
actor TaskDriver: JobDriver {
    private let id: RequestID
    private let store: any Store
    private let runner: any JobRunner
    private let board: RunBoard
    private let clock: any PlatformClock
    private let logger: Logger
    private let heldBack: @Sendable (String) -> String?
    private let makeSuffix: @Sendable () -> String
    /// The grace period of the job's version.
    private let grace: Duration
    private let collector: RunCollector
    /// The newest run of each worker, once it was read from the store.
    private var runs: [Int: JobRun]?
    /// Pods that this process declared to the orchestrator.
    private var declared: Set<String> = []
    /// Those of ``declared`` that the orchestrator has reported.
    private var reported: Set<String> = []

    /// - Parameters:
    ///   - heldBack: why no run of an API may start on this machine; `nil`: they may.
    ///   - makeSuffix: the end of a pod's id; never the same twice.
    init(
        _ job: Job, store: any Store, runner: any JobRunner, board: RunBoard, clock: any PlatformClock, logger: Logger,
        heldBack: @escaping @Sendable (String) -> String?, makeSuffix: @escaping @Sendable () -> String
    ) {
        self.id = job.id
        self.store = store
        self.runner = runner
        self.board = board
        self.clock = clock
        self.logger = logger
        self.heldBack = heldBack
        self.makeSuffix = makeSuffix
        self.grace = job.version.specification.pod.terminationGracePeriod
        self.collector = RunCollector(store: store, runner: runner)
    }

    func end() async {}

    func step(_ job: Job?, hasTurn: Bool) async throws -> JobStep {
        guard let job, case .task(let specification) = job.version.specification.kind,
            case .task(let work) = job.submission.work
        else { return await dismiss() }
        if !job.status.isOpen, declared.isEmpty { return .over }
        let known = try await newestRuns()
        let states = board.runs(of: id)
        forgetRemoved(states, known)
        await acknowledgeEnded(states, known)
        let indexes = work.indexes ?? Array(0..<job.submission.workers)
        let facts = TaskMachine.Facts(
            job: job,
            workers: indexes.map { index in
                let run = known[index]
                return TaskMachine.Worker(
                    index: index, run: run, state: run.flatMap { states[$0.pod] },
                    isDeclared: run.map { declared.contains($0.pod) } ?? false)
            }, retries: TaskRetries.policy(specification.retries, replacedBy: work.retries), hasTurn: hasTurn,
            now: clock.now(), heldBack: heldBack(job.api))
        var moment: Timestamp?
        var hasChanged = false
        for action in TaskMachine.decide(facts) {
            switch action {
            case .plan(let worker, let attempt):
                let run = JobRun(
                    worker: worker, attempt: attempt,
                    pod: RunPlan.podID(job: id.description, index: worker, suffix: makeSuffix()), status: .planned,
                    startedAt: clock.now())
                guard try await save(run) else { continue }
                declared.insert(run.pod)
                await runner.start(try plan(run, job, work, specification))
                hasChanged = true
            case .start(let run):
                declared.insert(run.pod)
                await runner.start(try plan(run, job, work, specification))
            case .resume(let run):
                declared.insert(run.pod)
                await runner.resume(try plan(run, job, work, specification))
            case .began(var run):
                run.status = .running
                run.startedAt = states[run.pod]?.startedAt ?? clock.now()
                _ = try await save(run)
                hasChanged = true
            case .collect(let run, let end):
                try await collect(run, end, states[run.pod]?.lastLines ?? [], specification)
                hasChanged = true
            case .end(let run): await runner.stop(run: run.pod, grace: grace)
            case .run:
                _ = try await store.change(id, to: .running, reason: nil, now: clock.now())
                hasChanged = true
            case .stop(let stop):
                _ = try await store.stop(id, stop, now: clock.now())
                return .again
            case .finish(let status, let reason):
                _ = try await store.change(id, to: status, reason: reason, now: clock.now())
                logger.info(
                    "job ended", metadata: ["api": "\(job.api)", "job": "\(id)", "status": "\(status.rawValue)"])
                return .again
            case .explain(let reason):
                _ = try await store.change(id, to: job.status, reason: reason, now: clock.now())
                hasChanged = true
            case .look(let at): moment = min(moment ?? at, at)
            }
        }
        return hasChanged ? .again : .wait(until: moment)
    }

    /// Stops what runs of a job that was erased with its API (contract J7). Nothing of it is kept.
    private func dismiss() async -> JobStep {
        let states = board.runs(of: id)
        reported.formUnion(states.keys)
        for state in states.values {
            switch state.phase {
            case .waiting, .starting, .startFailed, .running: await runner.stop(run: state.pod, grace: grace)
            case .over: await runner.acknowledge(run: state.pod)
            case .ending, .removing: break
            }
        }
        // What was declared just now is reported soon.
        let unreported = declared.subtracting(reported)
        for pod in unreported { await runner.stop(run: pod, grace: grace) }
        return states.isEmpty && unreported.isEmpty ? .over : .wait(until: nil)
    }

    private func newestRuns() async throws -> [Int: JobRun] {
        if let runs { return runs }
        var newest: [Int: JobRun] = [:]
        // Newest first.
        for run in try await store.runs(of: id, limit: .max) where newest[run.worker] == nil {
            newest[run.worker] = run
        }
        runs = newest
        return newest
    }

    /// Pods of runs that have ended and are gone need nothing any more.
    private func forgetRemoved(_ states: [String: RunState], _ runs: [Int: JobRun]) {
        let open = Set(runs.values.filter { !$0.status.isEnded }.map(\.pod))
        declared = declared.filter { open.contains($0) || states[$0] != nil }
        reported = declared.intersection(reported.union(states.keys))
    }

    /// Lets the pods go whose runs have ended durably. The answer to an earlier write of an end may have been lost.
    private func acknowledgeEnded(_ states: [String: RunState], _ runs: [Int: JobRun]) async {
        let open = Set(runs.values.filter { !$0.status.isEnded }.map(\.pod))
        for state in states.values where state.end != nil && !open.contains(state.pod) {
            await runner.acknowledge(run: state.pod)
        }
    }

    private func save(_ run: JobRun, files: [JobFile] = []) async throws -> Bool {
        // A write that reports a failure may have taken effect: what is stored is read again.
        let known = runs
        runs = nil
        let isSaved = try await store.save(run, of: id, files: files, now: clock.now())
        if isSaved {
            runs = known
            runs?[run.worker] = run
        }
        return isSaved
    }

    private func collect(
        _ run: JobRun, _ end: RunEnd, _ lines: [String], _ specification: TaskSpecification
    ) async throws {
        let left = try await collector.collect(run, specification)
        var ended = run
        ended.status = JobRun.Status(end)
        ended.exitCode = end.exit?.code
        ended.reason = end.isSuccess ? nil : Self.reason(end, lastLine: lines.last { !$0.isEmpty })
        ended.endedAt = max(end.endedAt, run.startedAt)
        if try await save(ended, files: left.files) {
            await runner.acknowledge(run: run.pod)
        } else {
            await collector.discard(left)
        }
    }

    private static func reason(_ end: RunEnd, lastLine: String?) -> String {
        let text = end.reason ?? end.exit.map { "exit code \($0.code)" } ?? end.cause.rawValue
        guard let lastLine, !lastLine.isEmpty, !text.contains(lastLine) else { return text }
        return "\(text): \(lastLine)"
    }

    private func plan(
        _ run: JobRun, _ job: Job, _ work: JobSubmission.TaskWork, _ specification: TaskSpecification
    ) throws -> RunPlan {
        RunPlan(
            pod: run.pod, api: job.version,
            job: JobContext(
                jobID: id.description, workers: job.submission.workers, scheduledTime: ScheduledTimeText.of(job),
                files: [PodFile(name: "job.json", text: try JobTexts.file(of: job))]),
            index: run.worker, attempt: run.attempt, args: work.args, env: work.env, timeout: specification.timeout,
            startedAt: run.status == .running ? run.startedAt : nil)
    }
}

extension JobRun.Status {
    init(_ end: RunEnd) {
        self =
            switch end.cause {
            case .exit: end.isSuccess ? .succeeded : .exit
            case .outOfMemory: .oom
            case .timeout: .timeout
            case .stopped: .stopped
            case .lost: .lost
            }
    }
}
