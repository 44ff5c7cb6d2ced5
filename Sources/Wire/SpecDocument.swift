package import Core

/// A version of an API as the operator shows it: the configuration with its defaults filled in, and the version's
/// identifiers.
///
/// Keys are those of `cortex.yaml`. Durations are nanoseconds and quantities are the user's own text, as in the
/// original; sizes are bytes. The parts that depend on the kind are members of the same JSON object.
package struct SpecDocument: Sendable, Hashable, Codable {
    package var name: String
    package var kind: APIKind
    package var networking: Networking
    /// `nil` for a TrafficSplitter, which has no pods.
    package var pod: PodDocument?
    /// `nil` for a kind without replicas.
    package var scaling: ScalingPolicyDocument?
    /// Only of an AsyncAPI.
    package var requests: RequestPolicyDocument?
    /// Only of a BatchAPI.
    package var batch: BatchPolicyDocument?
    /// Only of a TaskAPI.
    package var task: TaskPolicyDocument?
    /// Only of a RealtimeAPI.
    package var proxy: ProxyPolicyDocument?
    /// Only of a TrafficSplitter.
    package var splitter: SplitterDocument?
    package var id: String
    package var specID: String
    package var podID: String
    package var deploymentID: String
    /// Nanoseconds since 1970.
    package var initialDeploymentTime: Int64
    /// Seconds since 1970.
    package var lastUpdated: Int64
    package var fileName: String
    /// The API's part of the file as the user wrote it.
    package var submittedAPISpec: JSONValue

    /// - Parameters:
    ///   - submitted: the API's part of the file.
    ///   - json: reads the submissions of schedules; they are shown as text without it.
    package init(
        _ api: DeployedAPI, submitted: JSONValue, json: (String) -> JSONValue = { .string($0) }
    ) {
        let specification = api.specification
        self.name = specification.name
        self.kind = specification.kind.name
        self.networking = Networking(
            endpoint: specification.networking.endpoint, allowOrigins: specification.networking.allowOrigins)
        switch specification.kind {
        case .async(let part):
            self.pod = PodDocument(part.workload.pod)
            self.scaling = ScalingPolicyDocument(part.workload)
            self.requests = RequestPolicyDocument(part.requests)
        case .realtime(let part):
            self.pod = PodDocument(part.workload.pod)
            self.pod?.maxQueueLength = part.proxy.maxQueueLength
            self.scaling = ScalingPolicyDocument(part.workload)
            self.proxy = ProxyPolicyDocument(part.proxy)
        case .batch(let part):
            self.networking.allowOrigins = nil
            self.pod = PodDocument(part.pod)
            self.batch = BatchPolicyDocument(part, json: json)
        case .task(let part):
            self.networking.allowOrigins = nil
            self.pod = PodDocument(task: part.pod)
            self.task = TaskPolicyDocument(part, json: json)
        case .trafficSplitter(let part):
            self.networking.allowOrigins = nil
            self.splitter = SplitterDocument(part)
        }
        self.id = api.id
        self.specID = api.specID
        self.podID = api.podID
        self.deploymentID = api.deploymentID
        self.initialDeploymentTime = api.initialDeployment.nanoseconds
        self.lastUpdated = api.lastUpdated.seconds
        self.fileName = api.fileName
        self.submittedAPISpec = submitted
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.name = try container.decode(String.self, forKey: .name)
        self.kind = try container.decode(APIKind.self, forKey: .kind)
        self.networking = try container.decode(Networking.self, forKey: .networking)
        self.pod = try container.decodeIfPresent(PodDocument.self, forKey: .pod)
        switch kind {
        case .async:
            self.scaling = try ScalingPolicyDocument(from: decoder)
            self.requests = try RequestPolicyDocument(from: decoder)
        case .realtime:
            self.scaling = try ScalingPolicyDocument(from: decoder)
            self.proxy = try ProxyPolicyDocument(from: decoder)
        case .batch: self.batch = try BatchPolicyDocument(from: decoder)
        case .task: self.task = try TaskPolicyDocument(from: decoder)
        case .trafficSplitter: self.splitter = try SplitterDocument(from: decoder)
        }
        self.id = try container.decode(String.self, forKey: .id)
        self.specID = try container.decode(String.self, forKey: .specID)
        self.podID = try container.decode(String.self, forKey: .podID)
        self.deploymentID = try container.decode(String.self, forKey: .deploymentID)
        self.initialDeploymentTime = try container.decode(Int64.self, forKey: .initialDeploymentTime)
        self.lastUpdated = try container.decode(Int64.self, forKey: .lastUpdated)
        self.fileName = try container.decode(String.self, forKey: .fileName)
        self.submittedAPISpec = try container.decode(JSONValue.self, forKey: .submittedAPISpec)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(name, forKey: .name)
        try container.encode(kind, forKey: .kind)
        try container.encode(networking, forKey: .networking)
        try container.encodeIfPresent(pod, forKey: .pod)
        try scaling?.encode(to: encoder)
        try requests?.encode(to: encoder)
        try batch?.encode(to: encoder)
        try task?.encode(to: encoder)
        try proxy?.encode(to: encoder)
        try splitter?.encode(to: encoder)
        try container.encode(id, forKey: .id)
        try container.encode(specID, forKey: .specID)
        try container.encode(podID, forKey: .podID)
        try container.encode(deploymentID, forKey: .deploymentID)
        try container.encode(initialDeploymentTime, forKey: .initialDeploymentTime)
        try container.encode(lastUpdated, forKey: .lastUpdated)
        try container.encode(fileName, forKey: .fileName)
        try container.encode(submittedAPISpec, forKey: .submittedAPISpec)
    }

    enum CodingKeys: String, CodingKey {
        case name, kind, networking, pod, id
        case specID = "spec_id"
        case podID = "pod_id"
        case deploymentID = "deployment_id"
        case initialDeploymentTime = "initial_deployment_time"
        case lastUpdated = "last_updated"
        case fileName = "file_name"
        case submittedAPISpec = "submitted_api_spec"
    }

    /// `networking` of the specification.
    package struct Networking: Sendable, Hashable, Codable {
        package var endpoint: String
        /// `nil` for a kind without `networking.cors`.
        package var allowOrigins: [String]?

        enum CodingKeys: String, CodingKey {
            case endpoint
            case allowOrigins = "allow_origins"
        }
    }
}

/// The members of a ``SpecDocument`` of the kinds with replicas.
package struct ScalingPolicyDocument: Sendable, Hashable, Codable {
    package var autoscaling: Autoscaling
    package var updateStrategy: Strategy

    init(_ workload: Workload) {
        self.autoscaling = Autoscaling(workload.autoscaling)
        self.updateStrategy = Strategy(
            maxSurge: workload.updateStrategy.maxSurge.text, maxUnavailable: workload.updateStrategy.maxUnavailable.text
        )
    }

    enum CodingKeys: String, CodingKey {
        case autoscaling
        case updateStrategy = "update_strategy"
    }

    /// Counts as digits, shares as `25%`.
    package struct Strategy: Sendable, Hashable, Codable {
        package var maxSurge: String
        package var maxUnavailable: String

        enum CodingKeys: String, CodingKey {
            case maxSurge = "max_surge"
            case maxUnavailable = "max_unavailable"
        }
    }

    /// Durations in nanoseconds.
    package struct Autoscaling: Sendable, Hashable, Codable {
        package var minReplicas: Int
        package var maxReplicas: Int
        package var initReplicas: Int
        package var targetInFlight: Double
        package var window: Int64
        package var downscaleStabilizationPeriod: Int64
        package var upscaleStabilizationPeriod: Int64
        package var maxDownscaleFactor: Double
        package var maxUpscaleFactor: Double
        package var downscaleTolerance: Double
        package var upscaleTolerance: Double

        init(_ policy: AutoscalingPolicy) {
            self.minReplicas = policy.minReplicas
            self.maxReplicas = policy.maxReplicas
            self.initReplicas = policy.initReplicas
            self.targetInFlight = policy.targetInFlight
            self.window = policy.window.wholeNanoseconds
            self.downscaleStabilizationPeriod = policy.downscaleStabilizationPeriod.wholeNanoseconds
            self.upscaleStabilizationPeriod = policy.upscaleStabilizationPeriod.wholeNanoseconds
            self.maxDownscaleFactor = policy.maxDownscaleFactor
            self.maxUpscaleFactor = policy.maxUpscaleFactor
            self.downscaleTolerance = policy.downscaleTolerance
            self.upscaleTolerance = policy.upscaleTolerance
        }

        enum CodingKeys: String, CodingKey {
            case window
            case minReplicas = "min_replicas"
            case maxReplicas = "max_replicas"
            case initReplicas = "init_replicas"
            case targetInFlight = "target_in_flight"
            case downscaleStabilizationPeriod = "downscale_stabilization_period"
            case upscaleStabilizationPeriod = "upscale_stabilization_period"
            case maxDownscaleFactor = "max_downscale_factor"
            case maxUpscaleFactor = "max_upscale_factor"
            case downscaleTolerance = "downscale_tolerance"
            case upscaleTolerance = "upscale_tolerance"
        }
    }
}

extension UpdateStrategy.Amount {
    /// As it is written in `cortex.yaml`.
    package var text: String {
        switch self {
        case .count(let count): "\(count)"
        case .percent(let percent): "\(percent)%"
        }
    }
}

/// An optional member that is written as `null` when there is nothing, as the original's documents do, where a plain
/// optional would be left out.
///
/// Reads a missing member and `null` alike.
@propertyWrapper
package struct OrNull<Value: Codable & Sendable & Hashable>: Codable, Sendable, Hashable {
    package var wrappedValue: Value?

    package init(wrappedValue: Value?) {
        self.wrappedValue = wrappedValue
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self.wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}

extension KeyedDecodingContainer {
    /// What the compiler's own decoding calls for an ``OrNull`` member; without it, a missing member would be an error.
    package func decode<Value>(_ type: OrNull<Value>.Type, forKey key: Key) throws -> OrNull<Value> {
        try decodeIfPresent(type, forKey: key) ?? OrNull(wrappedValue: nil)
    }
}
