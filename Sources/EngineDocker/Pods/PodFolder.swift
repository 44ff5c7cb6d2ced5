import Core
import Foundation
import NIOPosix

/// A pod's folder on the host: `init` (its socket), `mnt`, `client`, `hosts` and the like, and `record`. Blocking work
/// runs on threads of its own.
struct PodFolder: Sendable {
    let path: String

    /// The folder of a pod below `pods`; `nil` when `id` does not have the form of a pod's id.
    init?(pods: String, id: String) {
        guard ResourceNames.isPodID(id) else { return nil }
        self.path = "\(pods)/\(id)"
    }

    var initFolder: String { path + "/init" }
    var initSocket: String { path + "/init/init.sock" }
    var mnt: String { path + "/mnt" }
    var client: String { path + "/client" }
    /// The part of `client` that containers may write to.
    var clientScratch: String { "\(client)/\(PodPlan.clientScratch)" }
    var hosts: String { path + "/hosts" }
    var hostName: String { path + "/hostname" }
    var resolver: String { path + "/resolv.conf" }
    /// An empty file, for files of the engine that containers would otherwise write.
    var empty: String { path + "/empty" }
    /// The names of the pod's containers, one a line; written before the first of them is made.
    var record: String { path + "/record" }

    /// Texts of the files that every container of the pod sees.
    struct Files: Sendable {
        var client: [(name: String, text: String)]
        var hosts: String
        var hostName: String
        /// `nil`: the engine's own.
        var resolver: String?
        var containers: [String]
    }

    /// Creates everything again. The parent is private, so its content may be accessible to any user of a container.
    func make(_ files: Files) async throws {
        try await Self.offPool {
            let manager = FileManager.default
            try manager.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            try Self.makeDirectory(path, mode: 0o755)
            try Self.write(files.containers.joined(separator: "\n") + "\n", to: record)
            try Self.makeDirectory(initFolder, mode: 0o700)
            try Self.makeDirectory(client, mode: 0o755)
            // Any user of any container may write here, and remove only what is its own.
            try Self.makeDirectory(mnt, mode: 0o1777)
            try Self.makeDirectory(clientScratch, mode: 0o1777)
            for file in files.client { try Self.write(file.text, to: "\(client)/\(file.name)") }
            try Self.write(files.hosts, to: hosts)
            try Self.write(files.hostName + "\n", to: hostName)
            if let resolver = files.resolver { try Self.write(resolver, to: self.resolver) }
            try Self.write("", to: empty)
        }
    }

    /// The names that ``record`` holds; `nil` when there is none: the pod was made by an earlier version, or not at
    /// all.
    func recordedContainers() async throws -> [String]? {
        try await Self.offPool {
            FileManager.default.contents(atPath: record).map {
                String(decoding: $0, as: UTF8.self).split(separator: "\n").map(String.init)
            }
        }
    }

    /// Whether an earlier version, which kept no record, made this folder for the pod: then its id stands in a file
    /// that only the platform can write.
    func isOfEarlierVersion(_ pod: String) async throws -> Bool {
        try await Self.offPool {
            guard !FileManager.default.fileExists(atPath: record) else { return false }
            let text = FileManager.default.contents(atPath: "\(client)/client-id.txt")
            return text.map { String(decoding: $0, as: UTF8.self) } == pod
        }
    }

    /// Names of the folders in `parent`; empty when there is none.
    static func names(in parent: String) async throws -> [String] {
        try await offPool {
            guard FileManager.default.fileExists(atPath: parent) else { return [] }
            return try FileManager.default.contentsOfDirectory(atPath: parent)
        }
    }

    static func exists(_ path: String) async throws -> Bool {
        try await offPool { FileManager.default.fileExists(atPath: path) }
    }

    /// Runs blocking work on threads of its own.
    static func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await NIOThreadPool.singleton.runIfActive(body)
        } catch let error as CancellationError {
            throw error
        } catch let error as PlatformError {
            throw error
        } catch {
            throw PlatformError(
                .setup, "A pod's files can't be written or removed. Check the disk and the data directory.",
                cause: error)
        }
    }

    /// `createDirectory` honours the umask; the mode must hold exactly.
    private static func makeDirectory(_ path: String, mode: Int) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private static func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
    }
}
