import Core
import Foundation
import NIOCore
import Support

/// A folder into which files are downloaded. Names come from containers: none leaves the folder, also not through a
/// symbolic link in it (contract T6).
struct DownloadFolder: Sendable {
    let path: String
    private let descriptor: CInt

    /// Opens a folder; makes it if it is missing.
    init(path: String) throws {
        self.path = path
        if mkdir(path, 0o755) != 0, errno != EEXIST {
            throw PlatformError(.setup, "\(path) cannot be made: \(String(cString: strerror(errno)))")
        }
        self.descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PlatformError(.setup, "\(path) cannot be opened: \(String(cString: strerror(errno)))")
        }
    }

    func close() { _ = Foundation.close(descriptor) }

    /// The parts of a name below the folder; `nil` for a name that leaves it or that no file can have.
    static func components(of name: String) -> [String]? {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isInside = parts.allSatisfy { part in
            !part.isEmpty && part != "." && part != ".." && !part.utf8.contains(0)
        }
        return isInside && !parts.isEmpty ? parts : nil
    }

    /// Begins a file. It has its name only after ``DownloadedFile/finish(size:)``.
    ///
    /// - Throws: ``PlatformError`` when the name leaves the folder, or the file cannot be made.
    func file(_ name: String) throws -> DownloadedFile {
        guard let parts = Self.components(of: name), let last = parts.last else {
            throw PlatformError(
                .containerFailed,
                "the name \(JSONText.quoted(name).inOneLine) would leave \(path); nothing of it was written")
        }
        var folder = dup(descriptor)
        for part in parts.dropLast() {
            _ = mkdirat(folder, part, 0o755)
            let next = openat(folder, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            let reason = errno
            _ = Foundation.close(folder)
            guard next >= 0 else { throw failed(name, reason) }
            folder = next
        }
        let temporary = ".cortex-download-\(getpid())"
        _ = unlinkat(folder, temporary, 0)
        let file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o644)
        guard file >= 0 else {
            let reason = errno
            _ = Foundation.close(folder)
            throw failed(name, reason)
        }
        return DownloadedFile(name: name, last: last, temporary: temporary, folder: folder, descriptor: file)
    }

    private func failed(_ name: String, _ reason: CInt) -> PlatformError {
        PlatformError(
            .setup, "\(path)/\(name.inOneLine) cannot be written: \(String(cString: strerror(reason)))")
    }
}

/// A file of a ``DownloadFolder`` that is being written. Call ``finish(size:)`` or ``discard()`` once.
struct DownloadedFile: Sendable {
    fileprivate let name: String
    fileprivate let last: String
    fileprivate let temporary: String
    fileprivate let folder: CInt
    fileprivate let descriptor: CInt

    /// Appends bytes. Blocks the thread.
    func write(_ bytes: ByteBufferView) throws {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw PlatformError(
                    .setup, "\(name.inOneLine) cannot be written: \(String(cString: strerror(errno)))")
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Gives the file its name, in place of an older one.
    ///
    /// - Throws: ``PlatformError`` when it has another size, or a folder has its name.
    func finish(size: Int64) throws {
        var information = stat()
        guard fstat(descriptor, &information) == 0, Int64(information.st_size) == size else {
            discard()
            throw PlatformError(.connectionFailed, "\(name.inOneLine) did not arrive as a whole; try again")
        }
        guard renameat(folder, temporary, folder, last) == 0 else {
            let reason = errno
            discard()
            throw PlatformError(
                .setup, "\(name.inOneLine) cannot be written: \(String(cString: strerror(reason)))")
        }
        close()
    }

    func discard() {
        _ = unlinkat(folder, temporary, 0)
        close()
    }

    private func close() {
        _ = Foundation.close(descriptor)
        _ = Foundation.close(folder)
    }
}
