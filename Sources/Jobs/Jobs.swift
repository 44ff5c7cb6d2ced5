package import Core
package import HTTPServing
package import Logging
import ServiceLifecycle
package import Wire

/// BatchAPI and TaskAPI: takes jobs, brings them to their end, and shows them (contract J, B, T).
package struct Jobs: Service {
    private let services: JobServices
    private let keeper: JobKeeper
    private let schedules: ScheduleKeeper
    /// The calls about jobs.
    package let routes: JobRoutes

    /// - Parameters:
    ///   - runner: runs the workers of Task jobs.
    ///   - sources: where files are that jobs may be made from.
    ///   - heldBack: why the API of this name may start nothing on this machine; `nil`: it may (contract N2).
    ///   - makeID: a new job's id; as a rule one that cannot be guessed.
    ///   - makeSuffix: the end of a pod's id, lower-case letters and digits; never the same twice.
    ///   - spareDisk: how many bytes of disk submissions may still take.
    ///   - gateway: the URL of the gateway for the caller of a request, without a slash at the end.
    package init(
        store: any Store, orchestrator: any Orchestrator, runner: any JobRunner, sources: [any ObjectSource],
        clock: any PlatformClock,
        logger: Logger, heldBack: @escaping @Sendable (String) -> String?,
        makeID: @escaping @Sendable (Timestamp) -> RequestID,
        makeSuffix: @escaping @Sendable () -> String,
        spareDisk: @escaping @Sendable () -> Int64, gateway: @escaping @Sendable (IncomingRequest) -> String
    ) {
        let news = JobNews(clock: clock)
        let inputs = FileInputs(sources: sources)
        let enqueuer = Enqueuer(store: store, clock: clock, files: inputs)
        let board = RunBoard()
        services = JobServices(
            store: store, orchestrator: orchestrator, runner: runner, board: board, clock: clock, logger: logger,
            makeID: makeID,
            spareDisk: spareDisk, gateway: gateway, news: news, files: inputs)
        keeper = JobKeeper(store: store, clock: clock, logger: logger) { job in
            switch job.submission.work {
            case .batch:
                BatchDriver(
                    job, store: store, orchestrator: orchestrator, clock: clock, logger: logger,
                    heldBack: heldBack, list: { try await enqueuer.list($0) })
            case .task:
                TaskDriver(
                    job, store: store, runner: runner, board: board, clock: clock, logger: logger,
                    heldBack: heldBack, makeSuffix: makeSuffix)
            }
        }
        let submitter = JobSubmitter(services: services, keeper: keeper)
        schedules = ScheduleKeeper(store: store, clock: clock, logger: logger, submitter: submitter)
        routes = JobRoutes(services: services, submitter: submitter, scheduleKeeper: schedules)
    }

    /// The handler of an API with jobs at the gateway; `nil` for another kind.
    package func endpoint(of api: DeployedAPI) -> (any EndpointHandler)? {
        api.specification.jobs == nil ? nil : JobEndpoint(api, routes: routes)
    }

    /// The same routes at the operator.
    ///
    /// - Parameter authenticate: whom the token of a request belongs to.
    package func atOperator(
        authenticate: @escaping @Sendable (IncomingRequest) async throws -> JobAccess.Credential
    ) -> JobsAtOperator {
        JobsAtOperator(routes: routes, authenticate: authenticate)
    }

    /// The jobs that a list of APIs shows: all open ones, then the most recent ended ones, up to 10 in all when fewer
    /// are open (contract J13).
    package func shown(of deployed: DeployedAPI) async throws -> [JobStatusDocument] {
        let api = deployed.name
        let now = services.clock.now()
        var open: [Job] = []
        var filter = JobFilter(statuses: JobStatus.open, limit: Limits.listPage)
        while true {
            let page = try await services.store.jobs(of: api, filter: filter, now: now)
            open += page
            guard page.count == Limits.listPage, let last = page.last else { break }
            filter.before = last.id
        }
        if open.count < Limits.listedJobs {
            let ended = Set(JobStatus.allCases).subtracting(JobStatus.open)
            open += try await services.store.jobs(
                of: api, filter: JobFilter(statuses: ended, limit: Limits.listedJobs - open.count), now: now)
        }
        var statuses: [JobStatusDocument] = []
        for job in open { statuses.append(try await routes.views.status(of: job)) }
        return statuses
    }

    /// The problems of the submission of a schedule, each with the path of its member.
    package static func problems(ofSubmission text: String, for kind: APIKind) -> [(path: String, message: String)] {
        SubmissionParser.problems(in: Array(text.utf8), for: kind)
    }

    /// The output of a job's workers (contract J12).
    ///
    /// - Throws: `not_found` when there is no such job, worker, attempt or container; `store_unavailable`.
    package func logs(of text: String, in api: DeployedAPI, _ options: JobLogOptions) async throws
        -> LogStream<ReplicaLogBatch>
    {
        guard let id = RequestID(text),
            let job = try await services.store.job(id, api: api.name, now: services.clock.now())
        else { throw JobRoutes.unknownJob }
        let containers = job.version.specification.pod.containers.map(\.name)
        if let container = options.container, !containers.contains(container) {
            throw PlatformError(
                .notFound, "the job has no such container: it has \(containers.joined(separator: ", "))")
        }
        if let worker = options.worker, !(0..<job.submission.workers).contains(worker) {
            throw PlatformError(.notFound, "the job has no worker \(worker): it has 0 to \(job.submission.workers - 1)")
        }
        return JobLogs(services: services).lines(of: job, options)
    }

    /// Submits the job of a schedule at once (contract J14).
    ///
    /// - Throws: `not_found`; what a submission may be refused for.
    package func runSchedule(_ name: String, of api: DeployedAPI) async throws -> JobSubmissionDocument {
        JobSubmissionDocument(try await schedules.run(name, of: api))
    }

    /// Suspends a schedule, or resumes it. It holds across restarts.
    ///
    /// - Throws: `not_found`; `store_unavailable`.
    package func suspendSchedule(_ isSuspended: Bool, _ name: String, of api: DeployedAPI) async throws {
        try await schedules.suspend(isSuspended, name, of: api)
    }

    /// Declares the workers of jobs that go on. Call it once, before the orchestrator runs.
    package func restore() async throws { try await keeper.restore() }

    /// Ends all waiting for jobs: the platform is shutting down.
    package func beginShutdown() { services.news.close() }

    /// Runs until shutdown; returns normally then.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await keeper.run() }
            group.addTask { try await schedules.run() }
            group.addTask { await cancelWhenGracefulShutdown { await followHints() } }
            group.addTask { await cancelWhenGracefulShutdown { await followRuns() } }
            try await group.waitForAll()
        }
    }

    private func followRuns() async {
        while !Task.isCancelled {
            for await runs in services.runner.runs() { await keeper.look(at: services.board.update(runs)) }
            guard (try? await services.clock.sleep(for: .milliseconds(100))) != nil else { return }
        }
    }

    private func followHints() async {
        while !Task.isCancelled {
            for await change in services.store.changes(.jobs) { services.news.changed(change.jobs) }
            guard (try? await services.clock.sleep(for: .milliseconds(100))) != nil else { return }
            services.news.changedAll()
        }
    }
}
