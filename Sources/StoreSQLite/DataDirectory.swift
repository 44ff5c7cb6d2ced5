import Core
import Foundation

/// The folder of a store and the names in it.
struct DataDirectory {
    let path: String

    var database: String { path + "/cortex.sqlite" }
    /// The database while it is being made; it gets its name when it is complete.
    var newDatabase: String { path + "/cortex.sqlite.new" }
    var lock: String { path + "/lock" }
    var blobs: String { path + "/blobs" }

    /// Makes the folders if they are missing, for this user alone.
    init(_ path: String) throws {
        self.path = path
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
    }

    /// Makes the names in the folder durable.
    func sync() throws {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("open folder") }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw StoreFailure.SystemCall("sync folder") }
    }
}
