package import Core
import Logging
import ServiceLifecycle
import Support

/// Brings every open job to its end: gives jobs their turn, keeps their workers, and ends them (contract J).
///
/// Level-triggered: a step compares what is stored of a job with what runs, and does what is missing. Steps run on
/// hints of the store, on the changes of the orchestrator that a look every second finds, and at deadlines. Those of
/// one job follow each other; different jobs do not wait for each other.
package actor JobKeeper: Service {
    /// How often jobs that may start are looked at without a hint (contract J4: a reason is shown within 2 s).
    static let period: Duration = .seconds(1)
    /// How long to wait before a stream of hints that ended is opened again, or a failed step is repeated.
    static let pause: Duration = .seconds(1)

    /// An open job.
    private struct Entry {
        var job: Job
        var hasTurn = false
        /// Whether it exists no more: it was erased with its API. Its workers are still ended; it holds no turn.
        var isErased = false
        var isRunning = false
        /// Whether something happened since the present step began.
        var isDue = false
        /// Whether ``job`` must be read again before the next step.
        var isStale = false
        let driver: any JobDriver
    }

    /// Ended jobs that are remembered, because hints about them may still come.
    private static let endedLimit = 10_000

    private let store: any Store
    private let clock: any PlatformClock
    private let logger: Logger
    private let makeDriver: @Sendable (Job) -> (any JobDriver)?
    private var entries: [RequestID: Entry] = [:]
    /// Jobs of each API that have no turn yet, in the order of submission.
    private var waiting: [String: [RequestID]] = [:]
    /// The number of jobs of each API that have their turn.
    private var active: [String: Int] = [:]
    private var ended: Set<RequestID> = []
    private var isFailing = false
    private let wakeups: AsyncStream<RequestID>
    private let wakeup: AsyncStream<RequestID>.Continuation

    /// - Parameter makeDriver: what knows how a job of its kind works.
    init(
        store: any Store, clock: any PlatformClock, logger: Logger,
        makeDriver: @escaping @Sendable (Job) -> (any JobDriver)?
    ) {
        self.store = store
        self.clock = clock
        self.logger = logger
        self.makeDriver = makeDriver
        (wakeups, wakeup) = AsyncStream.makeStream()
    }

    // MARK: Life

    /// Declares the workers of all jobs that had their turn. Call it once, before the orchestrator runs: pods of a job
    /// that is not declared are removed.
    ///
    /// - Throws: ``PlatformError`` `store_unavailable`.
    package func restore() async throws {
        try await readAll()
        for id in entries.keys.sorted() where entries[id]?.hasTurn == true { await step(id) }
    }

    /// Runs until shutdown; returns normally then. Jobs go on with the next start.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.followHints() }
                group.addTask { await self.lookRegularly() }
                for await id in self.wakeups { group.addTask { await self.step(id) } }
                group.cancelAll()
            }
        }
        for entry in entries.values { await entry.driver.end() }
    }

    private func followHints() async {
        while !Task.isCancelled {
            for await change in store.changes(.jobs) { await noticed(change.jobs) }
            guard (try? await clock.sleep(for: Self.pause)) != nil else { break }
            await tryToReadAll()
        }
        wakeup.finish()
    }

    private func lookRegularly() async {
        var count = 0
        while (try? await clock.sleep(for: Self.period)) != nil {
            count += 1
            // The hint of a job that was created or changed may have been lost.
            if count % 10 == 0 { await tryToReadAll() }
            // A deploy may have raised a limit.
            for api in Array(waiting.keys) { await giveTurns(of: api) }
            for (id, entry) in entries where entry.hasTurn || entry.isErased { wake(id) }
        }
    }

    private func tryToReadAll() async {
        do {
            try await readAll()
        } catch {
            note(error)
        }
    }

    // MARK: Jobs

    /// A job was created. The hint of the store says the same, later.
    package func created(_ job: Job) async {
        // The hint may have come first, and the job have ended since.
        guard !ended.contains(job.id) else { return }
        add(job)
        await giveTurns(of: job.api)
    }

    /// Something of these jobs runs differently.
    func look(at jobs: Set<RequestID>) {
        for id in jobs { wake(id) }
    }

    private func noticed(_ jobs: Set<RequestID>) async {
        var isUnknown = false
        for id in jobs {
            if entries[id] != nil {
                entries[id]?.isStale = true
                wake(id)
            } else if !ended.contains(id) {
                isUnknown = true
            }
        }
        if isUnknown { await tryToReadAll() }
    }

    private func readAll() async throws {
        let open = try await store.openJobs()
        for job in open {
            // The hint of a change may have been lost.
            if let known = entries[job.id], known.job != job { entries[job.id]?.isStale = true }
            add(job)
        }
        // What ended, or was erased, without this process: one more step dismisses its workers.
        let ids = Set(open.map(\.id))
        for id in entries.keys where !ids.contains(id) {
            entries[id]?.isStale = true
            wake(id)
        }
        for api in Array(waiting.keys) { await giveTurns(of: api) }
        isFailing = false
    }

    private func add(_ job: Job) {
        guard entries[job.id] == nil, job.status.isOpen, let driver = makeDriver(job) else { return }
        entries[job.id] = Entry(job: job, driver: driver)
        guard job.status == .pending, job.stop == nil else {
            // It began in an earlier run of the platform, or needs no turn to be stopped.
            giveTurn(job)
            return
        }
        // Nearly always the newest.
        let place = waiting[job.api]?.lastIndex { $0 < job.id }.map { $0 + 1 } ?? 0
        waiting[job.api, default: []].insert(job.id, at: place)
    }

    private func remove(_ id: RequestID) async {
        guard let entry = entries.removeValue(forKey: id) else { return }
        if ended.count >= Self.endedLimit { ended = [] }
        ended.insert(id)
        if !entry.isErased { await giveBackTurn(of: entry) }
    }

    /// The job was erased: others of an API of the same name do not wait for its workers (contract A13).
    private func erase(_ id: RequestID) async {
        guard let entry = entries[id], !entry.isErased else { return }
        entries[id]?.isErased = true
        entries[id]?.hasTurn = false
        await giveBackTurn(of: entry)
    }

    private func giveBackTurn(of entry: Entry) async {
        let api = entry.job.api
        if entry.hasTurn {
            active[api, default: 0] -= 1
        } else {
            waiting[api]?.removeAll { $0 == entry.job.id }
        }
        await giveTurns(of: api)
    }

    /// Lets pending jobs of an API start, in the order of submission. The limit is that of the deployed version: jobs
    /// that were submitted to another version count, too (contract J9).
    private func giveTurns(of api: String) async {
        if waiting[api]?.isEmpty == false, let most = await mostConcurrentJobs(of: api) {
            while active[api, default: 0] < most, let id = waiting[api]?.first, let job = entries[id]?.job {
                waiting[api]?.removeFirst()
                giveTurn(job)
            }
        }
        if waiting[api]?.isEmpty == true { waiting[api] = nil }
        if active[api] == 0 { active[api] = nil }
    }

    /// - Returns: `nil` when the API is not deployed, or that cannot be read now: then no job starts.
    private func mostConcurrentJobs(of api: String) async -> Int? {
        do {
            guard let deployed = try await store.deployedAPIs().first(where: { $0.name == api }) else { return nil }
            return deployed.specification.jobs?.maxConcurrentJobs ?? .max
        } catch is CancellationError {
            return nil
        } catch {
            note(error)
            return nil
        }
    }

    private func giveTurn(_ job: Job) {
        active[job.api, default: 0] += 1
        entries[job.id]?.hasTurn = true
        wake(job.id)
    }

    // MARK: Steps

    private func wake(_ id: RequestID) {
        guard let entry = entries[id], !entry.isDue else { return }
        entries[id]?.isDue = true
        if !entry.isRunning { wakeup.yield(id) }
    }

    /// Does what a job needs now. A second call for the same job waits for its turn in ``wake(_:)``.
    private func step(_ id: RequestID) async {
        guard let entry = entries[id], !entry.isRunning else { return }
        entries[id]?.isRunning = true
        entries[id]?.isDue = false
        var isOver = false
        do {
            if entry.isStale {
                entries[id]?.isStale = false
                if let job = try await read(entry.job) { entries[id]?.job = job } else { await erase(id) }
            }
            let present = entries[id] ?? entry
            switch try await entry.driver.step(present.isErased ? nil : present.job, hasTurn: present.hasTurn) {
            case .over: isOver = true
            case .again:
                entries[id]?.isStale = true
                entries[id]?.isDue = true
            case .wait(let moment): if let moment { wake(id, at: moment) }
            }
            isFailing = false
        } catch  where Self.isShutdown(error) {
            return
        } catch {
            note(error)
            entries[id]?.isStale = true
            wake(id, at: clock.now() + Self.pause)
        }
        entries[id]?.isRunning = false
        if isOver {
            await entry.driver.end()
            await remove(id)
        } else if entries[id]?.isDue == true {
            wakeup.yield(id)
        }
    }

    /// A job as it is stored; `nil` when it was erased, or has ended and its API was deleted.
    private func read(_ job: Job) async throws -> Job? {
        if let stored = try await store.job(job.id, api: job.api, now: clock.now()) { return stored }
        // The jobs of a deleted API that are kept are open until their workers have ended (contract J7).
        return try await store.openJobs().first { $0.id == job.id }
    }

    private func wake(_ id: RequestID, at moment: Timestamp) {
        let wait = moment - clock.now()
        // The regular look comes before.
        guard wait < Self.period else { return }
        let clock = clock
        // Shorter than a period, and it changes nothing but a mark.
        Task { [weak self] in
            if wait > .zero { try? await clock.sleep(for: wait) }
            await self?.wake(id)
        }
    }

    /// Logs a failure that repetition may end. What a shutdown interrupts is no failure: jobs continue with the next
    /// start.
    private func note(_ error: any Error) {
        guard !isFailing, !Self.isShutdown(error) else { return }
        isFailing = true
        logger.warning(
            "jobs cannot continue at the moment; the failed step is repeated every second",
            metadata: ["error": "\(error.safeDescription)"])
    }

    /// Whether an error is the consequence of a shutdown. Services that a cancelled task uses may wrap the cancellation
    /// in an error of their own.
    private static func isShutdown(_ error: any Error) -> Bool { error is CancellationError || Task.isCancelled }
}

/// Brings one job on, in steps that may be repeated. Used by one task at a time.
protocol JobDriver: Sendable {
    /// Does what is missing now.
    ///
    /// - Parameters:
    ///   - job: as it is stored; `nil` when it was erased, in this step and all later ones.
    ///   - hasTurn: whether it may start.
    func step(_ job: Job?, hasTurn: Bool) async throws -> JobStep

    /// Ends what this driver does in this process. The job goes on with the next driver.
    func end() async
}

/// What a driver needs after a step.
enum JobStep: Sendable {
    /// The job has ended, and nothing of it runs.
    case over
    /// There is more to do at once, or the job was changed.
    case again
    /// Nothing until something happens, or until a moment.
    case wait(until: Timestamp?)
}
