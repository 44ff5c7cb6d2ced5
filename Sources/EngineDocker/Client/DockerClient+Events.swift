import Core
import Foundation
import NIOHTTP1

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
