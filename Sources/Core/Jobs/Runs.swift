/// One attempt of one worker of a Task job: everything the orchestrator needs to start its pod.
package struct RunPlan: Sendable, Hashable {
    /// Id of its pod; unique for ever. The caller records it before it calls ``JobRunner/start(_:)``. A run that was
    /// lost is started again with another id.
    package var pod: String
    /// The version that the job runs (contract J7).
    package var api: DeployedAPI
    package var job: JobContext
    /// The worker's index in the job.
    package var index: Int
    /// 1 …
    package var attempt: Int
    /// Replaces the `args` of the first container; `nil`: as declared (contract T1).
    package var args: [String]?
    /// Is added to every container after the API's own `env` (contract T1).
    package var env: [String: String]
    /// How long the attempt may run from the start of its containers; `nil`: for ever (contract T9).
    package var timeout: Duration?
    /// When the containers of a run that an earlier process of the platform started began, where that is recorded.
    package var startedAt: Timestamp?

    package init(
        pod: String, api: DeployedAPI, job: JobContext, index: Int, attempt: Int, args: [String]? = nil,
        env: [String: String] = [:], timeout: Duration? = nil, startedAt: Timestamp? = nil
    ) {
        self.pod = pod
        self.api = api
        self.job = job
        self.index = index
        self.attempt = attempt
        self.args = args
        self.env = env
        self.timeout = timeout
        self.startedAt = startedAt
    }

    /// The name of the job's set of workers.
    package var set: String { Self.set(of: job.jobID) }

    package static func set(of jobID: String) -> String { "t-\(jobID)" }

    /// The id of a pod for a run.
    ///
    /// - Parameter suffix: lower-case letters and digits, not used before for this job.
    package static func podID(job: String, index: Int, suffix: String) -> String {
        "\(set(of: job))-\(index)-\(suffix)"
    }
}

/// How a run ended.
package struct RunEnd: Sendable, Hashable {
    package enum Cause: String, Sendable, Hashable, CaseIterable {
        /// A container exited, with any code. Also: the platform ended the run because of a liveness probe or of
        /// `compute.disk`, which ``RunEnd/reason`` says.
        case exit
        /// The container was killed for memory.
        case outOfMemory = "oom"
        /// ``RunPlan/timeout`` is over.
        case timeout
        /// ``JobRunner/stop(run:grace:)``.
        case stopped
        /// The platform or the machine ended it, or its pod is gone (contract T3).
        case lost
    }

    package var cause: Cause
    /// How the container ended that exited first (of several, the first one in the file); `nil` where that is not
    /// known.
    package var exit: ContainerExit?
    /// The name of that container.
    package var container: String?
    /// The cause in one line without a full stop; `nil` for exit code 0.
    package var reason: String?
    package var endedAt: Timestamp

    package init(
        cause: Cause, exit: ContainerExit? = nil, container: String? = nil, reason: String? = nil, endedAt: Timestamp
    ) {
        self.cause = cause
        self.exit = exit
        self.container = container
        self.reason = reason
        self.endedAt = endedAt
    }

    package var isSuccess: Bool { cause == .exit && exit?.code == 0 }
}

/// What a run does now.
package struct RunState: Sendable, Hashable {
    package enum Phase: Sendable, Hashable {
        /// It waits for space on the machine.
        case waiting
        /// Its images are being pulled or its containers started.
        case starting
        /// It could not be started and is tried again (contract T4).
        case startFailed
        case running
        /// Its end is decided; the containers that still run are being stopped.
        case ending(RunEnd)
        /// All containers have ended. The pod, with its logs and artifacts, is kept until the run is acknowledged.
        case over(RunEnd)
        /// Acknowledged; the pod is being removed. When that is done, the run is not listed any more.
        case removing
    }

    /// Id of its pod.
    package var pod: String
    package var worker: PodOwner.Worker
    package var phase: Phase
    /// Why it waits or cannot start, or how the pull proceeds, in one line.
    package var reason: String?
    /// When its containers began.
    package var startedAt: Timestamp?
    /// Since when its starts have failed; `nil` when none has since it began or started.
    package var failingSince: Timestamp?
    /// The last lines of the container that exited first, of a run that is over without success.
    package var lastLines: [String]

    package init(
        pod: String, worker: PodOwner.Worker, phase: Phase, reason: String? = nil, startedAt: Timestamp? = nil,
        failingSince: Timestamp? = nil, lastLines: [String] = []
    ) {
        self.pod = pod
        self.worker = worker
        self.phase = phase
        self.reason = reason
        self.startedAt = startedAt
        self.failingSince = failingSince
        self.lastLines = lastLines
    }

    /// How it ended, once its pod is over.
    package var end: RunEnd? {
        if case .over(let end) = phase { end } else { nil }
    }
}

/// Runs the pods of Task jobs, each once (contract T2–T5, T9, T10).
///
/// The order is: record the run as planned, ``start(_:)``; record it as running; wait for `over`; copy the artifacts
/// and record the end; ``acknowledge(run:)``. Logs are passed to the ``WorkerRecorder`` before the pod is removed.
/// Every step may be repeated after a crash. A pod of a task whose run is neither started nor resumed before the
/// orchestrator runs is removed.
package protocol JobRunner: Sendable {
    /// Starts a run as soon as the machine has space for it. Returns at once. Does nothing for a run that is known. A
    /// pod of an earlier process with this id is adopted, if this is called before the orchestrator runs.
    func start(_ plan: RunPlan) async

    /// Declares a run that an earlier process of the platform started. If the engine does not list its pod, the run is
    /// over as ``RunEnd/Cause/lost``. Call it before the orchestrator runs.
    func resume(_ plan: RunPlan) async

    /// Ends a run: SIGTERM to its containers, SIGKILL after `grace`. It is over as ``RunEnd/Cause/stopped`` unless one
    /// of its containers had exited before. A run that has not started is over at once.
    func stop(run pod: String, grace: Duration) async

    /// Removes the pod of a run that is over, with its log and artifacts. Returns at once; the run leaves the list when
    /// its pod is gone. A run that is not over is not touched.
    func acknowledge(run pod: String) async

    /// The states of all runs whenever one changes; the present ones first. A slow reader gets the newest list only.
    func runs() -> AsyncStream<[RunState]>

    /// The folder of this machine that holds the artifacts of a run, for ``ArtifactFolder``; `nil` when its pod is
    /// gone.
    func artifactsFolder(run pod: String) async throws -> String?

    /// The lines of the pods of a task that exist now; they end as those of ``Orchestrator/logs(api:options:)``. The
    /// replica of `options` is the id of a run's pod.
    func logs(task jobID: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch>
}
