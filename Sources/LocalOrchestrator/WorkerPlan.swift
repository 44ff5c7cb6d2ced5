package import Core

/// The next steps towards the wanted workers of a Batch job (contract B12). Pure.
///
/// A job's version is fixed, so no worker is ever replaced by one of another version. An index is free again only when
/// its pod is gone.
enum WorkerPlan {
    struct Worker: Sendable, Hashable {
        var pod: String
        var index: Int
        var isStopping: Bool
    }

    struct Steps: Sendable, Hashable {
        /// Indexes to start, in this order.
        var start: [Int] = []
        /// Pods to stop.
        var stop: [String] = []
    }

    /// - Parameter workers: of several with one index, the one to keep comes first.
    static func steps(wanted: [Int], workers: [Worker]) -> Steps {
        var steps = Steps()
        var taken: Set<Int> = []
        let wantedIndexes = Set(wanted)
        for worker in workers {
            let isFirst = taken.insert(worker.index).inserted
            if !worker.isStopping, !isFirst || !wantedIndexes.contains(worker.index) { steps.stop.append(worker.pod) }
        }
        steps.start = wanted.filter { !taken.contains($0) }
        return steps
    }
}

/// What is remembered of a worker beyond its pod, for the verdict of contract B12.
struct WorkerHistory: Sendable, Hashable {
    private(set) var wasEverReady = false
    private(set) var failures = 0
    private(set) var lastExit: ContainerExit?
    private(set) var wasKilledForMemory = false

    mutating func becameReady() {
        wasEverReady = true
        failures = 0
    }

    mutating func exited(_ exit: ContainerExit) {
        failures += 1
        lastExit = exit
        if exit.outOfMemory { wasKilledForMemory = true }
    }

    /// An engine that does not answer is no failure of the worker.
    mutating func startFailed(_ code: PlatformError.Code?) {
        if code == .containerFailed || code == .imageUnavailable { failures += 1 }
    }
}

extension PodPlan {
    /// Plans one worker of a Batch job.
    ///
    /// - Parameters:
    ///   - id: as for a replica of an API.
    package init(
        of api: DeployedAPI, worker index: Int, set: String, job: JobContext, id: String, createdAt: Timestamp,
        clusterVersion: String = CortexVersion.current, clientConfiguration: String
    ) {
        self.init(
            of: api, id: id, createdAt: createdAt, clusterVersion: clusterVersion,
            clientConfiguration: clientConfiguration,
            additional: job.variables(index: index, attempt: 1))
        owner = .worker(.init(set: set, jobID: job.jobID, version: owner.version, index: index))
        files = job.files
    }

    /// Plans a run of a Task job.
    package init(
        of run: RunPlan, createdAt: Timestamp, clusterVersion: String = CortexVersion.current,
        clientConfiguration: String
    ) {
        var api = run.api
        if let args = run.args, !api.specification.pod.containers.isEmpty {
            api.specification.pod.containers[0].args = args
        }
        let artifacts = EnvironmentVariable("CORTEX_ARTIFACTS_DIR", Self.artifactsDirectory)
        self.init(
            of: api, id: run.pod, createdAt: createdAt, clusterVersion: clusterVersion,
            clientConfiguration: clientConfiguration, hasPort: false,
            additional: run.job.variables(index: run.index, attempt: run.attempt) + [artifacts], environment: run.env)
        owner = .worker(run.worker)
        files = run.job.files
        hasArtifacts = true
        restart = .never
    }
}

extension RunPlan {
    package var worker: PodOwner.Worker {
        let version = PodOwner.Version(
            name: api.name, apiID: api.id, podID: api.podID, deploymentID: api.deploymentID)
        return PodOwner.Worker(set: set, jobID: job.jobID, version: version, index: index, attempt: attempt)
    }
}

extension JobContext {
    /// The variables of contract J8.
    fileprivate func variables(index: Int, attempt: Int) -> [EnvironmentVariable] {
        var variables = [
            EnvironmentVariable("CORTEX_JOB_ID", jobID), EnvironmentVariable("CORTEX_WORKER_INDEX", String(index)),
            EnvironmentVariable("CORTEX_WORKER_COUNT", String(workers)),
            EnvironmentVariable("CORTEX_ATTEMPT", String(attempt)),
        ]
        if let scheduledTime { variables.append(EnvironmentVariable("CORTEX_SCHEDULED_TIME", scheduledTime)) }
        return variables
    }
}
