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

/// Writes a tar archive (ustar) into memory. The same entries give the same bytes: times are zero, owners are root.
package struct TarArchive: Sendable {
    private var bytes: [UInt8] = []

    package init() {}

    /// A name or link is longer than a tar header can hold.
    package struct NameTooLong: Error, Sendable, Hashable {
        package let name: String
    }

    /// Adds a folder.
    package mutating func addDirectory(_ path: String, mode: UInt16 = 0o755) throws(NameTooLong) {
        try addHeader(path.hasSuffix("/") ? path : path + "/", kind: "5", mode: mode, size: 0)
    }

    /// Adds a file with its content.
    package mutating func addFile(_ path: String, _ content: [UInt8], mode: UInt16 = 0o644) throws(NameTooLong) {
        try addHeader(path, kind: "0", mode: mode, size: content.count)
        bytes.append(contentsOf: content)
        pad()
    }

    /// Adds a symbolic link.
    package mutating func addLink(_ path: String, to target: String) throws(NameTooLong) {
        try addHeader(path, kind: "2", mode: 0o777, size: 0, target: target)
    }

    /// The archive with its end mark.
    package func finished() -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: 1024)
    }

    private mutating func pad() {
        let rest = bytes.count % 512
        if rest != 0 { bytes.append(contentsOf: repeatElement(0, count: 512 - rest)) }
    }

    private mutating func addHeader(
        _ path: String, kind: Unicode.Scalar, mode: UInt16, size: Int, target: String = ""
    ) throws(NameTooLong) {
        guard let (prefix, name) = Self.split(path) else { throw NameTooLong(name: path) }
        guard target.utf8.count <= 100 else { throw NameTooLong(name: target) }
        var header = [UInt8](repeating: 0, count: 512)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
        }
        func octal(_ value: Int, width: Int) -> String {
            let digits = String(value, radix: 8)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        put(name, at: 0)
        put(octal(Int(mode), width: 7), at: 100)
        put(octal(0, width: 7), at: 108)
        put(octal(0, width: 7), at: 116)
        put(octal(size, width: 11), at: 124)
        put(octal(0, width: 11), at: 136)
        put("        ", at: 148)
        put(String(Character(kind)), at: 156)
        put(target, at: 157)
        put("ustar\u{0}00", at: 257)
        put(prefix, at: 345)
        let sum = header.reduce(0) { $0 + Int($1) }
        put(octal(sum, width: 6) + "\u{0} ", at: 148)
        bytes.append(contentsOf: header)
    }

    /// A path as ustar wants it: at most 155 bytes, a slash that is left out, at most 100 bytes.
    private static func split(_ path: String) -> (prefix: String, name: String)? {
        let bytes = Array(path.utf8)
        if bytes.count <= 100 { return ("", path) }
        for index in bytes.indices.dropLast().reversed() where bytes[index] == UInt8(ascii: "/") {
            guard index <= 155, bytes.count - index - 1 <= 100 else { continue }
            return (
                String(decoding: bytes[..<index], as: UTF8.self), String(decoding: bytes[(index + 1)...], as: UTF8.self)
            )
        }
        return nil
    }
}
