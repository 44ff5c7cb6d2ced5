package import Core

/// A version of an API as the operator shows it: the configuration with its defaults filled in, and the version's
/// identifiers.
///
/// Keys are those of `cortex.yaml`. Durations are nanoseconds and quantities are the user's own text, as in the
/// original; sizes are bytes.
package struct SpecDocument: Sendable, Hashable, Codable {
    package var name: String
    package var kind: APIKind
    package var networking: Networking
    package var pod: PodDocument
    package var autoscaling: Autoscaling
    package var updateStrategy: Strategy
    package var timeout: Int64
    package var retention: Int64
    package var keepFailed: Int64
    package var maxPayload: Int64
    package var maxResult: Int64
    @OrNull package var maxQueueLength: Int?
    @OrNull package var maxQueueTime: Int64?
    package var retries: Retries
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

    package init(_ api: DeployedAPI, submitted: JSONValue) {
        let specification = api.specification
        let requests = specification.requests
        self.name = specification.name
        self.kind = specification.kind.name
        self.networking = Networking(
            endpoint: specification.networking.endpoint, allowOrigins: specification.networking.allowOrigins)
        self.pod = PodDocument(specification.pod)
        self.autoscaling = Autoscaling(specification.autoscaling)
        self.updateStrategy = Strategy(
            maxSurge: specification.updateStrategy.maxSurge.text,
            maxUnavailable: specification.updateStrategy.maxUnavailable.text)
        self.timeout = requests.timeout.wholeNanoseconds
        self.retention = requests.retention.wholeNanoseconds
        self.keepFailed = requests.keepFailed.wholeNanoseconds
        self.maxPayload = requests.maxPayload
        self.maxResult = requests.maxResult
        self.maxQueueLength = requests.maxQueueLength
        self.maxQueueTime = requests.maxQueueTime?.wholeNanoseconds
        self.retries = Retries(
            maxAttempts: requests.retries.maxAttempts, on: requests.retries.on.map(\.rawValue).sorted(),
            backoff: requests.retries.backoff.wholeNanoseconds)
        self.id = api.id
        self.specID = api.specID
        self.podID = api.podID
        self.deploymentID = api.deploymentID
        self.initialDeploymentTime = api.initialDeployment.nanoseconds
        self.lastUpdated = api.lastUpdated.seconds
        self.fileName = api.fileName
        self.submittedAPISpec = submitted
    }

    enum CodingKeys: String, CodingKey {
        case name, kind, networking, pod, autoscaling, timeout, retention, retries, id
        case updateStrategy = "update_strategy"
        case keepFailed = "keep_failed"
        case maxPayload = "max_payload"
        case maxResult = "max_result"
        case maxQueueLength = "max_queue_length"
        case maxQueueTime = "max_queue_time"
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
        package var allowOrigins: [String]

        enum CodingKeys: String, CodingKey {
            case endpoint
            case allowOrigins = "allow_origins"
        }
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

    /// `requests.retries` of the specification.
    package struct Retries: Sendable, Hashable, Codable {
        package var maxAttempts: Int
        package var on: [String]
        /// Nanoseconds.
        package var backoff: Int64

        enum CodingKeys: String, CodingKey {
            case on, backoff
            case maxAttempts = "max_attempts"
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
