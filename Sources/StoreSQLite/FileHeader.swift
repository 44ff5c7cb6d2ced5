import Core
import Foundation

/// The first bytes of a database file, read without SQLite, so that a foreign file is not changed (source: the SQLite
/// documentation, "Database File Format", section 1.3).
struct FileHeader {
    private let bytes: [UInt8]
    private let fileSize: Int64
    private let hasLog: Bool

    /// `nil` when there is no file.
    static func read(_ path: String) throws -> FileHeader? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            guard errno == ENOENT else { throw StoreFailure.SystemCall("stat database") }
            // SQLite would use a log without its database for the new file.
            guard access(path + "-wal", F_OK) != 0 else { throw Self.damaged("its database file is missing") }
            return nil
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw damaged("its database is not a file") }
        guard status.st_mode & 0o222 != 0 else { throw readOnly(nil) }
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw readOnly(StoreFailure.SystemCall("open database")) }
        defer { Glibc.close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 100)
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else {
            throw damaged("its database is too short")
        }
        var log = stat()
        let hasLog = stat(path + "-wal", &log) == 0 && log.st_size > 0
        return FileHeader(bytes: bytes, fileSize: Int64(status.st_size), hasLog: hasLog)
    }

    /// - Parameter latest: the newest version that this release knows.
    /// - Throws: ``PlatformError`` if this is not a store that it can open.
    func check(latest: Int) throws {
        guard bytes.prefix(16).elementsEqual(Array("SQLite format 3\0".utf8)) else {
            throw Self.damaged("its file is no database")
        }
        guard word(at: 68) == UInt32(bitPattern: Schema.applicationID) else {
            throw PlatformError(
                .storeCorrupt,
                "The database in the data directory belongs to another program; nothing was changed. Choose another directory with --data-dir."
            )
        }
        // Files of Cortex get their version together with their tables.
        guard word(at: 60) > 0 || hasLog else { throw Self.damaged("its version is missing") }
        guard word(at: 60) <= UInt32(latest) else { throw Schema.newerVersion }
        let pageSize: Int64 = word(at: 16) >> 16 == 1 ? 65_536 : Int64(word(at: 16) >> 16)
        guard hasLog || fileSize >= Int64(word(at: 28)) * pageSize else {
            throw Self.damaged("its database is cut off")
        }
    }

    private func word(at offset: Int) -> UInt32 {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }

    private static func damaged(_ how: String) -> PlatformError {
        PlatformError(
            .storeCorrupt,
            "The store in the data directory is damaged (\(how)); nothing was changed. Restore it from a backup, or choose another directory with --data-dir."
        )
    }

    private static func readOnly(_ cause: (any Error)?) -> PlatformError {
        PlatformError(
            .setup,
            "The store in the data directory is read-only. Make its files writable, or choose another directory with --data-dir.",
            cause: cause)
    }
}
