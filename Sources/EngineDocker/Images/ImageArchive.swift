import Core
import Crypto
import Foundation

/// A container image made here, in the form that `docker load` reads (docker-archive): nothing is built or pulled for
/// it.
///
/// The same content gives the same bytes and so the same image id, on Docker and on Podman.
package struct ImageArchive: Sendable {
    /// What the image says about how it is run.
    package struct Configuration: Sendable, Hashable {
        package var entrypoint: [String]
        package var command: [String]
        package var environment: [String]
        package var workingDirectory: String
        package var user: String
        package var labels: [String: String]

        package init(
            entrypoint: [String] = [], command: [String] = [], environment: [String] = [],
            workingDirectory: String = "",
            user: String = "", labels: [String: String] = [:]
        ) {
            self.entrypoint = entrypoint
            self.command = command
            self.environment = environment
            self.workingDirectory = workingDirectory
            self.user = user
            self.labels = labels
        }
    }

    /// `name:tag`. A name without a registry part is changed by Podman, so give one (`localhost/…`).
    package let tag: String
    /// The image's id: the SHA-256 of its configuration, in hexadecimal.
    package let id: String
    /// The archive.
    package let bytes: [UInt8]
    private let architecture: String
    private let layers: [[UInt8]]

    /// `layers` are tar archives, the lowest first; `architecture` is Go's word (`amd64`).
    package init(tag: String, architecture: String, layers: [[UInt8]], configuration: Configuration) throws {
        let created = "1970-01-01T00:00:00Z"
        let digests = layers.map { Self.hexadecimal(SHA256.hash(data: $0)) }
        var settings: JSONValue = [
            "Env": .strings(configuration.environment), "Cmd": .strings(configuration.command),
            "Labels": .strings(configuration.labels),
        ]
        if !configuration.entrypoint.isEmpty { settings["Entrypoint"] = .strings(configuration.entrypoint) }
        if !configuration.workingDirectory.isEmpty { settings["WorkingDir"] = .string(configuration.workingDirectory) }
        if !configuration.user.isEmpty { settings["User"] = .string(configuration.user) }
        // Without `history` the image runs, but nothing can be built on it with Podman.
        let document: JSONValue = [
            "architecture": .string(architecture), "os": "linux", "created": .string(created), "config": settings,
            "rootfs": ["type": "layers", "diff_ids": .strings(digests.map { "sha256:" + $0 })],
            "history": .array(digests.map { _ in ["created": .string(created), "created_by": "cortex"] }),
        ]
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let encoded = Array(try encoder.encode(document))
        self.tag = tag
        self.architecture = architecture
        self.layers = layers
        self.id = Self.hexadecimal(SHA256.hash(data: encoded))
        let manifest: JSONValue = [
            [
                "Config": .string(id + ".json"), "RepoTags": [.string(tag)],
                "Layers": .strings(digests.map { $0 + ".tar" }),
            ]
        ]
        var archive = TarArchive()
        try archive.addFile(id + ".json", encoded)
        for (digest, layer) in zip(digests, layers) { try archive.addFile(digest + ".tar", layer) }
        try archive.addFile("manifest.json", Array(try encoder.encode(manifest)))
        self.bytes = archive.finished()
    }

    /// The same layers under another name and configuration.
    package func reconfigured(tag: String, _ configuration: Configuration) throws -> ImageArchive {
        try ImageArchive(tag: tag, architecture: architecture, layers: layers, configuration: configuration)
    }

    /// A SHA-256 in hexadecimal.
    package static func digest(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    private static func hexadecimal(_ digest: SHA256.Digest) -> String {
        digest.map { byte in
            let text = String(byte, radix: 16)
            return text.utf8.count == 1 ? "0" + text : text
        }.joined()
    }
}
