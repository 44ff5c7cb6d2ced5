import Core
import Foundation
import NIOPosix

/// A pod's folder on the host: `init` (its socket), `mnt`, `client` and `hosts`. Blocking work runs on threads of its own.
struct PodFolder: Sendable {
    let path: String

    var initFolder: String { path + "/init" }
    var initSocket: String { path + "/init/init.sock" }
    var mnt: String { path + "/mnt" }
    var client: String { path + "/client" }
    /// The part of `client` that containers may write to.
    var clientScratch: String { "\(client)/\(PodPlan.clientScratch)" }
    var hosts: String { path + "/hosts" }

    /// Makes everything anew. The parent is private to us, so what is inside may be open to any user of a container.
    func make(clientFiles: [(name: String, text: String)], hosts text: String) async throws {
        try await Self.offPool {
            let manager = FileManager.default
            try manager.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            if manager.fileExists(atPath: path) { try manager.removeItem(atPath: path) }
            try Self.makeDirectory(path, mode: 0o755)
            try Self.makeDirectory(initFolder, mode: 0o700)
            try Self.makeDirectory(client, mode: 0o755)
            // Any user of any container may write here, and remove only what is its own.
            try Self.makeDirectory(mnt, mode: 0o1777)
            try Self.makeDirectory(clientScratch, mode: 0o1777)
            for file in clientFiles { try Self.write(file.text, to: "\(client)/\(file.name)") }
            try Self.write(text, to: hosts)
        }
    }

    func remove() async throws {
        try await Self.offPool {
            guard FileManager.default.fileExists(atPath: path) else { return }
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch  where !FileManager.default.fileExists(atPath: path) {
                // Somebody else was faster.
            }
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

    /// Runs blocking work where it holds up nobody.
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
