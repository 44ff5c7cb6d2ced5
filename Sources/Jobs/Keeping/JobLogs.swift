package import Core
import Support
import Synchronization

/// The output of a job's workers: of pods that are gone from the store, of the others from the orchestrator.
struct JobLogs: Sendable {
    let services: JobServices

    /// The file of a log. A worker may have had several pods.
    static func file(container: String, pod: String, of worker: PodOwner.Worker, body: Body) -> JobFile {
        JobFile(
            kind: .log, worker: worker.index, attempt: worker.attempt, path: "\(container)/\(pod)",
            content: .kept(body, digest: []))
    }

    /// With `follow`, the lines end when the job has ended and everything was sent.
    func lines(of job: Job, _ options: JobLogOptions) -> LogStream<ReplicaLogBatch> {
        LogStream { write in
            let seen = Mutex<Set<String>>([])
            try await copyKept(job, options, seen, write)
            repeat {
                try await copyLive(job, options, seen, write)
            } while try await goesOn(job, options)
            // Of pods that were removed before their live log was opened.
            try await copyKept(job, options, seen, write)
        }
    }

    private func copyKept(
        _ job: Job, _ options: JobLogOptions, _ seen: borrowing Mutex<Set<String>>,
        _ write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws {
        for file in try await services.store.files(of: job.id, kind: .log) {
            guard case .kept(let body, _) = file.content, let slash = file.path.firstIndex(of: "/") else { continue }
            let container = String(file.path[..<slash])
            let pod = String(file.path[file.path.index(after: slash)...])
            guard options.worker.map({ $0 == file.worker }) ?? true,
                options.attempt.map({ $0 == file.attempt }) ?? true,
                options.container.map({ $0 == container }) ?? true,
                seen.withLock({ $0.insert("\(container)/\(pod)").inserted })
            else { continue }
            let version = PodOwner.Version(
                name: job.api, apiID: job.version.id, podID: job.version.podID, deploymentID: job.version.deploymentID)
            let worker = PodOwner.Worker(
                set: job.queue, jobID: job.id.description, version: version, index: file.worker, attempt: file.attempt)
            try await copy(body, tail: options.tail) { lines in
                try await write(ReplicaLogBatch(replica: pod, container: container, lines: lines, worker: worker))
            }
        }
    }

    /// The lines of a log in the store, in batches of whole lines.
    private func copy(_ body: Body, tail: Int?, _ write: ([UInt8]) async throws -> Void) async throws {
        let reader = try await services.store.reader(of: body)
        do {
            let lineFeed = UInt8(ascii: "\n")
            var rest: [UInt8] = []
            /// The last lines, with `tail`.
            var last: [ArraySlice<UInt8>] = []
            while let piece = try await reader.read(upTo: Limits.logBlock) {
                rest += piece
                guard let end = rest.lastIndex(of: lineFeed) else { continue }
                let whole = rest[...end]
                if let tail {
                    last += whole.split(separator: lineFeed, omittingEmptySubsequences: false).dropLast()
                    last.removeFirst(max(0, last.count - tail))
                } else {
                    try await write(Array(whole))
                }
                rest = Array(rest[(end + 1)...])
            }
            if !last.isEmpty { try await write(last.flatMap { $0 + [lineFeed] }) }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }

    private func copyLive(
        _ job: Job, _ options: JobLogOptions, _ seen: borrowing Mutex<Set<String>>,
        _ write: @escaping LogStream<ReplicaLogBatch>.Write
    ) async throws {
        let wanted = LogOptions(follow: options.follow, tail: options.tail, container: options.container)
        let lines: LogStream<ReplicaLogBatch>
        do {
            switch job.submission.work {
            case .batch: lines = try await services.orchestrator.logs(api: job.queue, options: wanted)
            case .task: lines = try await services.runner.logs(task: job.id.description, options: wanted)
            }
        } catch let error as PlatformError where error.code == .notFound {
            // No worker was declared yet, or all are gone.
            return
        }
        let live = Mutex<Set<String>>([])
        let known = seen.withLock { $0 }
        try await lines.read { batch in
            guard let worker = batch.worker, options.worker.map({ $0 == worker.index }) ?? true,
                options.attempt.map({ $0 == worker.attempt }) ?? true
            else { return }
            let name = "\(batch.container)/\(batch.replica)"
            guard !known.contains(name) else { return }
            live.withLock { _ = $0.insert(name) }
            try await write(batch)
        }
        seen.withLock { $0.formUnion(live.withLock { $0 }) }
    }

    /// Waits while a followed job is open and has no workers; `false` when its log is at its end.
    private func goesOn(_ job: Job, _ options: JobLogOptions) async throws -> Bool {
        guard options.follow, !services.news.isClosed else { return false }
        let listener = services.news.enter(job.id)
        defer { services.news.leave(listener) }
        let present = try await services.store.job(job.id, api: job.api, now: services.clock.now())
        guard present?.status.isOpen == true else { return false }
        await services.news.wait(listener, upTo: .seconds(1))
        return true
    }
}

/// Keeps the logs of workers, and records what must be durable before a run may begin.
package struct JobRecorder: WorkerRecorder {
    private let store: any Store
    private let clock: any PlatformClock

    package init(store: any Store, clock: any PlatformClock) {
        self.store = store
        self.clock = clock
    }

    package func willStart(run pod: String, of worker: PodOwner.Worker) async throws {
        guard let id = RequestID(worker.jobID) else { return }
        // Its end is under way, and removes the run.
        guard let job = try await store.job(id, api: worker.version.name, now: clock.now()), job.stop == nil else {
            throw PlatformError(.unavailable, "its job is being stopped, or was erased")
        }
        guard case .task(let specification) = job.version.specification.kind,
            case .task(let work) = job.submission.work,
            TaskRetries.policy(specification.retries, replacedBy: work.retries).onLost == .fail,
            var run = try await store.runs(of: id, limit: .max).first(where: { $0.pod == pod }), run.status == .planned
        else { return }
        // If the platform dies from here on, the run is lost, although perhaps no container has begun (contract T3).
        run.status = .running
        run.startedAt = clock.now()
        _ = try await store.save(run, of: id, files: [], now: clock.now())
    }

    package func keep(
        _ log: LogStream<[UInt8]>, container: String, pod: String, of worker: PodOwner.Worker
    ) async throws {
        guard let id = RequestID(worker.jobID) else { return }
        let keeper = LogKeeper(store: store)
        do {
            try await log.read { try await keeper.append($0) }
            guard let kept = try await keeper.finish() else { return }
            try await store.add(
                [JobLogs.file(container: container, pod: pod, of: worker, body: kept.body)], to: id, now: clock.now())
        } catch {
            await keeper.discard()
            throw error
        }
    }
}
