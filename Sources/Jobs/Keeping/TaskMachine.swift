import Core
import Support

/// Decides what a Task job needs next (contract J4, J5, J9, J10, T2–T5, T9). Pure; it has no state of its own, so it
/// goes on after a crash from what is stored and what runs.
struct TaskMachine {
    /// What is known of one worker.
    struct Worker {
        var index: Int
        /// Its newest run, as it is stored; `nil` before the first.
        var run: JobRun?
        /// What that run does now; `nil` when the orchestrator does not say.
        var state: RunState?
        /// Whether this process has declared that run to the orchestrator.
        var isDeclared = false
    }

    struct Facts {
        var job: Job
        /// Those that the job runs, by index.
        var workers: [Worker]
        var retries: TaskRetryPolicy
        /// Whether the job may start (contract J9).
        var hasTurn: Bool
        var now: Timestamp
        /// Why no run of the API may start on this machine (contract N2); `nil`: they may.
        var heldBack: String?
    }

    enum Action: Hashable {
        /// Makes a new run durable, then starts it.
        case plan(worker: Int, attempt: Int)
        /// Starts a run that is durable.
        case start(JobRun)
        /// Declares a run that an earlier process started.
        case resume(JobRun)
        /// Records that the containers of a run have begun.
        case began(JobRun)
        /// Keeps what a run left, records its end, and lets its pod go.
        case collect(JobRun, RunEnd)
        /// Ends a run.
        case end(JobRun)
        /// The first container runs.
        case run
        /// Records that the job is to be stopped.
        case stop(JobStop)
        /// Ends the job.
        case finish(JobStatus, reason: String?)
        case explain(String?)
        /// Looks again at this time at the latest.
        case look(at: Timestamp)
    }

    /// What follows the end of a run.
    enum Next: Hashable {
        case done
        /// Another run with this attempt number, from this time on.
        case again(attempt: Int, at: Timestamp)
        case failed
    }

    static func decide(_ facts: Facts) -> [Action] {
        let job = facts.job
        guard job.status.isOpen else { return [] }
        var actions: [Action] = []
        for worker in facts.workers { actions += keep(worker, facts) }
        if let stop = job.stop { return actions + stopping(stop, facts) }
        if let stop = limit(facts) ?? failure(facts) { return [.stop(stop)] }
        if let deadline = BatchMachine.deadline(of: job) { actions.append(.look(at: deadline)) }
        guard facts.hasTurn else { return actions }
        for worker in facts.workers where facts.heldBack == nil {
            guard let run = worker.run else {
                actions.append(.plan(worker: worker.index, attempt: 1))
                continue
            }
            guard run.status.isEnded, case .again(let attempt, let moment) = next(after: run, facts.retries) else {
                continue
            }
            // A calendar that was set back since the end does not delay it.
            let isDue = moment <= facts.now || moment > facts.now + Limits.retryBackoff * 2
            actions.append(isDue ? .plan(worker: worker.index, attempt: attempt) : .look(at: moment))
        }
        if job.status == .pending, facts.workers.contains(where: hasBegun) { actions.append(.run) }
        let areDone = facts.workers.allSatisfy { $0.run?.status == .succeeded }
        if areDone, job.status == .running { return actions + [.finish(.succeeded, reason: nil)] }
        let isRunning = facts.workers.contains { $0.state?.phase == .running }
        let reason = isRunning ? nil : facts.heldBack ?? obstacle(facts)
        if reason != job.reason { actions.append(.explain(reason)) }
        return actions
    }

    // MARK: Runs

    /// What the newest run of a worker needs, whatever becomes of the job.
    private static func keep(_ worker: Worker, _ facts: Facts) -> [Action] {
        guard let run = worker.run, !run.status.isEnded else { return [] }
        guard worker.isDeclared else {
            // A planned run has not started. While its job is being stopped, nothing is started.
            guard run.status == .planned, facts.job.stop == nil else { return [.resume(run)] }
            return facts.heldBack == nil ? [.start(run)] : []
        }
        switch worker.state?.phase {
        case .over(let end)?: return [.collect(run, end)]
        case .running?, .ending?: return run.status == .planned ? [.began(run)] : []
        case .waiting?, .starting?, .startFailed?, .removing?, nil: return []
        }
    }

    private static func hasBegun(_ worker: Worker) -> Bool {
        guard let run = worker.run else { return false }
        return run.status != .planned || worker.state?.startedAt != nil
    }

    /// What follows a run that has ended (contract T3).
    static func next(after run: JobRun, _ retries: TaskRetryPolicy) -> Next {
        let ended = run.endedAt ?? run.startedAt
        let reason: TaskRetryPolicy.Reason
        switch run.status {
        case .succeeded: return .done
        case .lost: return retries.onLost == .retry ? .again(attempt: run.attempt, at: ended) : .failed
        case .exit: reason = .exit
        case .oom: reason = .oom
        case .timeout: reason = .timeout
        case .stopped, .startFailed, .planned, .running: return .failed
        }
        guard run.attempt < retries.maxAttempts, retries.on.contains(reason) else { return .failed }
        if let code = run.exitCode, retries.noRetryExitCodes.contains(code) { return .failed }
        let wait = Backoff(first: retries.backoff, longest: Limits.retryBackoff).delay(failures: run.attempt)
        return .again(attempt: run.attempt + 1, at: ended + wait)
    }

    // MARK: Ends

    private static func limit(_ facts: Facts) -> JobStop? {
        guard let deadline = BatchMachine.deadline(of: facts.job), deadline <= facts.now,
            let timeout = facts.job.submission.timeout
        else { return nil }
        return JobStop(status: .timedOut, reason: "it ran longer than its timeout (\(timeout.components.seconds) s)")
    }

    /// The end of a job one of whose workers has failed for good, or cannot start (contract T2, T4).
    private static func failure(_ facts: Facts) -> JobStop? {
        for worker in facts.workers {
            guard let run = worker.run, run.status.isEnded, next(after: run, facts.retries) == .failed else { continue }
            return JobStop(
                status: run.status == .oom ? .workerOOM : .workerError,
                reason: "worker \(worker.index) failed: \(run.reason ?? run.status.rawValue)")
        }
        let limit = facts.job.version.specification.jobs?.startTimeout ?? .seconds(15 * 60)
        for worker in facts.workers {
            guard let since = worker.state?.failingSince, facts.now - since >= limit else { continue }
            return JobStop(
                status: .unexpectedError,
                reason:
                    "worker \(worker.index) could not be started for start_timeout (\(DurationSyntax.format(limit))): \(worker.state?.reason ?? "it has no reason")"
            )
        }
        return nil
    }

    private static func stopping(_ stop: JobStop, _ facts: Facts) -> [Action] {
        let open = facts.workers.filter { $0.run.map { !$0.status.isEnded } ?? false }
        guard !open.isEmpty else { return [.finish(stop.status, reason: stop.reason)] }
        var actions: [Action] = []
        for worker in open where worker.isDeclared {
            switch worker.state?.phase {
            case .over?, .ending?, .removing?: break
            case .waiting?, .starting?, .startFailed?, .running?, nil:
                if let run = worker.run { actions.append(.end(run)) }
            }
        }
        return actions
    }

    /// Why no worker runs, in one line; `nil` when there is no reason yet.
    private static func obstacle(_ facts: Facts) -> String? {
        guard let worker = facts.workers.first(where: { $0.state?.reason != nil }), let reason = worker.state?.reason
        else { return nil }
        return facts.workers.count == 1 ? reason : "worker \(worker.index): \(reason)"
    }
}
