/// The declaration of one API in `cortex.yaml`, with all defaults (reference: contract Y1, Y2).
///
/// Name and networking are common to all kinds; ``kind`` is the part that depends on the kind.
package struct APISpecification: Sendable, Hashable {
    package var name: String
    package var networking: Networking
    package var kind: KindSpecification

    package init(name: String, networking: Networking, kind: KindSpecification) {
        self.name = name
        self.networking = networking
        self.kind = kind
    }

    /// An AsyncAPI.
    package static func async(
        name: String, networking: Networking, pod: PodSpecification, autoscaling: AutoscalingPolicy = .init(),
        updateStrategy: UpdateStrategy = .init(), requests: RequestPolicy = .init()
    ) -> APISpecification {
        let workload = Workload(pod: pod, autoscaling: autoscaling, updateStrategy: updateStrategy)
        return APISpecification(
            name: name, networking: networking, kind: .async(AsyncSpecification(workload: workload, requests: requests))
        )
    }

    /// `networking`: the address of the API for callers.
    package struct Networking: Sendable, Hashable {
        /// Canonical: begins with `/`, does not end with one.
        package var endpoint: String
        /// Origins a browser may call from; `*` is any. Empty: the containers answer browsers themselves (contract R4).
        package var allowOrigins: [String]

        package init(endpoint: String, allowOrigins: [String] = ["*"]) {
            self.endpoint = endpoint
            self.allowOrigins = allowOrigins
        }
    }
}

/// The kinds of API by their names in `cortex.yaml`. Kinds that this release does not serve have a name too: a file
/// that declares one gets a clear error.
package enum APIKind: String, Sendable, Hashable, Codable, CaseIterable {
    case realtime = "RealtimeAPI"
    case batch = "BatchAPI"
    case task = "TaskAPI"
    case async = "AsyncAPI"
    case trafficSplitter = "TrafficSplitter"
}

/// The part of a specification that depends on the API's kind.
package enum KindSpecification: Sendable, Hashable {
    case async(AsyncSpecification)
    case realtime(RealtimeSpecification)
    case batch(BatchSpecification)
    case task(TaskSpecification)
    case trafficSplitter(SplitterSpecification)

    package var name: APIKind {
        switch self {
        case .async: .async
        case .realtime: .realtime
        case .batch: .batch
        case .task: .task
        case .trafficSplitter: .trafficSplitter
        }
    }
}

/// The declaration of an AsyncAPI without its name and networking.
package struct AsyncSpecification: Sendable, Hashable {
    package var workload: Workload
    package var requests: RequestPolicy

    package init(workload: Workload, requests: RequestPolicy = .init()) {
        self.workload = workload
        self.requests = requests
    }
}

/// Replicas that run until the API is deleted: their pod, their number, and the replacement of versions.
package struct Workload: Sendable, Hashable {
    package var pod: PodSpecification
    package var autoscaling: AutoscalingPolicy
    package var updateStrategy: UpdateStrategy

    package init(
        pod: PodSpecification, autoscaling: AutoscalingPolicy = .init(), updateStrategy: UpdateStrategy = .init()
    ) {
        self.pod = pod
        self.autoscaling = autoscaling
        self.updateStrategy = updateStrategy
    }

    /// The workload of a kind that has no replicas.
    static func withoutReplicas(_ pod: PodSpecification = PodSpecification(containers: [])) -> Workload {
        Workload(pod: pod, autoscaling: AutoscalingPolicy(minReplicas: 0, maxReplicas: 0))
    }
}

/// The parts that several kinds have.
extension APISpecification {
    /// Whether the kind has replicas: pods that run as long as the API is deployed. The workers of a job are none.
    package var hasReplicas: Bool {
        switch kind {
        case .async, .realtime: true
        case .batch, .task, .trafficSplitter: false
        }
    }

    /// Whether the kind has pods: replicas, or the workers of jobs.
    package var hasPods: Bool { hasReplicas || jobs != nil }

    /// The rules for jobs; `nil` for a kind without jobs.
    package var jobs: JobPolicy? {
        switch kind {
        case .batch(let api): api.jobs
        case .task(let api): api.jobs
        case .async, .realtime, .trafficSplitter: nil
        }
    }

    /// The replicas. The number of replicas of a kind that has none is 0. Its pod is that of a job's worker; a
    /// TrafficSplitter has a pod without containers, and setting it has no effect.
    package var workload: Workload {
        get {
            switch kind {
            case .async(let api): api.workload
            case .realtime(let api): api.workload
            case .batch(let api): .withoutReplicas(api.pod)
            case .task(let api): .withoutReplicas(api.pod)
            case .trafficSplitter: .withoutReplicas()
            }
        }
        set {
            switch kind {
            case .async(var api):
                api.workload = newValue
                kind = .async(api)
            case .realtime(var api):
                api.workload = newValue
                kind = .realtime(api)
            case .batch(var api):
                api.pod = newValue.pod
                kind = .batch(api)
            case .task(var api):
                api.pod = newValue.pod
                kind = .task(api)
            case .trafficSplitter: break
            }
        }
    }

    /// The rules for queued requests, which are the batches of a BatchAPI; the default ones for a kind whose requests
    /// are not queued in a store. Setting them has an effect on an AsyncAPI only.
    package var requests: RequestPolicy {
        get {
            switch kind {
            case .async(let api): api.requests
            case .batch(let api): api.requests
            case .realtime, .task, .trafficSplitter: RequestPolicy()
            }
        }
        set {
            switch kind {
            case .async(var api):
                api.requests = newValue
                kind = .async(api)
            case .realtime, .batch, .task, .trafficSplitter: break
            }
        }
    }

    package var pod: PodSpecification {
        get { workload.pod }
        set { workload.pod = newValue }
    }

    package var autoscaling: AutoscalingPolicy {
        get { workload.autoscaling }
        set { workload.autoscaling = newValue }
    }

    package var updateStrategy: UpdateStrategy {
        get { workload.updateStrategy }
        set { workload.updateStrategy = newValue }
    }
}

/// `pod`: the containers that run together as one replica.
package struct PodSpecification: Sendable, Hashable {
    package var port: Int
    package var maxConcurrency: Int
    package var terminationGracePeriod: Duration
    /// The rights of the pod's credential at the operator.
    package var operatorAccess: OperatorAccess
    package var containers: [ContainerSpecification]

    package init(
        port: Int = 8080, maxConcurrency: Int = 1, terminationGracePeriod: Duration = .seconds(60),
        operatorAccess: OperatorAccess = .standard, containers: [ContainerSpecification]
    ) {
        self.port = port
        self.maxConcurrency = maxConcurrency
        self.terminationGracePeriod = terminationGracePeriod
        self.operatorAccess = operatorAccess
        self.containers = containers
    }
}

/// One container of a pod.
package struct ContainerSpecification: Sendable, Hashable {
    package var name: String
    /// `nil` only for the sandbox engine: the host's own system is the file system.
    package var image: String?
    /// The user's variables. Their order does not matter: they are set sorted by name, after the system's.
    package var env: [String: String]
    /// `nil`: the image's ENTRYPOINT.
    package var command: [String]?
    /// `nil`: the image's CMD.
    package var args: [String]?
    package var compute: Compute
    package var readinessProbe: Probe?
    package var livenessProbe: Probe?
    package var preStop: PreStop?
    package var volumes: [Volume]

    package init(
        name: String, image: String? = nil, env: [String: String] = [:], command: [String]? = nil,
        args: [String]? = nil, compute: Compute = .init(), readinessProbe: Probe? = nil, livenessProbe: Probe? = nil,
        preStop: PreStop? = nil, volumes: [Volume] = []
    ) {
        self.name = name
        self.image = image
        self.env = env
        self.command = command
        self.args = args
        self.compute = compute
        self.readinessProbe = readinessProbe
        self.livenessProbe = livenessProbe
        self.preStop = preStop
        self.volumes = volumes
    }

    /// A folder or file of the host, bound into the container.
    package struct Volume: Sendable, Hashable {
        /// Absolute, on the server: a relative one was resolved against the folder of `cortex.yaml`.
        package var source: String
        /// Absolute, in the container.
        package var target: String
        package var readOnly: Bool

        package init(source: String, target: String, readOnly: Bool = false) {
            self.source = source
            self.target = target
            self.readOnly = readOnly
        }
    }

    /// The hook before SIGTERM when the container is stopped.
    package enum PreStop: Sendable, Hashable {
        case httpGet(HTTPGet)
        case exec(command: [String])
    }
}

/// `compute`: the resources of a container.
package struct Compute: Sendable, Hashable {
    /// Guaranteed share under contention, in thousandths of a core; `nil` for none. Not a limit.
    package var cpu: Quantity?
    /// Must be free to start; also the limit.
    package var mem: Quantity?
    /// Size of `/dev/shm`; `nil`: the engine's default.
    package var shm: Quantity?
    /// The disk space that `/mnt`, `/tmp` and the home folder may use; `nil` for no limit. The limits of a pod's
    /// containers are added.
    package var disk: Quantity?
    /// Exclusive GPU devices.
    package var gpu: Int

    package init(
        cpu: Quantity? = Quantity("200m"), mem: Quantity? = nil, shm: Quantity? = nil, disk: Quantity? = nil,
        gpu: Int = 0
    ) {
        self.cpu = cpu
        self.mem = mem
        self.shm = shm
        self.disk = disk
        self.gpu = gpu
    }
}

/// A GET request to a port of the pod.
package struct HTTPGet: Sendable, Hashable, Codable {
    package var port: Int
    package var path: String

    package init(port: Int, path: String = "/") {
        self.port = port
        self.path = path
    }
}

/// A readiness or liveness probe.
package struct Probe: Sendable, Hashable {
    /// The check of a probe.
    package enum Handler: Sendable, Hashable {
        case httpGet(HTTPGet)
        case tcpSocket(port: Int)
        case exec(command: [String])
    }

    package var handler: Handler
    package var initialDelay: Duration
    package var timeout: Duration
    package var period: Duration
    package var successThreshold: Int
    package var failureThreshold: Int

    package init(
        handler: Handler, initialDelay: Duration = .zero, timeout: Duration = .seconds(1),
        period: Duration = .seconds(10),
        successThreshold: Int = 1, failureThreshold: Int = 3
    ) {
        self.handler = handler
        self.initialDelay = initialDelay
        self.timeout = timeout
        self.period = period
        self.successThreshold = successThreshold
        self.failureThreshold = failureThreshold
    }
}

/// `autoscaling` (reference: cortex.md §1.5, §7).
package struct AutoscalingPolicy: Sendable, Hashable {
    package var minReplicas: Int
    package var maxReplicas: Int
    package var initReplicas: Int
    /// Requests, queued and in progress, that one replica should have.
    package var targetInFlight: Double
    package var window: Duration
    package var downscaleStabilizationPeriod: Duration
    package var upscaleStabilizationPeriod: Duration
    package var maxDownscaleFactor: Double
    package var maxUpscaleFactor: Double
    package var downscaleTolerance: Double
    package var upscaleTolerance: Double

    package init(
        minReplicas: Int = 1, maxReplicas: Int = 100, initReplicas: Int? = nil, targetInFlight: Double = 1,
        window: Duration = .seconds(60), downscaleStabilizationPeriod: Duration = .seconds(300),
        upscaleStabilizationPeriod: Duration = .seconds(60), maxDownscaleFactor: Double = 0.75,
        maxUpscaleFactor: Double = 1.5, downscaleTolerance: Double = 0.05, upscaleTolerance: Double = 0.05
    ) {
        self.minReplicas = minReplicas
        self.maxReplicas = maxReplicas
        self.initReplicas = initReplicas ?? minReplicas
        self.targetInFlight = targetInFlight
        self.window = window
        self.downscaleStabilizationPeriod = downscaleStabilizationPeriod
        self.upscaleStabilizationPeriod = upscaleStabilizationPeriod
        self.maxDownscaleFactor = maxDownscaleFactor
        self.maxUpscaleFactor = maxUpscaleFactor
        self.downscaleTolerance = downscaleTolerance
        self.upscaleTolerance = upscaleTolerance
    }
}

/// `update_strategy`: the allowed difference from the wanted number of replicas during a rollout.
package struct UpdateStrategy: Sendable, Hashable {
    /// A number of replicas, or a share of the wanted ones.
    package enum Amount: Sendable, Hashable {
        case count(Int)
        case percent(Int)
    }

    package var maxSurge: Amount
    package var maxUnavailable: Amount

    package init(maxSurge: Amount = .percent(25), maxUnavailable: Amount = .percent(25)) {
        self.maxSurge = maxSurge
        self.maxUnavailable = maxUnavailable
    }
}

/// The rules for each request of an API; beyond the original (contract Y2).
package struct RequestPolicy: Sendable, Hashable {
    /// Per attempt.
    package var timeout: Duration
    /// How long an ended request stays readable.
    package var retention: Duration
    /// How long a failed request's payload is kept for `cortex retry`.
    package var keepFailed: Duration
    /// Bytes.
    package var maxPayload: Int64
    /// Bytes.
    package var maxResult: Int64
    package var maxQueueLength: Int?
    package var maxQueueTime: Duration?
    package var retries: RetryPolicy

    package init(
        timeout: Duration = .seconds(12 * 3600), retention: Duration = .seconds(7 * 86_400),
        keepFailed: Duration = .seconds(86_400), maxPayload: Int64 = Limits.maxPayload,
        maxResult: Int64 = Limits.maxResult, maxQueueLength: Int? = nil, maxQueueTime: Duration? = nil,
        retries: RetryPolicy = .init()
    ) {
        self.timeout = timeout
        self.retention = retention
        self.keepFailed = keepFailed
        self.maxPayload = maxPayload
        self.maxResult = maxResult
        self.maxQueueLength = maxQueueLength
        self.maxQueueTime = maxQueueTime
        self.retries = retries
    }
}

/// `retries`: which failures are retried, how often and when (contract A11).
package struct RetryPolicy: Sendable, Hashable {
    /// A kind of failure that can be retried.
    package enum Reason: String, Sendable, Hashable, Codable, CaseIterable {
        case status5xx = "status_5xx"
        case timeout
        /// `container_unreachable` and `replica_lost`.
        case unreachable
        /// `container_not_json_type` and `container_invalid_json`; of a BatchAPI `container_malformed` and
        /// `result_too_large`.
        case invalidResponse = "invalid_response"
        /// Items that a container reported as failed (contract B6). Only of a BatchAPI.
        case itemFailed = "item_failed"

        /// Those that any delivery can have.
        package static let ofAnyDelivery: [Reason] = [.status5xx, .timeout, .unreachable, .invalidResponse]
    }

    /// Deliveries in total, including the first.
    package var maxAttempts: Int
    package var on: Set<Reason>
    /// Delay before the second delivery; doubles with each further one, up to five minutes.
    package var backoff: Duration

    package init(maxAttempts: Int = 3, on: Set<Reason> = [.unreachable], backoff: Duration = .seconds(1)) {
        self.maxAttempts = maxAttempts
        self.on = on
        self.backoff = backoff
    }
}
