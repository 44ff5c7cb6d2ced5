import Access
package import Core
import HTTPServing
import NIOHTTP1
package import Wire

/// What the operator needs of the jobs of BatchAPIs and TaskAPIs.
package protocol JobControl: Sendable {
    /// The output of a job's workers (contract J12).
    ///
    /// - Throws: `not_found` when there is no such job, worker or container; `store_unavailable`.
    func logs(of job: String, in api: DeployedAPI, _ options: JobLogOptions) async throws
        -> LogStream<ReplicaLogBatch>

    /// Submits the job of a schedule at once (contract J14).
    ///
    /// - Throws: `not_found`; what a submission may be refused for.
    func runSchedule(_ name: String, of api: DeployedAPI) async throws -> JobSubmissionDocument

    /// Suspends a schedule, or resumes it. It holds across restarts.
    ///
    /// - Throws: `not_found`; `store_unavailable`.
    func suspendSchedule(_ isSuspended: Bool, _ name: String, of api: DeployedAPI) async throws
}

extension Operator {
    /// Schedules of BatchAPIs and TaskAPIs (contract J14).
    static let scheduleRoutes: [OperatorRoute] = [
        OperatorRoute(
            .POST, "/schedules/{api}/{schedule}/run", .schedule,
            OpenAPIOperation(
                id: "runSchedule", summary: "Submits the job of a schedule at once, beside its plan.",
                answer: OpenAPIOperation.json("JobSubmission"),
                errors: [400: "The API has no jobs, or the submission is refused.", 429: "Too many jobs are pending."])
        ) { this, call, _ in
            let api = try await this.apiWithJobs(call)
            let document = try await this.jobControl().runSchedule(call.parameters["schedule"] ?? "", of: api)
            return .json(
                try OrderedJSON.bytes(of: document) + [UInt8(ascii: "\n")], headers: ["Cache-Control": "no-store"])
        },
        OperatorRoute(
            .POST, "/schedules/{api}/{schedule}/suspend", .schedule,
            OpenAPIOperation(
                id: "suspendSchedule", summary: "Suspends a schedule until it is resumed.",
                answer: OpenAPIOperation.json("Message"), errors: [400: "The API has no jobs."])
        ) { this, call, _ in try await this.suspendSchedule(true, call) },
        OperatorRoute(
            .POST, "/schedules/{api}/{schedule}/resume", .schedule,
            OpenAPIOperation(
                id: "resumeSchedule", summary: "Resumes a schedule.",
                answer: OpenAPIOperation.json("Message"), errors: [400: "The API has no jobs."])
        ) { this, call, _ in try await this.suspendSchedule(false, call) },
    ]

    private func suspendSchedule(_ isSuspended: Bool, _ call: OperatorCall) async throws -> OutgoingResponse {
        let api = try await apiWithJobs(call)
        let name = call.parameters["schedule"] ?? ""
        try await jobControl().suspendSchedule(isSuspended, name, of: api)
        return try Self.json(
            MessageDocument(message: "\(isSuspended ? "suspended" : "resumed") schedule \(name) of \(api.name)"))
    }

    private func apiWithJobs(_ call: OperatorCall) async throws -> DeployedAPI {
        let api = try await deployedAPI(call.api)
        guard api.specification.jobs != nil else {
            throw PlatformError(
                .onlySupportedForKind,
                "only a BatchAPI or a TaskAPI has schedules; \(api.name) is of kind \(api.specification.kind.name.rawValue)"
            )
        }
        return api
    }

    func jobControl() throws -> any JobControl {
        guard let jobs = configuration.jobs else {
            throw PlatformError(.notSupported, "jobs do not run here")
        }
        return jobs
    }

    /// The log of a job, where the query names one; `nil` for the log of an API.
    func jobLines(of api: DeployedAPI, _ query: QueryParameters) async throws -> LogStream<ReplicaLogBatch>? {
        guard let job = try query.text("jobID") else { return nil }
        guard api.specification.jobs != nil else {
            throw PlatformError(
                .onlySupportedForKind, "only a BatchAPI or a TaskAPI has jobs; \(api.name) has none")
        }
        let options = JobLogOptions(
            follow: try query.bool("follow"), tail: try query.integer("tail", in: 0...1_000_000),
            worker: try query.integer("worker", in: 0...1_000_000),
            attempt: try query.integer("attempt", in: 1...1_000_000), container: try query.text("container"))
        return try await jobControl().logs(of: job, in: api, options)
    }
}
