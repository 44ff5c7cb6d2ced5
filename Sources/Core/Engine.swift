/// Runs pods on this machine; imperative. What every adapter promises is the suite `EngineConformance`.
///
/// Every method throws ``PlatformError``: `engine_unavailable` when the engine does not answer, otherwise what the
/// method says. Every method heeds the cancellation of its task, has deadlines of its own, and is not held up by
/// another pod.
package protocol Engine: Sendable {
    /// `docker`, `podman` or `sandbox`; for people.
    var name: String { get }

    /// Readies what all pods share (network, the image of `PodInit`). Idempotent.
    func setUp() async throws

    /// What this engine cannot do of this specification: one line per problem, naming the field.
    func problems(with specification: APISpecification) async -> [String]

    /// What this machine has for pods; `nil` where that is not known, and then nothing is held back for lack of it.
    func capacity() async -> ComputeAmount?

    /// Makes the pod's images present, pulling what is missing. `progress` gets short lines for people.
    ///
    /// - Throws: `image_unavailable` with the registry's reason.
    func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws

    /// Starts the pod: its network namespace first, then every container. On failure, and when it is cancelled, nothing
    /// of the pod is left.
    ///
    /// It may be repeated: what an earlier start of the same id left behind is removed first, and a start that is under
    /// way is ended. The error of a failed start is the one that made it fail; where the clean-up failed too, that is
    /// its cause.
    ///
    /// - Throws: `container_failed` when a container cannot be started (command not found, not executable); `conflict`
    ///   when the pod runs already.
    func start(_ plan: PodPlan) async throws

    /// Starts a container of a running pod again after it exited.
    func restart(container: String, of pod: PodPlan) async throws

    /// Stops one container so that it can be restarted (a failed liveness probe): SIGTERM, then SIGKILL after `grace`.
    func stop(container: String, of pod: String, grace: Duration) async throws

    /// Stops every container (SIGTERM to all at once, SIGKILL after `grace`), then removes the pod with all it had:
    /// namespaces, mounts, folders, logs. Nothing to do for an unknown pod.
    func stop(pod: String, grace: Duration) async throws

    /// Every pod of this platform that exists in any state, read from the engine itself (adoption after a restart).
    ///
    /// A pod whose containers have ended stays listed, with their exit codes, until it is stopped, also when it ended
    /// while the platform did not run. A restart of the machine may remove pods; such pods are not listed.
    func list() async throws -> [ObservedPod]

    /// The way into a pod.
    func connector(pod: String) -> any Connector

    /// Runs a command inside a container, as its user, in its environment.
    ///
    /// - Throws: `timed_out` after `timeout` (the command is killed); `container_failed` when it cannot be run.
    func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult

    /// Lines of one container, standard output and error together, over all its restarts. With `follow` they end when
    /// the pod is removed.
    ///
    /// The batches are as in ``ReplicaLogBatch/lines``. Where lines were lost, a line says how many.
    func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]>

    /// The last lines of one container, for the platform's own use: cheap, whatever the container wrote.
    ///
    /// - Returns: `nil` when nothing was written since the call that returned `mark`.
    func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?

    /// What a pod's containers have stored in `/mnt`, `/tmp` and their homes. The work is spread over time. It stops
    /// early above `limit` bytes, and after `time` unless that is `nil`.
    ///
    /// - Returns: `nil` where this engine does not measure it, or the pod is gone.
    func diskUsage(pod: String, limit: Int64, upTo time: Duration?) async throws -> DiskUsage?

    /// The folder of this machine that a pod's containers have at ``PodPlan/artifactsDirectory``. It exists until the
    /// pod is stopped. Its content is what containers wrote: read it only with ``ArtifactFolder`` of `Support`.
    ///
    /// - Returns: `nil` when the pod has no such folder, or is gone.
    func artifactsFolder(pod: String) async throws -> String?

    /// Ids of pods in which something happened. Hints only: `list` is the truth.
    func hints() -> AsyncStream<String>

    /// Releases what the engine holds in this process: connections, streams, subscriptions. Calls fail afterwards; pods
    /// continue. Called once, last.
    func shutDown() async
}

extension Engine {
    package func capacity() async -> ComputeAmount? { nil }

    package func diskUsage(pod: String, limit: Int64, upTo time: Duration?) async throws -> DiskUsage? { nil }

    package func artifactsFolder(pod: String) async throws -> String? { nil }

    /// Reads the end of the log with ``logs(container:pod:follow:tail:)``, each time.
    package func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?
    {
        var lines: [String] = []
        let (batches, sender) = AsyncStream.makeStream(of: [UInt8].self)
        try await logs(container: container, pod: pod, follow: false, tail: count).read { sender.yield($0) }
        sender.finish()
        for await batch in batches {
            lines += batch.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
                .map { String(decoding: $0, as: UTF8.self) }
        }
        return LogExcerpt(lines: lines.suffix(count), mark: "")
    }

    package func shutDown() async {}
}

/// What a pod stores on disk.
package enum DiskUsage: Sendable, Hashable {
    /// Bytes, at least; all of them unless the measurement stopped early.
    case bytes(Int64)
    /// A folder is nested too deeply or cannot be read, so its content is not known.
    case unknown
}

/// Everything an engine needs to start one replica.
package struct PodPlan: Sendable, Hashable {
    /// Unique for ever: `<name of its owner>-<random>`. For an API also the replica's id.
    package var id: String
    /// The engine keeps it with the pod.
    package var owner: PodOwner
    package var createdAt: Timestamp
    package var containers: [ContainerPlan]
    /// Text of `/cortex/client/cli.yaml` in each container.
    package var clientConfiguration: String
    /// What happens when one of the containers exits.
    package var restart: RestartPolicy
    /// Texts that every container can read in ``specDirectory``. Only pods of job workers have them.
    package var files: [PodFile]
    /// Whether every container gets the same writable folder, empty at the start, at ``artifactsDirectory``. Only pods
    /// of job workers have it.
    package var hasArtifacts: Bool

    /// The folder of `cli.yaml` in every container (contract C9).
    package static let clientDirectory = "/cortex/client"

    /// The folder of ``files`` in every container (contract J8).
    package static let specDirectory = "/cortex/spec"

    /// The writable folder whose content is kept after the pod has ended (contract T6).
    package static let artifactsDirectory = "/cortex/artifacts"

    /// The one folder in `/cortex/client` that containers may write to: the published Python package puts there what it
    /// is about to deploy.
    package static let clientScratch = "deployments"

    /// The content of `/cortex/client`, which containers may only read: names and texts. The published Python package
    /// would make `client-id.txt` when it is imported, and cannot be imported where it can neither find nor make it.
    package var clientFiles: [(name: String, text: String)] {
        [("cli.yaml", clientConfiguration), ("client-id.txt", id)]
    }

    package init(
        id: String, owner: PodOwner, createdAt: Timestamp, containers: [ContainerPlan], clientConfiguration: String,
        restart: RestartPolicy = .always, files: [PodFile] = [], hasArtifacts: Bool = false
    ) {
        self.id = id
        self.owner = owner
        self.createdAt = createdAt
        self.containers = containers
        self.clientConfiguration = clientConfiguration
        self.restart = restart
        self.files = files
        self.hasArtifacts = hasArtifacts
    }
}

/// A small text that the containers of a pod can read.
package struct PodFile: Sendable, Hashable {
    /// Its name in ``PodPlan/specDirectory``, without a slash.
    package var name: String
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// What a pod runs for. The engine keeps it with the pod and lists it, so that a later run of the platform can adopt
/// the pod.
package enum PodOwner: Sendable, Hashable {
    /// A replica of an API.
    case api(Version)
    /// A worker of a job.
    case worker(Worker)

    /// The version of an API from which a replica was made.
    package struct Version: Sendable, Hashable {
        /// The name of the API.
        package var name: String
        /// As in ``DeployedAPI/id``.
        package var apiID: String
        package var podID: String
        package var deploymentID: String

        package init(name: String, apiID: String, podID: String, deploymentID: String) {
            self.name = name
            self.apiID = apiID
            self.podID = podID
            self.deploymentID = deploymentID
        }
    }

    /// The worker of a job that a pod is (contract J8).
    package struct Worker: Sendable, Hashable {
        /// The job's set of workers (``ReplicaSet/name``, ``RunPlan/set``).
        package var set: String
        package var jobID: String
        /// The API and the version of it that the job runs.
        package var version: Version
        /// The worker's index in the job: 0 … n - 1.
        package var index: Int
        /// 1 … for a task; always 1 for a batch job.
        package var attempt: Int

        package init(set: String, jobID: String, version: Version, index: Int, attempt: Int = 1) {
            self.set = set
            self.jobID = jobID
            self.version = version
            self.index = index
            self.attempt = attempt
        }
    }

    /// The API and version that the pod runs.
    package var version: Version {
        switch self {
        case .api(let version): version
        case .worker(let worker): worker.version
        }
    }

    /// `nil` for a replica of an API.
    package var worker: Worker? {
        if case .worker(let worker) = self { worker } else { nil }
    }
}

/// Whether the orchestrator starts a container of a pod again after it exited. Engines never do that by themselves.
package enum RestartPolicy: String, Sendable, Hashable, Codable, CaseIterable {
    /// Pods that serve requests.
    case always
    /// Only after another exit code than 0.
    case onFailure = "on_failure"
    case never

    package func restarts(after exit: ContainerExit) -> Bool {
        switch self {
        case .always: true
        case .onFailure: exit.code != 0
        case .never: false
        }
    }
}

/// One container of a pod, ready to start: environment complete, `$(NAME)` expanded.
package struct ContainerPlan: Sendable, Hashable {
    package var name: String
    package var image: String?
    package var command: [String]?
    package var args: [String]?
    /// In the order in which they are set: the system's, then the user's sorted by name.
    package var environment: [EnvironmentVariable]
    package var compute: Compute
    package var volumes: [ContainerSpecification.Volume]

    package init(
        name: String, image: String? = nil, command: [String]? = nil, args: [String]? = nil,
        environment: [EnvironmentVariable] = [], compute: Compute = .init(),
        volumes: [ContainerSpecification.Volume] = []
    ) {
        self.name = name
        self.image = image
        self.command = command
        self.args = args
        self.environment = environment
        self.compute = compute
        self.volumes = volumes
    }
}

/// A variable of a container's environment.
package struct EnvironmentVariable: Sendable, Hashable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// A pod as the engine has it.
package struct ObservedPod: Sendable, Hashable {
    package var id: String
    package var owner: PodOwner
    package var createdAt: Timestamp
    /// Whether `PodInit` lives. A pod without it cannot be repaired: stop it and start another.
    package var isAlive: Bool
    package var containers: [ObservedContainer]

    package init(
        id: String, owner: PodOwner, createdAt: Timestamp, isAlive: Bool, containers: [ObservedContainer]
    ) {
        self.id = id
        self.owner = owner
        self.createdAt = createdAt
        self.isAlive = isAlive
        self.containers = containers
    }
}

/// A container as the engine found it.
package struct ObservedContainer: Sendable, Hashable {
    /// What a container does.
    package enum State: Sendable, Hashable {
        /// Made, but not started.
        case created
        case running
        case exited(ContainerExit)
    }

    package var name: String
    package var state: State
    /// When it exited. `nil` while it runs, and where the engine does not know it.
    ///
    /// In a pod that is not alive, a container with a time exited by itself before the pod ended, and its exit code is
    /// the true one; a container without a time ended together with the pod.
    package var endedAt: Timestamp?

    package init(name: String, state: State, endedAt: Timestamp? = nil) {
        self.name = name
        self.state = state
        self.endedAt = endedAt
    }

    /// Whether it was started and has ended.
    package var hasExited: Bool {
        if case .exited = state { true } else { false }
    }
}

/// How a container ended.
package struct ContainerExit: Sendable, Hashable {
    /// The exit status; 128 + signal when a signal ended it.
    package var code: Int
    package var outOfMemory: Bool

    package init(code: Int, outOfMemory: Bool = false) {
        self.code = code
        self.outOfMemory = outOfMemory
    }
}

/// How a command in a container ended.
package struct ExecResult: Sendable, Hashable {
    package var exitCode: Int
    /// Standard output and error together, cut at ``Limits/failureBody`` bytes.
    package var output: String

    package init(exitCode: Int, output: String) {
        self.exitCode = exitCode
        self.output = output
    }
}

/// Host names and ports under which every container reaches the platform (contract C10), as in the original.
package enum ClusterNames {
    /// The gateway, on port 80.
    package static let gateway = "ingressgateway-apis.istio-system.svc.cluster.local"
    /// The operator, on port 80.
    package static let operatorIngress = "ingressgateway-operator.istio-system.svc.cluster.local"
    /// The operator, on port 8888.
    package static let operatorService = "operator.default.svc.cluster.local"

    /// Ports no container may use.
    package static let reservedPorts: Set<Int> = [8888, 15000]
}
