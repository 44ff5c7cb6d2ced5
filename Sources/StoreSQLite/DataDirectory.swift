import Core
import Foundation

/// The folder of a store and the names in it.
struct DataDirectory {
    let path: String

    var database: String { path + "/cortex.sqlite" }
    /// The database while it is being created; it gets its name when it is complete.
    var newDatabase: String { path + "/cortex.sqlite.new" }
    var lock: String { path + "/lock" }
    var blobs: String { path + "/blobs" }

    /// Creates missing folders for this user only, and makes their names durable.
    init(_ path: String) throws {
        self.path = path
        let missing = Self.missing(path)
        do {
            for folder in [path, path + "/blobs"] {
                try FileManager.default.createDirectory(
                    atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            }
        } catch {
            throw PlatformError(
                .setup,
                "The data directory cannot be made. Check the permissions and the free space, or choose another with --data-dir.",
                cause: error)
        }
        // A power cut must not remove the whole directory: its name is in its parent folder. The name from an earlier
        // start, which may have ended too soon, is made durable as well.
        for folder in missing.union([path]) { try Self.sync(Self.parent(folder), isOurs: missing.contains(folder)) }
        try sync()
    }

    /// Makes the names in the folder durable.
    func sync() throws { try Self.sync(path, isOurs: true) }

    /// - Parameter isOurs: otherwise a folder that cannot be read is skipped; the creator of the name in it had the
    ///   right to read it.
    private static func sync(_ path: String, isOurs: Bool) throws {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if !isOurs, errno == EACCES { return }
            throw StoreFailure.SystemCall("open folder")
        }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw StoreFailure.SystemCall("sync folder") }
    }

    /// The folder itself and its parents that do not exist yet.
    private static func missing(_ path: String) -> Set<String> {
        var missing: Set<String> = []
        var path = path
        while access(path, F_OK) != 0 {
            missing.insert(path)
            path = parent(path)
        }
        return missing
    }

    /// The parent folder of a path; the root for the root.
    private static func parent(_ path: String) -> String {
        let url = URL(fileURLWithPath: path)
        return url.path == "/" ? "/" : url.deletingLastPathComponent().path
    }
}
