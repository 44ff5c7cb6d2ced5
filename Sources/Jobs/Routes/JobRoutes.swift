package import Core
package import HTTPServing
import NIOCore
import NIOHTTP1
import Support
import Wire

/// Answers the calls about jobs of one API, at the gateway and at the operator alike (contract J1).
package struct JobRoutes: Sendable {
    let services: JobServices
    let submitter: JobSubmitter
    let scheduleKeeper: ScheduleKeeper

    /// Whether there is such a path below the base of an API with jobs.
    package static func serves(_ rest: Substring) -> Bool { JobPath(rest) != nil }

    /// The methods of a path.
    static func methods(_ path: JobPath) -> [HTTPMethod] {
        switch path {
        case .jobs: [.GET, .HEAD, .POST, .DELETE]
        case .job: [.GET, .HEAD, .DELETE]
        case .retry: [.POST]
        case .schedules, .results, .items, .artifacts, .artifactArchive, .artifact: [.GET, .HEAD]
        }
    }

    /// - Parameters:
    ///   - api: a deployed API with jobs.
    ///   - base: the path before `rest`, as the caller knows it.
    ///   - rest: the path behind the base, as the caller sent it.
    package func respond(
        to request: IncomingRequest, for api: DeployedAPI, base: String, rest: Substring, body: inout IncomingBody
    ) async throws -> OutgoingResponse {
        guard let path = JobPath(rest) else { throw Self.unknownPath }
        let methods = Self.methods(path)
        guard methods.contains(request.method) else {
            throw HTTPFault.methodNotAllowed(request.method, allowed: methods)
        }
        switch (path, request.method) {
        case (.jobs, .POST): return try await submit(request, api, base, &body)
        case (.jobs, .DELETE):
            guard let text = request.parameter("jobID") else {
                throw PlatformError(.queryParameterRequired, "the id of the job is missing: add ?jobID=ID or /ID")
            }
            return try await stop(text, api)
        case (.jobs, _):
            if let text = request.parameter("jobID") { return try await read(text, request, api, base) }
            return try await list(request, api)
        case (.job(let text), .DELETE): return try await stop(text, api)
        case (.job(let text), _): return try await read(text, request, api, base)
        case (.retry(let text), _): return try await retry(text, request, api, base, &body)
        case (.results(let text), _): return try await results(try await job(text, api, of: .batch), request)
        case (.items(let text), _): return try await items(try await job(text, api, of: .batch), request)
        case (.artifacts(let text), _): return try await artifacts(try await job(text, api, of: .task), request)
        case (.artifactArchive(let text), _):
            return try await archive(try await job(text, api, of: .task), request)
        case (.artifact(let text, let worker, let path), _):
            return try await artifact(try await job(text, api, of: .task), worker: worker, path: path, request)
        case (.schedules, _):
            return try await JobTexts.response(
                try await scheduleKeeper.document(of: api), store: services.store,
                headersOnly: request.method == .HEAD)
        }
    }

    // MARK: Submission

    private func submit(
        _ request: IncomingRequest, _ api: DeployedAPI, _ base: String, _ body: inout IncomingBody
    ) async throws -> OutgoingResponse {
        let wait = try WaitPreference.read(request)
        switch try await submitter.submit(request, to: api, &body) {
        case .text(let text):
            return OutgoingResponse(
                status: .ok, headers: ["Content-Type": "text/plain; charset=utf-8"],
                body: .bytes(ByteBuffer(bytes: text))
            )
        case .job(let job): return try await answer(toSubmissionOf: job, wait, request, api, base)
        }
    }

    private func answer(
        toSubmissionOf job: Job, _ wait: WaitPreference?, _ request: IncomingRequest, _ api: DeployedAPI, _ base: String
    ) async throws -> OutgoingResponse {
        let headers: HTTPHeaders = ["Location": base == "/" ? "/\(job.id)" : "\(base)/\(job.id)"]
        guard let wait else {
            return try await JobTexts.response(
                JobSubmissionDocument(job), store: services.store, headersOnly: false, headers: headers)
        }
        return try await document(of: job.id, waiting: wait, request, api, headers: headers)
    }

    private func retry(
        _ text: String, _ request: IncomingRequest, _ api: DeployedAPI, _ base: String, _ body: inout IncomingBody
    ) async throws -> OutgoingResponse {
        let wait = try WaitPreference.read(request)
        let key = try IdempotencyKey.read(request)
        let old = try await job(text, api)
        let bytes = Array(try await body.collect(upTo: 64 << 10).readableBytesView)
        let retry = try JobRetry(bytes, of: old, key: key)
        let job = try await retry.submit(to: api, by: submitter)
        return try await answer(toSubmissionOf: job, wait, request, api, base)
    }

    // MARK: Reading

    /// A job of this API.
    ///
    /// - Throws: `not_found`.
    private func job(_ text: String, _ api: DeployedAPI) async throws -> Job {
        guard let id = RequestID(text),
            let job = try await services.store.job(id, api: api.name, now: services.clock.now())
        else { throw Self.unknownJob }
        return job
    }

    private func job(_ text: String, _ api: DeployedAPI, of kind: APIKind) async throws -> Job {
        guard api.specification.kind.name == kind else {
            throw PlatformError(
                .onlySupportedForKind,
                "this exists only for a \(kind.rawValue); \(api.name) is a \(api.specification.kind.name.rawValue)"
            )
        }
        return try await job(text, api)
    }

    private func read(
        _ text: String, _ request: IncomingRequest, _ api: DeployedAPI, _ base: String
    ) async throws -> OutgoingResponse {
        guard let id = RequestID(text) else { throw Self.unknownJob }
        return try await document(of: id, waiting: try WaitPreference.read(request), request, api)
    }

    /// The document of a job, when it has ended or the caller has waited long enough.
    private func document(
        of id: RequestID, waiting wait: WaitPreference?, _ request: IncomingRequest, _ api: DeployedAPI,
        headers: HTTPHeaders = [:]
    ) async throws -> OutgoingResponse {
        var headers = headers
        if let applied = wait?.applied { headers.add(name: "Preference-Applied", value: applied) }
        // Before the job is read, so that no change is missed.
        let listener = services.news.enter(id)
        defer { services.news.leave(listener) }
        let deadline = services.clock.instant() + (wait?.duration ?? .zero)
        while true {
            guard let job = try await services.store.job(id, api: api.name, now: services.clock.now()) else {
                throw Self.unknownJob
            }
            let left = deadline - services.clock.instant()
            if !job.status.isOpen || left <= .zero || request.caller.hasFinished || services.news.isClosed {
                return try await JobTexts.response(
                    try await views.document(of: job, gateway: services.gateway(request)), store: services.store,
                    headersOnly: request.method == .HEAD, headers: headers)
            }
            // Hints may be lost.
            await services.news.wait(listener, upTo: min(left, .seconds(5)), caller: request.caller)
        }
    }

    private func list(_ request: IncomingRequest, _ api: DeployedAPI) async throws -> OutgoingResponse {
        // A list does not wait, but a bad parameter is refused as everywhere.
        _ = try WaitPreference.read(request)
        var filter = JobFilter()
        if let text = request.parameter("status") {
            guard let status = JobStatus(rawValue: text) else {
                let all = JobStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw PlatformError(.badRequest, "status must be one of \(all)")
            }
            filter.statuses = [status]
        }
        if let text = request.parameter("limit") {
            guard let limit = Int(text), (1...Limits.listPage).contains(limit) else {
                throw PlatformError(.badRequest, "limit must be an integer from 1 to \(Limits.listPage)")
            }
            filter.limit = limit
        }
        if let text = request.parameter("before") {
            guard let id = RequestID(text) else {
                throw PlatformError(.badRequest, "before must be the `next` of the page before")
            }
            filter.before = id
        }
        // One more tells whether another page follows.
        let limit = filter.limit
        filter.limit = min(limit + 1, Limits.listPage)
        var jobs = try await services.store.jobs(of: api.name, filter: filter, now: services.clock.now())
        var next: RequestID?
        if jobs.count > limit {
            jobs.removeLast(jobs.count - limit)
            next = jobs.last?.id
        } else if jobs.count == Limits.listPage {
            filter.before = jobs.last?.id
            filter.limit = 1
            let more = try await services.store.jobs(of: api.name, filter: filter, now: services.clock.now())
            next = more.isEmpty ? nil : jobs.last?.id
        }
        var statuses: [JobStatusDocument] = []
        for job in jobs { statuses.append(try await views.status(of: job)) }
        return try await JobTexts.response(
            JobListDocument(jobs: statuses, next: next), store: services.store, headersOnly: request.method == .HEAD)
    }

    var views: JobViews { JobViews(services: services) }

    // MARK: Stop

    /// `DELETE` (contract J5).
    private func stop(_ text: String, _ api: DeployedAPI) async throws -> OutgoingResponse {
        let job = try await job(text, api)
        let stop = JobStop(status: .stopped, reason: "stopped by its caller")
        guard job.status.isOpen, try await services.store.stop(job.id, stop, now: services.clock.now()) != nil else {
            throw PlatformError(.jobNotInProgress, "the job has already ended")
        }
        return .json(Array("{\"message\":\"stopped job \(job.id)\"}\n".utf8))
    }

    static let unknownJob = PlatformError(
        .notFound, "this API has no such job: the id is wrong, or its retention is over")
    static let unknownPath = PlatformError(.notFound, "an API with jobs has nothing at this path")
}
