import CLinux
import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Reads the folder in which the containers of a task leave their artifacts (contract T6, T7).
///
/// Its content is hostile: links that lead elsewhere, pipes that block, files that grow or are replaced while they are
/// read. Only regular files are opened, never through a link, never outside the folder, and every amount has a limit.
/// Blocking calls run on threads of their own.
package struct ArtifactFolder: Sendable {
    /// The number of files that are kept, and of entries that are looked at.
    package static let files = 10_000
    package static let entries = 100_000
    /// The number of folders above a file.
    package static let depth = 64
    /// The size of `progress.json`, in bytes.
    package static let progressBytes = 4096
    /// The file of the progress, which is not an artifact.
    package static let progressName = "progress.json"

    /// A file that is not kept.
    package struct Omission: Sendable, Hashable {
        /// Relative to the folder; bytes that are not UTF-8 are replaced.
        package var path: String
        /// Why, in one line.
        package var reason: String

        package init(path: String, reason: String) {
            self.path = path
            self.reason = reason
        }
    }

    /// Thrown by ``ArtifactContent/read(upTo:)`` when the limit of all files is reached. Pass it on.
    package struct LimitReached: Error {
        package init() {}
    }

    private static let threads = BlockingPool(threads: 2)

    private let path: String

    /// - Parameter path: as `Engine.artifactsFolder(pod:)` returns it.
    package init(path: String) {
        self.path = path
    }

    /// Passes on every file, in the order of the paths. Call it when all processes of the pod have ended.
    ///
    /// - Parameters:
    ///   - limit: bytes of all files together. The first file that does not fit, and every later one, is omitted.
    ///   - take: reads one file to its end and stores it. When reading throws, it discards what it stored and throws
    ///     the same error.
    /// - Returns: what is omitted; at most ``files`` entries.
    /// - Throws: what `take` throws; `store_unavailable` when the folder cannot be read.
    package func copy(
        limit: Int64, _ take: @Sendable (_ path: String, _ content: ArtifactContent) async throws -> Void
    ) async throws -> [Omission] {
        let path = self.path
        let tree = try await Self.threads.run { try ArtifactTree(path) }
        var omitted = tree.omitted
        var left = limit
        for (index, file) in tree.files.enumerated() {
            guard index < Self.files else {
                omitted.append(Omission(path: file, reason: "there are more than \(Self.files) files"))
                continue
            }
            guard left >= 0 else {
                omitted.append(Omission(path: file, reason: "the limit of max_artifacts is reached"))
                continue
            }
            let opened: ArtifactContent
            do {
                opened = try await Self.threads.run { [left] in try tree.open(file, limit: left) }
            } catch let failure as ArtifactTree.Failure {
                omitted.append(Omission(path: file, reason: failure.reason))
                continue
            }
            do {
                guard opened.size <= left else { throw LimitReached() }
                try await take(file, opened)
                left -= opened.bytesRead
            } catch is LimitReached {
                omitted.append(Omission(path: file, reason: "the limit of max_artifacts is reached"))
                left = -1
            }
        }
        omitted.sort { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        guard omitted.count > Self.files else { return omitted }
        let more = Omission(path: "", reason: "\(omitted.count - Self.files + 1) more files")
        return omitted.prefix(Self.files - 1) + [more]
    }

    /// A small file in the folder itself, also while containers may replace it.
    ///
    /// - Returns: `nil` when there is no such regular file, it has more than `limit` bytes, or it cannot be read.
    package func read(_ name: String, upTo limit: Int) async throws -> [UInt8]? {
        let path = self.path
        return try await Self.threads.run {
            let root = ArtifactTree.openRoot(path)
            guard root >= 0 else { return nil }
            defer { close(root) }
            guard let file = try? ArtifactTree.openFile(name, in: root) else { return nil }
            defer { close(file.descriptor) }
            var bytes: [UInt8] = []
            while bytes.count <= limit {
                let piece = ArtifactTree.read(file.descriptor, upTo: limit + 1 - bytes.count)
                guard let piece else { return nil }
                if piece.isEmpty { return bytes }
                bytes += piece
            }
            return nil
        }
    }

    /// The text of `progress.json`, if it is a JSON object of at most ``progressBytes`` bytes.
    package func progress() async throws -> [UInt8]? {
        guard let bytes = try await read(Self.progressName, upTo: Self.progressBytes) else { return nil }
        let isObject = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) } == UInt8(ascii: "{")
        return isObject && JSONValidator.problem(in: bytes) == nil ? bytes : nil
    }
}

/// The content of one artifact. Used by one task at a time, and only while it is passed on.
package struct ArtifactContent: Sendable {
    /// Closes the descriptor at the end.
    private final class Source: Sendable {
        let descriptor: CInt
        let read = Mutex<Int64>(0)

        init(descriptor: CInt) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    private static let threads = BlockingPool(threads: 2)

    /// In bytes, when it was opened. It may be another one when it has been read.
    package let size: Int64
    private let limit: Int64
    private let source: Source

    fileprivate init(descriptor: CInt, size: Int64, limit: Int64) {
        self.source = Source(descriptor: descriptor)
        self.size = size
        self.limit = limit
    }

    /// Bytes that were read so far.
    package var bytesRead: Int64 { source.read.withLock { $0 } }

    /// The next piece; `nil` at the end.
    ///
    /// - Throws: ``ArtifactFolder/LimitReached``; `store_unavailable` when the file cannot be read.
    package func read(upTo count: Int) async throws -> [UInt8]? {
        let source = self.source
        let piece = try await Self.threads.run { ArtifactTree.read(source.descriptor, upTo: count) }
        guard let piece else {
            throw PlatformError(.storeUnavailable, "An artifact cannot be read from the disk.")
        }
        let sum = source.read.withLock { sum in
            sum += Int64(piece.count)
            return sum
        }
        guard sum <= limit else { throw ArtifactFolder.LimitReached() }
        return piece.isEmpty ? nil : piece
    }
}

/// The regular files below a folder. Blocking.
private struct ArtifactTree: Sendable {
    struct Failure: Error {
        var reason: String
    }

    private let path: String
    /// Relative paths, sorted by their bytes.
    private(set) var files: [String] = []
    private(set) var omitted: [ArtifactFolder.Omission] = []

    init(_ path: String) throws {
        self.path = path
        let root = Self.openRoot(path)
        guard root >= 0 else {
            throw PlatformError(.storeUnavailable, "The artifacts of a task cannot be read: \(Self.text(-root)).")
        }
        defer { close(root) }
        var folders = [""]
        var seen = 0
        while let folder = folders.popLast() {
            for (name, isText, kind) in try entries(of: folder, in: root) {
                seen += 1
                guard seen <= ArtifactFolder.entries else {
                    omit("", "there are more than \(ArtifactFolder.entries) files and folders")
                    folders = []
                    break
                }
                let path = folder.isEmpty ? name : "\(folder)/\(name)"
                if path == ArtifactFolder.progressName { continue }
                guard isText else {
                    omit(path, "its name is not UTF-8")
                    continue
                }
                switch kind {
                case S_IFREG: files.append(path)
                case S_IFDIR:
                    if path.utf8.count(where: { $0 == UInt8(ascii: "/") }) + 1 <= ArtifactFolder.depth {
                        folders.append(path)
                    } else {
                        omit(path, "it is nested more than \(ArtifactFolder.depth) folders deep")
                    }
                case S_IFLNK: omit(path, "it is a link")
                default: omit(path, "it is not a regular file")
                }
            }
        }
        files.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private mutating func omit(_ path: String, _ reason: String) {
        omitted.append(ArtifactFolder.Omission(path: path, reason: reason))
    }

    /// Names with their kinds. A folder that cannot be read is omitted.
    private mutating func entries(of folder: String, in root: CInt) throws -> [(String, Bool, mode_t)] {
        let descriptor = cx_open_beneath(root, folder.isEmpty ? "." : folder, O_RDONLY | O_DIRECTORY)
        guard descriptor >= 0, let stream = fdopendir(descriptor) else {
            if descriptor >= 0 { close(descriptor) }
            omit(folder, descriptor < 0 ? Self.text(-descriptor) : "it cannot be read")
            return []
        }
        defer { closedir(stream) }
        var found: [(String, Bool, mode_t)] = []
        while found.count <= ArtifactFolder.entries, let entry = readdir(stream) {
            let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if bytes == [0x2E] || bytes == [0x2E, 0x2E] { continue }
            var status = stat()
            let kind = (bytes + [0]).withUnsafeBufferPointer { name in
                name.withMemoryRebound(to: CChar.self) { name in
                    name.baseAddress.map { fstatat(descriptor, $0, &status, AT_SYMLINK_NOFOLLOW) } ?? -1
                }
            }
            // It was removed since.
            guard kind == 0 else { continue }
            let name = String(validating: bytes, as: UTF8.self)
            found.append((name ?? String(decoding: bytes, as: UTF8.self), name != nil, status.st_mode & S_IFMT))
        }
        return found
    }

    func open(_ file: String, limit: Int64) throws -> ArtifactContent {
        let root = Self.openRoot(path)
        guard root >= 0 else { throw Failure(reason: Self.text(-root)) }
        defer { close(root) }
        let opened = try Self.openFile(file, in: root)
        return ArtifactContent(descriptor: opened.descriptor, size: opened.size, limit: limit)
    }

    static func openRoot(_ path: String) -> CInt {
        let root = openFolder(path)
        return root < 0 ? -errno : root
    }

    /// Opens a regular file. A pipe does not block it.
    static func openFile(_ path: String, in root: CInt) throws -> (descriptor: CInt, size: Int64) {
        let descriptor = cx_open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            throw Failure(reason: descriptor == -ENXIO ? "it is not a regular file" : text(-descriptor))
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw Failure(reason: "it is not a regular file")
        }
        return (descriptor, Int64(status.st_size))
    }

    /// Empty at the end; `nil` when it cannot be read.
    static func read(_ descriptor: CInt, upTo limit: Int) -> [UInt8]? {
        while true {
            var result = 0
            let piece = [UInt8](unsafeUninitializedCapacity: max(1, limit)) { buffer, count in
                result = readBytes(descriptor, buffer.baseAddress, buffer.count)
                count = max(0, result)
            }
            if result >= 0 { return piece }
            guard errno == EINTR else { return nil }
        }
    }

    private static func text(_ error: CInt) -> String {
        switch error {
        case ELOOP, EXDEV: "it is a link"
        case EACCES, EPERM: "the platform may not read it"
        case ENAMETOOLONG: "its path is too long"
        case ENOENT: "it was removed"
        default: String(cString: strerror(error))
        }
    }
}

// The type's own functions have these names too.
private func openFolder(_ path: String) -> CInt { open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }
private func readBytes(_ descriptor: CInt, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
    read(descriptor, buffer, count)
}
