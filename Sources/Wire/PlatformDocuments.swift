package import Core

/// What `GET /info` answers. A machine has no nodes, so both lists are empty; the members are there for the original's
/// clients.
package struct InfoDocument: Sendable, Hashable, Codable {
    package var clusterConfig: ClusterConfiguration
    package var workerNodeInfos: [JSONValue]
    package var operatorNodeInfos: [JSONValue]
    /// Replicas wanted that are not ready yet.
    package var numPendingReplicas: Int
    /// Deployed APIs.
    package var numAPIs: Int
    /// Requests of all APIs; left out when the store could not say.
    package var queue: QueueCounts?
    /// What the machine has and what replicas have declared of it; left out when the engine does not say.
    package var capacity: CapacityDocument?

    package init(
        clusterConfig: ClusterConfiguration, numPendingReplicas: Int, numAPIs: Int, queue: QueueCounts?,
        capacity: CapacityDocument? = nil
    ) {
        self.clusterConfig = clusterConfig
        self.workerNodeInfos = []
        self.operatorNodeInfos = []
        self.numPendingReplicas = numPendingReplicas
        self.numAPIs = numAPIs
        self.queue = queue
        self.capacity = capacity
    }

    enum CodingKeys: String, CodingKey {
        case queue, capacity
        case clusterConfig = "cluster_config"
        case workerNodeInfos = "worker_node_infos"
        case operatorNodeInfos = "operator_node_infos"
        case numPendingReplicas = "num_pending_replicas"
        case numAPIs = "num_apis"
    }

    /// What the original calls the cluster: this platform and its addresses.
    package struct ClusterConfiguration: Sendable, Hashable, Codable {
        /// The platform's version.
        package var apiVersion: String
        package var clusterName: String
        /// `docker`, `podman` or `sandbox`.
        package var engine: String
        /// `sqlite` or `memory`.
        package var store: String
        package var gatewayEndpoint: String
        package var operatorEndpoint: String

        package init(
            apiVersion: String, clusterName: String, engine: String, store: String, gatewayEndpoint: String,
            operatorEndpoint: String
        ) {
            self.apiVersion = apiVersion
            self.clusterName = clusterName
            self.engine = engine
            self.store = store
            self.gatewayEndpoint = gatewayEndpoint
            self.operatorEndpoint = operatorEndpoint
        }

        enum CodingKeys: String, CodingKey {
            case engine, store
            case apiVersion = "api_version"
            case clusterName = "cluster_name"
            case gatewayEndpoint = "gateway_endpoint"
            case operatorEndpoint = "operator_endpoint"
        }
    }
}

/// What the machine has for replicas and what they have reserved of it, in `GET /info`.
package struct CapacityDocument: Sendable, Hashable, Codable {
    package var total: Amount
    /// What the replicas that are there declare, those that are ending included.
    package var used: Amount

    package init(_ capacity: Capacity) {
        self.total = Amount(capacity.total)
        self.used = Amount(capacity.reserved)
    }

    /// Processor time, memory and GPUs.
    package struct Amount: Sendable, Hashable, Codable {
        /// Thousandths of a core.
        package var cpuMilli: Int64
        /// Bytes.
        package var memBytes: Int64
        package var gpu: Int64

        init(_ amount: ComputeAmount) {
            self.cpuMilli = amount.cpu
            self.memBytes = amount.memory
            self.gpu = amount.gpu
        }

        enum CodingKeys: String, CodingKey {
            case gpu
            case cpuMilli = "cpu_milli"
            case memBytes = "mem_bytes"
        }
    }
}

/// What `GET /health` answers: each part of the platform, and whether it does its work. The status code is 200 either
/// way: `status` has the state.
package struct HealthDocument: Sendable, Hashable, Codable {
    /// Whether a part does its work.
    package enum Status: String, Sendable, Hashable, Codable {
        case healthy
        case unhealthy
    }

    /// A part of the platform.
    package struct Component: Sendable, Hashable, Codable {
        /// `gateway`, `store`, `engine`, `disk` …
        package var name: String
        package var status: Status
        /// What is wrong or, where all is well, what it is, in one line.
        package var detail: String

        package init(_ name: String, _ status: Status, _ detail: String) {
            self.name = name
            self.status = status
            self.detail = detail
        }
    }

    package var status: Status
    /// The platform's version.
    package var apiVersion: String
    package var components: [Component]

    package init(apiVersion: String, components: [Component]) {
        self.status = components.contains { $0.status == .unhealthy } ? .unhealthy : .healthy
        self.apiVersion = apiVersion
        self.components = components
    }

    enum CodingKeys: String, CodingKey {
        case status, components
        case apiVersion = "api_version"
    }
}

/// What `GET /debug/state` and `kill -QUIT` show: what the platform does at this moment, for finding out why something
/// does not go on. It holds no payload, no environment and no secret.
package struct StateDocument: Sendable, Hashable, Codable {
    /// An operation under way.
    package struct Operation: Sendable, Hashable, Codable {
        package var name: String
        package var subject: String
        package var ageSeconds: Double

        package init(name: String, subject: String, ageSeconds: Double) {
            self.name = name
            self.subject = subject
            self.ageSeconds = ageSeconds
        }

        enum CodingKeys: String, CodingKey {
            case name, subject
            case ageSeconds = "age_seconds"
        }
    }

    /// A pod of the orchestrator, also one that is being stopped.
    package struct Replica: Sendable, Hashable, Codable {
        package var id: String
        package var api: String
        package var phase: String
        package var inFlight: Int
        package var reason: String?

        package init(id: String, api: String, phase: String, inFlight: Int, reason: String?) {
            self.id = id
            self.api = api
            self.phase = phase
            self.inFlight = inFlight
            self.reason = reason
        }

        enum CodingKeys: String, CodingKey {
            case id, api, phase, reason
            case inFlight = "in_flight"
        }
    }

    package var apiVersion: String
    package var isStopping: Bool
    package var operations: [Operation]
    package var replicas: [Replica]
    package var queues: [String: QueueCounts]
    /// Open descriptors of the process, and how many of them are sockets.
    package var openFiles: Int
    package var connections: Int
    /// Parts that did not answer in time and are missing above.
    package var missing: [String]

    package init(
        apiVersion: String = "", isStopping: Bool = false, operations: [Operation] = [], replicas: [Replica] = [],
        queues: [String: QueueCounts] = [:], openFiles: Int = 0, connections: Int = 0, missing: [String] = []
    ) {
        self.apiVersion = apiVersion
        self.isStopping = isStopping
        self.operations = operations
        self.replicas = replicas
        self.queues = queues
        self.openFiles = openFiles
        self.connections = connections
        self.missing = missing
    }

    enum CodingKeys: String, CodingKey {
        case operations, replicas, queues, connections, missing
        case apiVersion = "api_version"
        case isStopping = "is_stopping"
        case openFiles = "open_files"
    }
}
