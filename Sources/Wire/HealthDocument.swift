/// What `GET /health` answers: each part of the platform, and whether it does its work. The status code is 200 either way: `status` tells.
package struct HealthDocument: Sendable, Hashable, Codable {
    package enum Status: String, Sendable, Hashable, Codable {
        case healthy
        case unhealthy
    }

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
