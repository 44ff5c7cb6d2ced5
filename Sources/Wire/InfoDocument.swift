package import Core

/// What `GET /info` answers. A machine has no nodes, so both lists are empty; the members are there for the original's clients.
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
