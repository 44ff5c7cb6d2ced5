import Core
import Foundation
import NIOHTTP1

extension DockerClient {
    /// What answers at the socket.
    package struct Version: Sendable, Hashable {
        package var isPodman: Bool
        /// The engine's own version, for people.
        package var version: String
        package var api: APIVersion
        package var minimumAPI: APIVersion
        /// `amd64`, `arm64` …: Go's word.
        package var architecture: String
    }

    /// What the engine's machine has.
    package struct Information: Sendable, Hashable {
        package var cores: Int
        package var memory: Int64
        package var isRootless: Bool
        package var runtimes: [String]
    }

    /// `GET /version`, asked without a version, since Docker refuses one that is too old for it.
    package func version() async throws -> Version {
        struct Document: Decodable {
            struct Component: Decodable {
                var name: String?
                enum CodingKeys: String, CodingKey { case name = "Name" }
            }
            var components: [Component]?
            var version: String?
            var apiVersion: String?
            var minimumAPIVersion: String?
            var architecture: String?
            enum CodingKeys: String, CodingKey {
                case components = "Components"
                case version = "Version"
                case apiVersion = "ApiVersion"
                case minimumAPIVersion = "MinAPIVersion"
                case architecture = "Arch"
            }
        }
        let reply = try await callUnversioned("/version")
        let document = try reply.succeeding().decode(Document.self)
        let oldest = APIVersion(major: 1, minor: 0)
        return Version(
            isPodman: document.components?.contains { $0.name == "Podman Engine" } ?? false,
            version: document.version ?? "unknown",
            api: document.apiVersion.flatMap { APIVersion($0) } ?? oldest,
            minimumAPI: document.minimumAPIVersion.flatMap { APIVersion($0) } ?? oldest,
            architecture: document.architecture ?? "amd64")
    }

    /// `GET /info`
    package func information() async throws -> Information {
        struct Document: Decodable {
            struct Runtime: Decodable {}
            var cores: Int?
            var memory: Int64?
            var securityOptions: [String]?
            var runtimes: [String: Runtime]?
            enum CodingKeys: String, CodingKey {
                case cores = "NCPU"
                case memory = "MemTotal"
                case securityOptions = "SecurityOptions"
                case runtimes = "Runtimes"
            }
        }
        let document = try await call(.GET, "/info").succeeding().decode(Document.self)
        return Information(
            cores: document.cores ?? 0, memory: document.memory ?? 0,
            isRootless: document.securityOptions?.contains { $0.contains("rootless") } ?? false,
            runtimes: document.runtimes?.keys.sorted() ?? [])
    }

    /// `GET /_ping`
    package func ping() async throws {
        _ = try await call(.GET, "/_ping", timeout: .seconds(10)).succeeding()
    }
}

/// Something that happened to a container.
struct ContainerEvent: Sendable, Decodable {
    struct Actor: Sendable, Decodable {
        var attributes: [String: String]?
        enum CodingKeys: String, CodingKey { case attributes = "Attributes" }
    }
    /// `start`, `die` and more; engines differ in the rest.
    var action: String?
    var actor: Actor?
    enum CodingKeys: String, CodingKey {
        case action = "Action"
        case actor = "Actor"
    }
}

extension DockerClient {
    /// `GET /events`: from now on, of the containers with this label.
    func events(label: String) async throws -> ByteStream {
        try await stream(
            .GET, "/events", query: [("filters", try Self.filters(["label": [label], "type": ["container"]]))])
    }
}
