/// Replicas that the orchestrator keeps running: those of an API, or the workers of a Batch job.
package struct ReplicaSet: Sendable, Hashable {
    /// The name of the API, or the queue of the job (`b-<job id>`).
    package var name: String
    /// The version that the replicas run. A job keeps its version whatever is deployed later (contract J7).
    package var api: DeployedAPI
    /// The number of replicas. A job's workers have the indexes 0 … count - 1.
    package var count: Int
    /// Indexes of workers that are not needed any more. They are stopped and not started again.
    package var released: Set<Int>
    /// `nil` for an API.
    package var job: JobContext?

    /// The replicas of an API.
    package init(api: DeployedAPI, count: Int) {
        self.name = api.name
        self.api = api
        self.count = count
        self.released = []
    }

    /// The workers of a Batch job.
    package init(name: String, api: DeployedAPI, count: Int, released: Set<Int> = [], job: JobContext) {
        self.name = name
        self.api = api
        self.count = count
        self.released = released
        self.job = job
    }

    /// Indexes of the workers that are to run, in the order in which they start.
    package var wantedWorkers: [Int] { (0..<max(0, count)).filter { !released.contains($0) } }
}

/// What the workers of one job have in common (contract J8).
package struct JobContext: Sendable, Hashable {
    package var jobID: String
    /// `CORTEX_WORKER_COUNT`.
    package var workers: Int
    /// `CORTEX_SCHEDULED_TIME`; only for jobs of a schedule.
    package var scheduledTime: String?
    /// The content of `/cortex/spec`: `job.json`.
    package var files: [PodFile]

    package init(jobID: String, workers: Int, scheduledTime: String? = nil, files: [PodFile] = []) {
        self.jobID = jobID
        self.workers = workers
        self.scheduledTime = scheduledTime
        self.files = files
    }
}

/// A worker of a Batch job as the orchestrator sees it: the basis of the verdict of contract B12.
package struct WorkerStatus: Sendable, Hashable {
    package var index: Int
    /// Id of its pod; `nil` while it has none.
    package var pod: String?
    package var state: ReplicaState
    /// Whether it was released or the whole set deleted. Its pod ends, and no other one follows.
    package var isReleased: Bool
    /// Whether a pod of this worker was ever ready, as far as this process of the platform knows.
    package var wasEverReady: Bool
    /// Failed starts and exits of a container, in a row since it was last ready.
    package var failures: Int
    /// How its container ended last.
    package var lastExit: ContainerExit?
    /// Whether a container of it was ever killed for memory.
    package var wasKilledForMemory: Bool
    /// Whether it waits for space on the machine.
    package var isWaitingForCapacity: Bool
    /// Why it is not ready, in one line: the words of `cortex describe`.
    package var reason: String?
    /// The last lines that it wrote while it is not ready.
    package var lastLines: [String]
    /// Batches inside it now.
    package var inFlight: Int
    /// Restarts of its containers.
    package var restarts: Int
    /// When its present pod was made.
    package var startedAt: Timestamp?

    package init(
        index: Int, pod: String? = nil, state: ReplicaState = .pending, isReleased: Bool = false,
        wasEverReady: Bool = false, failures: Int = 0, lastExit: ContainerExit? = nil, wasKilledForMemory: Bool = false,
        isWaitingForCapacity: Bool = false, reason: String? = nil, lastLines: [String] = [], inFlight: Int = 0,
        restarts: Int = 0, startedAt: Timestamp? = nil
    ) {
        self.index = index
        self.pod = pod
        self.state = state
        self.isReleased = isReleased
        self.wasEverReady = wasEverReady
        self.failures = failures
        self.lastExit = lastExit
        self.wasKilledForMemory = wasKilledForMemory
        self.isWaitingForCapacity = isWaitingForCapacity
        self.reason = reason
        self.lastLines = lastLines
        self.inFlight = inFlight
        self.restarts = restarts
        self.startedAt = startedAt
    }

    package var isReady: Bool { state == .ready }
}

/// Records what happens to the pods of workers. The orchestrator calls it and waits for it.
package protocol WorkerRecorder: Sendable {
    /// The containers of a run are about to start, its images are present. A run that may not run twice is recorded as
    /// running here (contract T3). When it throws, the start has failed and is tried again.
    func willStart(run pod: String, of worker: PodOwner.Worker) async throws

    /// Stores what one container of a worker wrote, over all its restarts: about the last 32 MiB (contract J12).
    ///
    /// The orchestrator calls it when the containers of a pod have ended, and removes the pod only after it returned. A
    /// failed call is repeated for as long as the platform runs, and after its next start; so it may be called again
    /// for a log that it has stored already, and replaces that.
    func keep(
        _ log: LogStream<[UInt8]>, container: String, pod: String, of worker: PodOwner.Worker
    ) async throws
}
