import Core
import Foundation
import NIOCore
import NIOHTTP1
import Support

extension DockerClient {
    /// An image that is on this machine.
    struct Image: Sendable, Decodable {
        struct Settings: Sendable, Decodable {
            var labels: [String: String]?
            enum CodingKeys: String, CodingKey { case labels = "Labels" }
        }
        /// `sha256:…`
        var id: String?
        var settings: Settings?
        enum CodingKeys: String, CodingKey {
            case id = "Id"
            case settings = "Config"
        }

        /// Bytes of all labels, names and values.
        var labelBytes: Int {
            (settings?.labels ?? [:]).reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        }
    }

    /// `GET /images/{reference}/json`, by name or id; `nil` when there is none.
    ///
    /// - Throws: `image_unavailable` when its description is larger than can be read.
    func image(_ reference: String) async throws -> Image? {
        do {
            let reply = try await call(.GET, "/images/\(Self.encode(reference))/json").succeeding(404)
            return reply.status == 404 ? nil : try reply.decode(Image.self)
        } catch let error as PlatformError where error.cause is NIOTooManyBytesError {
            throw PlatformError(
                .imageUnavailable,
                "The image \(reference) has labels, variables or commands of more than \(Self.objectLimit >> 20) MiB. Build it with less.",
                cause: error)
        }
    }

    /// Whether the image is on this machine.
    func hasImage(_ reference: String) async throws -> Bool {
        try await image(reference) != nil
    }

    /// `POST /images/load`: the images of a docker-archive. Failures come inside the stream too.
    package func load(_ archive: ImageArchive) async throws {
        let reply = try await call(
            .POST, "/images/load", query: [("quiet", "1")], bytes: archive.bytes, timeout: .seconds(300))
        var events = PullEvents()
        let failure = (events.append(try reply.succeeding().body) + events.finish()).compactMap(\.failure).first
        if let failure { throw DockerError(status: reply.status, message: failure) }
        // Some engines answer a success and keep nothing.
        guard try await hasImage(archive.tag) else {
            throw DockerError(status: reply.status, message: "the image \(archive.tag) was not kept")
        }
    }

    /// `POST /images/create`: pulls an image and passes on the engine's progress.
    ///
    /// - Throws: ``DockerError`` with the registry's reason: Docker mostly reports it by a status, Podman inside the
    ///   stream.
    func pull(
        _ reference: ImageReference, credentials: RegistryCredentials?, onEvent: (PullEvent) -> Void
    ) async throws {
        let stream = try await stream(
            .POST, "/images/create", query: reference.pullQuery,
            // Sent even when empty: some versions refuse a call without it.
            headers: [("X-Registry-Auth", (credentials ?? .anonymous).header)])
        var events = PullEvents()
        for try await chunk in stream {
            for event in events.append(chunk) {
                if let failure = event.failure { throw DockerError(status: 200, message: failure) }
                onEvent(event)
            }
        }
        if let failure = events.finish().compactMap(\.failure).first {
            throw DockerError(status: 200, message: failure)
        }
    }

    /// `DELETE /images/{reference}`; one that is missing, or that a container uses, is fine.
    func removeImage(_ reference: String) async throws {
        _ = try await call(.DELETE, "/images/\(Self.encode(reference))", query: [("force", "0")]).succeeding(
            404, 409, 500)
    }
}

/// One line of an engine's progress while it pulls or loads.
struct PullEvent: Sendable, Decodable {
    struct Progress: Sendable, Decodable {
        var current: Int64?
        var total: Int64?
    }
    struct Detail: Sendable, Decodable {
        var message: String?
    }
    var status: String?
    /// The layer, or the tag in the first line of Docker.
    var id: String?
    var progressDetail: Progress?
    var error: String?
    var errorDetail: Detail?

    var failure: String? { error ?? errorDetail?.message }
}

/// The JSON lines of a pull. What is no JSON is passed over.
struct PullEvents: Sendable {
    private var lines = LineSplitter(limit: 1 << 20)

    mutating func append(_ bytes: [UInt8]) -> [PullEvent] { lines.append(bytes).compactMap(Self.decode) }
    mutating func finish() -> [PullEvent] { lines.finish().compactMap(Self.decode) }

    private static func decode(_ line: String) -> PullEvent? {
        try? JSONDecoder().decode(PullEvent.self, from: Data(line.utf8))
    }
}
