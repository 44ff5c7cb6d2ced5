package import Core

/// What `GET /debug/state` and `kill -QUIT` show: what the platform does at this moment, for finding out why something does not go on.
/// It holds no payload, no environment and no secret.
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
