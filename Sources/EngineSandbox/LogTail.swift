import CLinux
package import Core
import Foundation
import Support
import Synchronization

/// Logs of containers: files in the pod's folder, which `PodInit` writes.
extension SandboxEngine {
    package func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        let folder = try await folder(of: container, pod)
        let reader = LogTail(
            path: folder.log(container), podFolder: folder.path, follows: follow, tail: tail.map { max(0, $0) })
        return LogStream { write in try await reader.copy(to: write) }
    }

    package func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?
    {
        let folder = try await folder(of: container, pod)
        let path = folder.log(container)
        return try await LogTail.pool.run {
            let file = try LogFile(path)
            let present = file.map { "\($0.identity.inode) \($0.size)" } ?? "none"
            guard present != mark else { return nil }
            var bytes: [UInt8] = []
            if let reader = try LogFileReader(path: path, tail: max(0, count), follows: false) {
                // The lines are the last ones, of bounded length: a few blocks at most.
                reading: while bytes.count < Limits.logLookBytes {
                    switch try reader.step(podFolder: folder.path) {
                    case .lines(let lines): bytes += lines
                    case .nothing, .end: break reading
                    }
                }
            }
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
            return LogExcerpt(lines: lines.suffix(count).map { String(decoding: $0, as: UTF8.self) }, mark: present)
        }
    }

    private func folder(of container: String, _ pod: String) async throws -> PodFolder {
        let folder = folder(pod)
        let record = try await blocking { folder.read() }
        guard Self.isName(pod), let record, record.plan.containers.contains(where: { $0.name == container }) else {
            throw PlatformError(.notFound, "There is no container \(container) in pod \(pod).")
        }
        return folder
    }
}

/// Reads a container's log from disk, over its rotation, and waits for more if asked to.
///
/// It holds one block of bytes at a time. Reading and splitting run on threads of their own. Each file is opened once
/// and stays open while it is read. Between two lines nothing runs: inotify reports when there is more.
struct LogTail: Sendable {
    let path: String
    let podFolder: String
    let follows: Bool
    /// Lines from the end; `nil` for all that are kept.
    let tail: Int?
    /// Called before each read of the files; for tests.
    var onLook: @Sendable () -> Void = {}

    /// Log readers have threads of their own, so they delay neither the start of a pod nor its stop.
    static let pool = BlockingPool(threads: Limits.logThreads)

    /// The folder that the log's files are in.
    private var folder: String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "." }

    /// Passes all lines to `write`. Returns at the end of the log, or with `follows` when the pod was removed.
    func copy(to write: LogStream<[UInt8]>.Write) async throws {
        guard let reader = try await Self.pool.run({ try LogFileReader(path: path, tail: tail, follows: follows) })
        else {
            return
        }
        var changes = follows ? try FolderChanges.shared.changes(in: folder).makeAsyncIterator() : nil
        while true {
            try Task.checkCancellation()
            onLook()
            switch try await Self.pool.run({ try reader.step(podFolder: podFolder) }) {
            case .lines(let lines): if !lines.isEmpty { try await write(lines) }
            case .nothing: await changes?.next()
            case .end: return
            }
        }
    }
}

/// The files of one log, and how far they were read. Every method blocks; one task at a time calls them.
final class LogFileReader: Sendable {
    enum Step: Sendable {
        /// The lines of a block; empty when it completed none.
        case lines([UInt8])
        case nothing
        case end
    }

    private struct State {
        /// The file that is read; `nil` before there is one.
        var file: LogFile?
        var offset: Int64 = 0
        /// Files that are read after it.
        var next: LogFile?
        /// Without `follows`: bytes of the last file that are read.
        var size: Int64?
        var splitter = LineSplitter()
        var isOver = false
    }

    private let path: String
    private let follows: Bool
    private let state: Mutex<State>

    /// Opens the log and finds where to begin.
    ///
    /// - Returns: `nil` when there is nothing to read.
    init?(path: String, tail: Int?, follows: Bool) throws {
        self.path = path
        self.follows = follows
        // The present file first: were it rotated in between, it would be read as the older one and be the same.
        let present = try LogFile(path)
        var older = try LogFile(path + ".1")
        if let file = older, file.isSame(as: present) { older = nil }
        var state = State()
        if let present { state.size = present.size }
        if let tail {
            let start = try Self.start(tail, [older, present].compactMap { $0 })
            state.offset = start.offset
            (state.file, state.next) = start.isInLast ? (present, nil) : (older, present)
        } else {
            (state.file, state.next) = older == nil ? (present, nil) : (older, present)
        }
        if present == nil, older != nil { state.size = older?.size }
        if follows { state.size = nil } else if state.file == nil { return nil }
        self.state = Mutex(state)
    }

    /// Reads the next block; looks for the next file, or the pod's end, when there is none.
    func step(podFolder: String) throws -> Step {
        try state.withLock { state in
            guard !state.isOver else { return .end }
            guard let file = state.file else {
                state.file = try LogFile(path)
                if state.file != nil { return .lines([]) }
                return !follows || Self.isGone(podFolder) ? .end : .nothing
            }
            if let lines = try Self.block(of: file, &state) { return .lines(lines) }
            if let next = state.next {
                return .lines(Self.move(to: next, from: file, &state))
            }
            guard follows else { return Self.end(&state) }
            guard let present = try LogFile.identity(of: path) else {
                guard Self.isGone(podFolder) else { return .nothing }
                // The pod may have written after the last look, and have been removed since; the file is still open.
                if let lines = try Self.block(of: file, &state) { return .lines(lines) }
                return Self.end(&state)
            }
            guard present != file.identity else { return Self.restarted(file, &state) ?? .nothing }
            // Rotated. What was written before that, after the last look, comes first.
            if let lines = try Self.block(of: file, &state) { return .lines(lines) }
            guard let next = try successor(of: file) else { return .nothing }
            return .lines(Self.move(to: next, from: file, &state))
        }
    }

    /// The oldest file that follows `file` and is still there.
    private func successor(of file: LogFile) throws -> LogFile? {
        let older = try LogFile.identity(of: path + ".1")
        if older != nil, older != file.identity, let older = try LogFile(path + ".1"), !older.isSame(as: file) {
            return older
        }
        return try LogFile(path)
    }

    /// A file that became shorter is read from its beginning; it was emptied by hand.
    private static func restarted(_ file: LogFile, _ state: inout State) -> Step? {
        guard file.size < state.offset else { return nil }
        state.offset = 0
        var lines: [UInt8] = []
        state.splitter.end(into: &lines)
        return .lines(lines + Array("[cortex] the log was emptied: lines may be missing here\n".utf8))
    }

    private static func block(of file: LogFile, _ state: inout State) throws -> [UInt8]? {
        var limit = Limits.logBlock
        if let size = state.size, state.next == nil { limit = Int(min(Int64(limit), size - state.offset)) }
        guard limit > 0 else { return nil }
        return try withUnsafeTemporaryAllocation(byteCount: limit, alignment: 16) { buffer in
            let count = try file.read(into: buffer, at: state.offset)
            guard count > 0 else { return nil }
            state.offset += Int64(count)
            var lines: [UInt8] = []
            lines.reserveCapacity(count + 64)
            state.splitter.split(UnsafeRawBufferPointer(rebasing: buffer[..<count]), into: &lines)
            return lines
        }
    }

    /// Continues with `next`. Where lines between the two files are lost, a line says how many.
    private static func move(to next: LogFile, from file: LogFile, _ state: inout State) -> [UInt8] {
        state.file = next
        state.offset = 0
        state.next = nil
        var lines: [UInt8] = []
        guard let end = file.mark(.end), let begin = next.mark(.begin), begin > end else { return lines }
        state.splitter.end(into: &lines)
        lines += Array("[cortex] \(begin - end) lines were skipped: the log was rotated faster than it was read\n".utf8)
        return lines
    }

    private static func end(_ state: inout State) -> Step {
        state.isOver = true
        state.file = nil
        var lines: [UInt8] = []
        state.splitter.end(into: &lines)
        return lines.isEmpty ? .end : .lines(lines)
    }

    private static func isGone(_ podFolder: String) -> Bool { access(podFolder, F_OK) != 0 }

    // MARK: From the end

    /// Where the last `count` lines begin: read in blocks, from the end of the last file backwards.
    ///
    /// A line over the limit counts as the pieces that it comes in.
    private static func start(_ count: Int, _ files: [LogFile]) throws -> (isInLast: Bool, offset: Int64) {
        guard count > 0, !files.isEmpty else { return (true, files.last?.size ?? 0) }
        let block = 64 * 1024
        // A piece is shorter than the limit by up to three bytes, so that it cuts no character.
        let pieceLength = Limits.logLine - 4
        var remaining = count
        var length = 0
        var isAtEnd = true
        for (index, file) in files.enumerated().reversed() {
            var end = file.size
            while end > 0 {
                let begin = max(0, end - Int64(block))
                let found = try withUnsafeTemporaryAllocation(byteCount: Int(end - begin), alignment: 16) {
                    (buffer) throws -> (offset: Int64, isInLine: Bool)? in
                    let count = try file.read(into: buffer, at: begin)
                    for position in stride(from: count - 1, through: 0, by: -1) {
                        if buffer[position] != UInt8(ascii: "\n") {
                            length += 1
                            isAtEnd = false
                            guard length > pieceLength else { continue }
                        } else if isAtEnd {
                            // It ends the last line.
                            isAtEnd = false
                            continue
                        }
                        remaining -= 1
                        let isInLine = buffer[position] != UInt8(ascii: "\n")
                        length = isInLine ? 1 : 0
                        if remaining == 0 { return (begin + Int64(position) + 1, isInLine) }
                    }
                    return nil
                }
                if let found {
                    let offset = found.isInLine ? try characterStart(file, found.offset) : found.offset
                    return (index == files.count - 1, offset)
                }
                end = begin
            }
        }
        return (files.count == 1, 0)
    }

    /// The first place from `offset` on at which a character begins.
    private static func characterStart(_ file: LogFile, _ offset: Int64) throws -> Int64 {
        try withUnsafeTemporaryAllocation(byteCount: 3, alignment: 1) { buffer in
            let count = try file.read(into: buffer, at: offset)
            let skipped = buffer[..<count].prefix { $0 & 0xC0 == 0x80 }.count
            return offset + Int64(skipped)
        }
    }
}

/// An open file of a log. It is closed with its last reference.
final class LogFile: Sendable {
    struct Identity: Sendable, Hashable {
        var device: UInt64
        var inode: UInt64
        fileprivate init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
        }
    }

    /// What `PodInit` writes beside a file: how many lines the container had written before the file's first and after
    /// its last byte.
    enum Mark: String {
        case begin = "user.cortex.begin"
        case end = "user.cortex.end"
    }

    private let descriptor: CInt
    let identity: Identity

    /// - Returns: `nil` when there is no file.
    init?(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw Self.failure("A log cannot be opened")
        }
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            identity = Identity(status)
            throw Self.failure("A log cannot be read")
        }
        identity = Identity(status)
    }

    deinit { close(descriptor) }

    var size: Int64 {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int64(status.st_size) : 0
    }

    func isSame(as other: LogFile?) -> Bool { identity == other?.identity }

    /// - Returns: the number of bytes; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws -> Int {
        while true {
            let count = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
            if count >= 0 { return count }
            guard errno == EINTR else { throw Self.failure("A log cannot be read") }
        }
    }

    /// `nil` where the file system keeps no such marks, or the file has no end yet.
    func mark(_ mark: Mark) -> Int64? {
        let value = cx_file_mark(descriptor, mark.rawValue)
        return value >= 0 ? value : nil
    }

    /// - Returns: `nil` when there is no file.
    static func identity(of path: String) throws -> Identity? {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw failure("A log cannot be found")
        }
        return Identity(status)
    }

    private static func failure(_ what: String) -> PlatformError {
        PlatformError(.engineUnavailable, "\(what): \(String(cString: strerror(errno))).")
    }
}
