import CLinux
package import Core
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Files in folders of this machine, as `file://` URLs (contract B4). Links are not followed, and nothing outside the
/// folders is read. Safe from any task; blocking calls run on threads of their own.
package struct LocalFolders: ObjectSource {
    private let folders: [String]

    /// - Parameter folders: absolute paths; jobs may read what is in them.
    package init(folders: [String]) {
        self.folders = folders.map { folder in
            var folder = folder
            while folder.count > 1, folder.hasSuffix("/") { folder.removeLast() }
            return folder
        }
    }

    package var scheme: String { "file://" }

    package func check(_ prefix: String) throws {
        _ = try place(prefix)
    }

    package func objects(prefix: String, after: String?) async throws -> any ObjectListing {
        let place = try place(prefix)
        // The folder of the prefix; the rest is the beginning of names in it.
        let slash = place.path.lastIndex(of: "/")
        let folder = slash.map { String(place.path[..<$0]) } ?? ""
        return LocalListing(
            root: place.root, folder: folder, prefix: place.path, after: after.map { String($0.dropFirst(7)) })
    }

    package func read(_ object: StoredObject, from offset: Int64, _ take: ([UInt8]) async throws -> Void) async throws {
        let place = try place(object.url)
        let file = try await BlockingPool.checks.run { try LocalFile(place, object, offset) }
        while let piece = try await BlockingPool.checks.run({ try file.read() }) { try await take(piece) }
    }

    /// The folder that a URL is in, and the path in it.
    private func place(_ url: String) throws -> LocalPlace {
        let path = String(url.dropFirst(scheme.count))
        guard path.hasPrefix("/"),
            !path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().dropLast().contains(where: {
                $0 == "." || $0 == ".." || $0.isEmpty
            }), !path.hasSuffix("/.."), !path.hasSuffix("/."), !path.contains("\0")
        else {
            throw PlatformError(.badRequest, "a file:// URL needs an absolute path without . and .. and empty parts")
        }
        for folder in folders where path.hasPrefix(folder == "/" ? "/" : folder + "/") {
            return LocalPlace(root: folder, path: String(path.dropFirst(folder == "/" ? 1 : folder.count + 1)))
        }
        throw PlatformError(
            .notSupported,
            folders.isEmpty
                ? "file:// needs folders that jobs may read: start the platform with --batch-files DIR"
                : "the path is in none of the folders of --batch-files: \(folders.joined(separator: ", "))")
    }
}

/// A path in one of the folders.
private struct LocalPlace: Sendable {
    var root: String
    var path: String
}

/// An open file. Closed with the last reference.
private final class LocalFile: Sendable {
    private let descriptor: CInt
    private let url: String

    init(_ place: LocalPlace, _ object: StoredObject, _ offset: Int64) throws {
        url = object.url
        let root = open(place.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard root >= 0 else { throw InputFailure(url: object.url, reason: errorText(errno)) }
        defer { close(root) }
        descriptor = cx_open_beneath(root, place.path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw InputFailure(url: object.url, reason: errorText(-descriptor)) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw InputFailure(url: object.url, reason: "it is not a regular file")
        }
        guard fileVersion(status) == object.version else {
            throw InputFailure(url: object.url, reason: "the file was changed after it was listed")
        }
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw InputFailure(url: object.url, offset: offset, reason: errorText(errno))
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// `nil` at the end.
    func read() throws -> [UInt8]? {
        while true {
            var result = 0
            let piece = [UInt8](unsafeUninitializedCapacity: Limits.bodyPiece) { buffer, count in
                result = readBytes(descriptor, buffer)
                count = max(0, result)
            }
            if result == 0 { return nil }
            if result > 0 { return piece }
            guard errno == EINTR else { throw InputFailure(url: url, reason: errorText(errno)) }
        }
    }
}

/// Walks folders in the order of the bytes of their files' paths.
private struct LocalListing: ObjectListing {
    /// Names that are left in a folder; the next one is the last.
    private struct Level {
        var folder: String
        var names: [(name: String, isFolder: Bool, status: (size: Int64, version: String))]
    }

    let root: String
    let folder: String
    let prefix: String
    /// Only paths above this one.
    let after: String?
    private var levels: [Level]?

    init(root: String, folder: String, prefix: String, after: String?) {
        self.root = root
        self.folder = folder
        self.prefix = prefix
        self.after = after
    }

    mutating func next() async throws -> StoredObject? {
        var levels: [Level]
        if let known = self.levels { levels = known } else { levels = [try await read(folder)] }
        defer { self.levels = levels }
        while let level = levels.last {
            guard let entry = level.names.last else {
                levels.removeLast()
                continue
            }
            levels[levels.count - 1].names.removeLast()
            let path = level.folder.isEmpty ? entry.name : "\(level.folder)/\(entry.name)"
            if entry.isFolder {
                // A folder is read if it can have files with the prefix.
                let inside = path + "/"
                guard inside.hasPrefix(prefix) || prefix.hasPrefix(inside) else { continue }
                levels.append(try await read(path))
            } else if path.hasPrefix(prefix) {
                let full = (root == "/" ? "/" : root + "/") + path
                if let after, !after.utf8.lexicographicallyPrecedes(full.utf8) { continue }
                return StoredObject(url: "file://" + full, size: entry.status.size, version: entry.status.version)
            }
        }
        return nil
    }

    private func read(_ folder: String) async throws -> Level {
        let root = root
        return try await BlockingPool.checks.run {
            let url = "file://\(root)/\(folder)"
            let top = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard top >= 0 else { throw InputFailure(url: "file://\(root)", reason: errorText(errno)) }
            defer { close(top) }
            let descriptor = cx_open_beneath(top, folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY)
            // Nothing has the prefix.
            if descriptor == -ENOENT || descriptor == -ENOTDIR { return Level(folder: folder, names: []) }
            guard descriptor >= 0 else { throw InputFailure(url: url, reason: errorText(-descriptor)) }
            guard let stream = fdopendir(descriptor) else {
                close(descriptor)
                throw InputFailure(url: url, reason: errorText(errno))
            }
            defer { closedir(stream) }
            var names: [(name: String, isFolder: Bool, status: (size: Int64, version: String))] = []
            while let entry = readdir(stream) {
                let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
                if bytes == [0x2E] || bytes == [0x2E, 0x2E] { continue }
                var status = stat()
                let result = (bytes + [0]).withUnsafeBufferPointer { name in
                    name.withMemoryRebound(to: CChar.self) { name in
                        name.baseAddress.map { fstatat(descriptor, $0, &status, AT_SYMLINK_NOFOLLOW) } ?? -1
                    }
                }
                // It was removed since.
                guard result == 0 else { continue }
                let kind = status.st_mode & S_IFMT
                guard kind == S_IFREG || kind == S_IFDIR else { continue }
                guard let name = String(validating: bytes, as: UTF8.self) else {
                    throw InputFailure(url: url, reason: "a name in this folder is not UTF-8")
                }
                names.append((name, kind == S_IFDIR, (Int64(status.st_size), fileVersion(status))))
            }
            // Reversed: they are taken from the end. A folder stands where its files do.
            names.sort { left, right in
                let (first, second) = (
                    left.isFolder ? left.name + "/" : left.name, right.isFolder ? right.name + "/" : right.name
                )
                return second.utf8.lexicographicallyPrecedes(first.utf8)
            }
            return Level(folder: folder, names: names)
        }
    }
}

private func fileVersion(_ status: stat) -> String {
    "\(status.st_ino)-\(status.st_size)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
}

private func readBytes(_ descriptor: CInt, _ buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
    read(descriptor, buffer.baseAddress, buffer.count)
}

private func errorText(_ error: CInt) -> String {
    switch error {
    case ELOOP, EXDEV: "it is a link"
    case EACCES, EPERM: "the platform may not read it"
    case ENOENT: "it was removed, or it is not there"
    default: String(cString: strerror(error))
    }
}
