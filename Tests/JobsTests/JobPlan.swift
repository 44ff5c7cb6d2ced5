import Core

@testable import Jobs

/// Jobs and APIs for tests.
enum JobPlan {
    static let now = Timestamp(seconds: 1_800_000_000)

    static func batchAPI(_ name: String = "sum", _ change: (inout BatchSpecification) -> Void = { _ in }) -> DeployedAPI
    {
        var specification = BatchSpecification(pod: pod)
        change(&specification)
        return api(name, .batch(specification))
    }

    static func taskAPI(_ name: String = "report", _ change: (inout TaskSpecification) -> Void = { _ in })
        -> DeployedAPI
    {
        var specification = TaskSpecification(pod: pod)
        change(&specification)
        return api(name, .task(specification))
    }

    private static let pod = PodSpecification(containers: [ContainerSpecification(name: "api", command: ["serve"])])

    private static func api(_ name: String, _ kind: KindSpecification) -> DeployedAPI {
        DeployedAPI(
            specification: APISpecification(name: name, networking: .init(endpoint: "/\(name)"), kind: kind),
            id: "0000000000000001-deploy-spec", specID: "spec", podID: "pod", deploymentID: "deploy",
            initialDeployment: now, lastUpdated: now)
    }

    /// A Batch job with `batches` batches of one item.
    static func batchJob(
        workers: Int = 2, batches: Int64 = 4, status: JobStatus = .running, in api: DeployedAPI = batchAPI()
    ) -> Job {
        var job = Job(
            id: RequestID(now: now, random: 7), version: api,
            submission: JobSubmission(workers: workers, work: .batch(.init(batchSize: 1))), createdAt: now)
        job.status = status
        if status == .running { job.runningSince = now }
        job.counts.batches = batches
        job.counts.openBatches = batches
        job.counts.items = batches
        return job
    }

    static func taskJob(workers: Int = 1, status: JobStatus = .pending, in api: DeployedAPI = taskAPI()) -> Job {
        var job = Job(
            id: RequestID(now: now, random: 8), version: api,
            submission: JobSubmission(workers: workers, work: .task(.init())), createdAt: now)
        job.status = status
        if status == .running { job.runningSince = now }
        return job
    }
}
