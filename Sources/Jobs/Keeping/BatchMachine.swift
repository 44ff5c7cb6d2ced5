import Core

/// Decides what a Batch job needs next (contract J4, J5, J9, J10, B12, B13). Pure; it has no state of its own, so it
/// goes on after a crash from what is stored and what runs.
struct BatchMachine {
    /// What is known of a job at a moment.
    struct Facts {
        var job: Job
        /// The workers that were declared or still exist.
        var workers: [WorkerStatus]
        /// Whether ``workers`` has those of an earlier process of the platform.
        var areWorkersKnown = true
        /// Whether the job may start (contract J9).
        var hasTurn: Bool
        /// Whether its set of workers was declared by this process.
        var isDeclared: Bool
        /// Whether its input is being listed by this process.
        var isListing: Bool
        /// How long batches have been waiting although there is capacity, and no worker was ready.
        var withoutWorker: Duration
        var now: Timestamp
        /// Why no worker of the API may start on this machine (contract N2); `nil`: they may.
        var heldBack: String?
    }

    enum Action: Hashable {
        /// Begins to list the job's input, or goes on after a restart.
        case list
        /// Declares workers 0 … `count` - 1.
        case declare(count: Int)
        /// Takes over workers 0 … `count` - 1 of an earlier process, so that they end with their grace period. None is
        /// started.
        case takeOver(count: Int)
        /// Stops a worker for good.
        case release(worker: Int)
        /// Stops all workers.
        case dismiss
        /// Records that the job is to be stopped.
        case stop(JobStop)
        /// Cancels what is left; all workers are gone.
        case cancelRest
        /// Shows why the job does not get on; `nil`: it does.
        case explain(String?)
        /// Looks again at this time at the latest.
        case look(at: Timestamp)
    }

    /// Failures in a row of every worker, before a job whose workers were never ready ends.
    static let failures = 3

    static func decide(_ facts: Facts) -> [Action] {
        let job = facts.job
        guard job.status.isOpen else { return facts.workers.isEmpty ? [] : [.dismiss] }
        if job.stop != nil { return stopping(facts) }
        if let stop = limit(facts) ?? verdict(facts) { return [.stop(stop)] }
        var actions: [Action] = []
        if let deadline = deadline(of: job) { actions.append(.look(at: deadline)) }
        guard facts.hasTurn else { return actions + explain(nil, job) }
        if !facts.isDeclared, let reason = facts.heldBack { return actions + explain(reason, job) }
        if !job.isInputComplete, !facts.isListing { actions.append(.list) }
        if !facts.isDeclared {
            // Workers start with the first batches (contract B4).
            if job.counts.batches > 0 { actions.append(.declare(count: workerCount(job))) }
            return actions
        }
        actions += idle(facts).map { .release(worker: $0) }
        return actions + explain(obstacle(facts), job)
    }

    /// As many as the submission names, but no more than there are batches.
    static func workerCount(_ job: Job) -> Int {
        let workers = job.submission.workers
        return job.isInputComplete ? Int(min(Int64(workers), max(1, job.counts.batches))) : workers
    }

    static func deadline(of job: Job) -> Timestamp? {
        guard let since = job.runningSince, let timeout = job.submission.timeout else { return nil }
        return since + timeout
    }

    // MARK: Ends

    /// The status follows when all workers are gone, also those of an earlier process (contract J5).
    private static func stopping(_ facts: Facts) -> [Action] {
        guard facts.workers.isEmpty else { return [.dismiss] }
        if facts.areWorkersKnown { return [.cancelRest] }
        return facts.isDeclared ? [] : [.takeOver(count: workerCount(facts.job))]
    }

    /// The end of a job that exceeded one of its own limits.
    private static func limit(_ facts: Facts) -> JobStop? {
        let job = facts.job
        if let deadline = deadline(of: job), deadline <= facts.now, let timeout = job.submission.timeout {
            return JobStop(
                status: .timedOut, reason: "it ran longer than its timeout (\(timeout.components.seconds) s)")
        }
        if case .batch(let work) = job.submission.work, let most = work.maxFailedBatches,
            job.counts.failedBatches > Int64(most)
        {
            return JobStop(
                status: .completedWithFailures,
                reason: "more than max_failed_batches (\(most)) batches failed; the rest was cancelled")
        }
        return nil
    }

    /// The end of a job because of its workers (contract B12).
    private static func verdict(_ facts: Facts) -> JobStop? {
        let workers = facts.workers.filter { !$0.isReleased }
        guard facts.isDeclared, !workers.isEmpty, facts.job.counts.openBatches > 0 else { return nil }
        let wasReady = facts.job.runningSince != nil || workers.contains(where: \.wasEverReady)
        let haveAllFailed = !wasReady && workers.allSatisfy { $0.failures >= failures }
        let startTimeout = facts.job.version.specification.jobs?.startTimeout ?? .seconds(15 * 60)
        let isWithout = facts.withoutWorker >= startTimeout
        guard haveAllFailed || isWithout else { return nil }
        let cause = obstacle(facts) ?? "no worker became ready"
        return JobStop(
            status: workers.contains(where: \.wasKilledForMemory) ? .workerOOM : .workerError,
            reason: haveAllFailed
                ? "no worker has ever been ready: \(cause)"
                : "no worker was ready for start_timeout (\(DurationSyntax.format(startTimeout))): \(cause)")
    }

    // MARK: Workers

    /// Workers that have nothing to do any more. One stays for the call after the last batch, and a worker with a batch
    /// inside stays until that has ended.
    private static func idle(_ facts: Facts) -> [Int] {
        let job = facts.job
        guard job.isInputComplete, job.counts.batchesInQueue == 0 else { return [] }
        let present = facts.workers.filter { !$0.isReleased }
        var stays = present.first { $0.inFlight > 0 } ?? present.first { $0.isReady } ?? present.first
        // While batches are being delivered, each holder is kept, and the holders are not known before a worker
        // reports.
        if job.counts.deliveredBatches > 0, !present.contains(where: { $0.inFlight > 0 }) { stays = nil }
        guard let stays else { return [] }
        return present.filter { $0.index != stays.index && $0.inFlight == 0 }.map(\.index)
    }

    /// Why no worker works, in one line; `nil` when one does, or when there is no reason yet.
    private static func obstacle(_ facts: Facts) -> String? {
        let workers = facts.workers.filter { !$0.isReleased }
        guard !workers.contains(where: \.isReady) else { return nil }
        guard let worker = workers.first(where: { $0.reason != nil }), let reason = worker.reason else { return nil }
        let text = workers.count == 1 ? reason : "worker \(worker.index): \(reason)"
        guard let last = worker.lastLines.last(where: { !$0.isEmpty }), !text.contains(last) else { return text }
        return "\(text): \(last)"
    }

    private static func explain(_ reason: String?, _ job: Job) -> [Action] {
        job.reason == reason ? [] : [.explain(reason)]
    }
}
