import Core
import Logging
import Support

/// Carries out what ``BatchMachine`` decides for one job.
actor BatchDriver: JobDriver {
    /// Batches that one write cancels, so that other writes come between.
    private static let slice = 1000

    private let id: RequestID
    private let store: any Store
    private let orchestrator: any Orchestrator
    private let clock: any PlatformClock
    private let logger: Logger
    private let heldBack: @Sendable (String) -> String?
    /// Lists the job's input until it is complete; a job whose input is in its submission has none.
    private let list: (@Sendable (Job) async throws -> Void)?
    private var listing: Task<Void, Never>?
    /// Whether ``listing`` has ended, and no step has noticed it yet.
    private var isListed = false
    private var declared: ReplicaSet?
    /// When a worker was ready last, or nothing waited for one.
    private var lastReady: Instant

    /// - Parameter heldBack: why no worker of an API may start on this machine; `nil`: they may.
    init(
        _ job: Job, store: any Store, orchestrator: any Orchestrator, clock: any PlatformClock, logger: Logger,
        heldBack: @escaping @Sendable (String) -> String?, list: (@Sendable (Job) async throws -> Void)?
    ) {
        self.id = job.id
        self.store = store
        self.orchestrator = orchestrator
        self.clock = clock
        self.logger = logger
        self.heldBack = heldBack
        self.list = list
        self.lastReady = clock.instant()
    }

    func end() async {
        listing?.cancel()
        await listing?.value
    }

    func step(_ job: Job?, hasTurn: Bool) async throws -> JobStep {
        let set = Job.queue(of: id)
        // In this order: what is missing from the workers is known to be gone.
        let areWorkersKnown = await orchestrator.hasListedPods()
        let workers = await orchestrator.workers(of: set)
        guard let job else {
            listing?.cancel()
            if workers.isEmpty, declared == nil { return .over }
            await orchestrator.delete(set: set)
            declared = nil
            return .wait(until: nil)
        }
        if isListed {
            // Whatever the listing has stored must be known before it begins again.
            isListed = false
            listing = nil
            return .again
        }
        let facts = BatchMachine.Facts(
            job: job, workers: workers, areWorkersKnown: areWorkersKnown, hasTurn: hasTurn, isDeclared: declared != nil,
            isListing: listing != nil,
            withoutWorker: withoutWorker(job, workers), now: clock.now(),
            heldBack: heldBack(job.api))
        let actions = BatchMachine.decide(facts)
        var moment: Timestamp?
        var hasChanged = false
        for action in actions {
            switch action {
            case .list:
                if job.status == .pending {
                    _ = try await store.change(id, to: .enqueuing, reason: nil, now: clock.now())
                    hasChanged = true
                }
                startListing(job)
            case .declare(let count):
                try await declare(count, of: job)
            case .takeOver(let count):
                try await declare(count, of: job, released: Set(0..<count))
            case .release(let worker):
                declared?.released.insert(worker)
                await orchestrator.release(worker: worker, of: set)
            case .dismiss:
                listing?.cancel()
                declared = nil
                await orchestrator.delete(set: set)
            case .stop(let stop):
                _ = try await store.stop(id, stop, now: clock.now())
                return .again
            case .cancelRest:
                if declared != nil {
                    await orchestrator.delete(set: set)
                    declared = nil
                }
                listing?.cancel()
                await listing?.value
                while try await store.cancelRest(of: id, limit: Self.slice, now: clock.now()) > 0 {
                    try Task.checkCancellation()
                }
                guard let stop = job.stop else { return .again }
                _ = try await store.change(id, to: stop.status, reason: stop.reason, now: clock.now())
                logger.info(
                    "job ended", metadata: ["api": "\(job.api)", "job": "\(id)", "status": "\(stop.status.rawValue)"])
                return .again
            case .explain(let reason):
                _ = try await store.change(id, to: job.status, reason: reason, now: clock.now())
                hasChanged = true
            case .look(let at): moment = at
            }
        }
        if !job.status.isOpen, workers.isEmpty { return .over }
        return hasChanged ? .again : .wait(until: moment)
    }

    private func declare(_ count: Int, of job: Job, released: Set<Int> = []) async throws {
        let set = ReplicaSet(
            name: job.queue, api: job.version, count: count, released: released,
            job: JobContext(
                jobID: id.description, workers: count, scheduledTime: ScheduledTimeText.of(job),
                files: [PodFile(name: "job.json", text: try JobTexts.file(of: job))]))
        declared = set
        lastReady = clock.instant()
        await orchestrator.apply(set)
    }

    /// How long batches have been waiting without a ready worker. Waiting for capacity does not count.
    private func withoutWorker(_ job: Job, _ workers: [WorkerStatus]) -> Duration {
        let now = clock.instant()
        let wanted = workers.filter { !$0.isReleased }
        let isWaiting =
            declared != nil && job.counts.openBatches > 0 && !wanted.isEmpty
            && !wanted.contains(where: \.isReady) && !wanted.allSatisfy(\.isWaitingForCapacity)
        if !isWaiting { lastReady = now }
        return now - lastReady
    }

    private func startListing(_ job: Job) {
        guard listing == nil, let list else { return }
        // It takes as long as the input is large, while the job's steps go on. It ends with this driver.
        listing = Task { [logger] in
            do {
                try await list(job)
            } catch  where error is CancellationError || Task.isCancelled {
                // The job is being stopped, or the platform is: the next start continues the listing.
            } catch {
                logger.warning(
                    "the input of a job cannot be listed at the moment; the listing is repeated",
                    metadata: ["job": "\(job.id)", "error": "\(error.safeDescription)"])
            }
            self.listingEnded()
        }
    }

    private func listingEnded() { isListed = true }
}
