package import Core

/// An API as the operator shows it. What is empty is left out, as in the original (reference: cortex.md §8).
package struct APIDocument: Sendable, Hashable, Codable {
    package var spec: SpecDocument?
    package var metadata: Metadata?
    package var status: StatusDocument?
    /// Only of a TrafficSplitter: the number of its APIs.
    package var numTrafficSplitterTargets: Int?
    /// Where requests are sent to: a whole URL.
    package var endpoint: String?
    /// The last versions, newest first.
    package var apiVersions: [Version]?
    /// Only of a BatchAPI: the open jobs, then the newest ended ones (contract J13).
    package var batchJobStatuses: [BatchJobStatusDocument]?
    /// Only of a TaskAPI, as ``batchJobStatuses``.
    package var taskJobStatuses: [TaskJobStatusDocument]?

    package init(
        spec: SpecDocument? = nil, metadata: Metadata? = nil, status: StatusDocument? = nil,
        numTrafficSplitterTargets: Int? = nil, endpoint: String? = nil, apiVersions: [Version]? = nil,
        batchJobStatuses: [BatchJobStatusDocument]? = nil, taskJobStatuses: [TaskJobStatusDocument]? = nil
    ) {
        self.spec = spec
        self.metadata = metadata
        self.status = status
        self.numTrafficSplitterTargets = numTrafficSplitterTargets
        self.endpoint = endpoint
        self.apiVersions = apiVersions
        self.batchJobStatuses = batchJobStatuses
        self.taskJobStatuses = taskJobStatuses
    }

    /// Removes what another API's pod may not see: environment variables, volumes, what was submitted, and the
    /// submissions of schedules, which can contain variables (contract N1).
    package mutating func redact() {
        guard var spec else { return }
        for index in spec.pod?.containers.indices ?? 0..<0 {
            spec.pod?.containers[index].env = [:]
            spec.pod?.containers[index].volumes = []
        }
        for index in spec.batch?.jobs.schedules.indices ?? 0..<0 { spec.batch?.jobs.schedules[index].job = .null }
        for index in spec.task?.jobs.schedules.indices ?? 0..<0 { spec.task?.jobs.schedules[index].job = .null }
        spec.submittedAPISpec = .null
        self.spec = spec
    }

    enum CodingKeys: String, CodingKey {
        case spec, metadata, status, endpoint
        case numTrafficSplitterTargets = "num_traffic_splitter_targets"
        case apiVersions = "api_versions"
        case batchJobStatuses = "batch_job_statuses"
        case taskJobStatuses = "task_job_statuses"
    }

    /// Which version of which API it is.
    package struct Metadata: Sendable, Hashable, Codable {
        package var name: String
        package var kind: APIKind
        package var id: String
        package var deploymentID: String
        /// Seconds since 1970.
        package var lastUpdated: Int64

        package init(_ api: DeployedAPI) {
            self.name = api.name
            self.kind = api.specification.kind.name
            self.id = api.id
            self.deploymentID = api.deploymentID
            self.lastUpdated = api.lastUpdated.seconds
        }

        enum CodingKeys: String, CodingKey {
            case name, kind, id
            case deploymentID = "deployment_id"
            case lastUpdated = "last_updated"
        }
    }

    /// One line of the history.
    package struct Version: Sendable, Hashable, Codable {
        package var apiID: String
        /// Seconds since 1970.
        package var lastUpdated: Int64

        package init(_ api: DeployedAPI) {
            self.apiID = api.id
            self.lastUpdated = api.lastUpdated.seconds
        }

        enum CodingKeys: String, CodingKey {
            case apiID = "api_id"
            case lastUpdated = "last_updated"
        }
    }
}

/// What became of one API of a deployed file. `error` and `message` are empty texts where there is nothing to say;
/// `api` is `null` after an error.
package struct DeployResultDocument: Sendable, Hashable, Codable {
    @OrNull package var api: APIDocument?
    package var message: String
    package var error: String
    /// A word of ``PlatformError/Code`` that goes with `error`; left out where there is none.
    package var errorKind: String?

    package init(api: APIDocument?, message: String, error: String = "", errorKind: String? = nil) {
        self.api = api
        self.message = message
        self.error = error
        self.errorKind = errorKind
    }

    enum CodingKeys: String, CodingKey {
        case api, message, error
        case errorKind = "error_kind"
    }
}
