import Core
import Support
import Wire

/// What is shown of a job: what is stored of it, and what runs.
struct JobViews: Sendable {
    let services: JobServices

    /// - Parameter gateway: the URL of the gateway, without a slash at the end.
    func document(of job: Job, gateway: String) async throws -> JobDocument {
        let path = job.version.specification.networking.endpoint
        let endpoint = "\(gateway)\(path == "/" ? "" : path)?jobID=\(job.id)"
        let specification = try JobTexts.specification(of: job.version)
        switch try await status(of: job) {
        case .batch(let status):
            return .batch(
                JobDocument.Batch(
                    apiSpec: specification, jobStatus: status, metrics: JobDocument.Metrics(job.counts),
                    endpoint: endpoint))
        case .task(let status):
            return .task(JobDocument.Task(apiSpec: specification, jobStatus: status, endpoint: endpoint))
        }
    }

    func status(of job: Job) async throws -> JobStatusDocument {
        switch job.submission.work {
        case .batch:
            let workers = job.status.isOpen ? await services.orchestrator.workers(of: job.queue) : []
            return .batch(BatchJobStatusDocument(job, workers: WorkerCountsDocument(workers)))
        case .task: return .task(try await taskStatus(of: job))
        }
    }
}

extension JobViews {
    /// The newest runs that a document shows (contract T8).
    private static let shownRuns = 1000

    private func taskStatus(of job: Job) async throws -> TaskJobStatusDocument {
        let store = services.store
        let runs = try await store.runs(of: job.id, limit: Self.shownRuns)
        let states = services.board.runs(of: job.id)
        var last: [Int: Int] = [:]
        for run in runs where run.status.isEnded { last[run.worker] = max(last[run.worker] ?? 0, run.attempt) }
        var work = TaskJobStatusDocument.Work(runs: Array(runs.reversed()))
        for file in try await store.files(of: job.id, kind: .artifact) where file.attempt == last[file.worker] {
            if case .kept = file.content { work.artifacts += 1 }
        }
        for file in try await store.files(of: job.id, kind: .result) where file.attempt == last[file.worker] {
            if case .kept(let body, _) = file.content { work.results[file.worker] = body }
        }
        for run in runs where run.status == .running && states[run.pod]?.phase == .running {
            guard let path = try await services.runner.artifactsFolder(run: run.pod) else { continue }
            work.progress[run.worker] = try await ArtifactFolder(path: path).progress()
        }
        return TaskJobStatusDocument(
            job, workers: job.status.isOpen ? WorkerCountsDocument(job, runs, states) : nil, work: work)
    }
}

extension WorkerCountsDocument {
    /// The workers of a Task job in the original's words.
    ///
    /// - Parameter runs: newest first.
    init(_ job: Job, _ runs: [JobRun], _ states: [String: RunState]) {
        guard case .task(let work) = job.submission.work else {
            self.init()
            return
        }
        var newest: [Int: JobRun] = [:]
        for run in runs where newest[run.worker] == nil { newest[run.worker] = run }
        var counts: [State: Int] = [:]
        for worker in work.indexes ?? Array(0..<job.submission.workers) {
            let run = newest[worker]
            counts[State(run, run.flatMap { states[$0.pod] }), default: 0] += 1
        }
        self.init(counts)
    }

    /// The workers of a Batch job in the original's words (reference: cortex.md §5.5).
    init(_ workers: [WorkerStatus]) {
        var counts: [State: Int] = [:]
        for worker in workers where worker.pod != nil || !worker.isReleased {
            counts[State(worker), default: 0] += 1
        }
        self.init(counts)
    }
}

extension WorkerCountsDocument.State {
    /// - Parameter run: the newest run of the worker.
    init(_ run: JobRun?, _ state: RunState?) {
        switch run?.status {
        case .succeeded?: self = .succeeded
        case .oom?: self = .killedOOM
        case .exit?, .startFailed?: self = .failed
        case .timeout?, .stopped?: self = .killed
        case nil, .lost?: self = .pending
        case .planned?, .running?:
            self =
                switch state?.phase {
                case .waiting?, nil: .pending
                case .starting?: .creating
                case .startFailed?: .stalled
                case .running?: .ready
                case .ending?, .over?, .removing?: .terminating
                }
        }
    }

    init(_ worker: WorkerStatus) {
        if worker.isReleased {
            self = .terminating
            return
        }
        // A job's version never changes, so none of its workers is out of date.
        self = worker.state == .readyOutOfDate ? .ready : Self(rawValue: worker.state.rawValue) ?? .unknown
    }
}
