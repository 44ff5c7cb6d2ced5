import Core
import Dispatch
import Foundation
import GRDB
import Logging
import Synchronization

/// The files of large bodies: made under a temporary name, synced, renamed, and only then named by a row; removed after the row is gone.
/// A crash leaves at most a file that no row names, which the next start removes.
///
/// Safe from any task. All system calls run on threads of its own.
final class BodyFiles: Sendable {
    /// Threads, made when they are needed. Most of their time they wait for the disk, which writes the files of several at once.
    private static let lanes = 16

    let folder: String
    /// Whether a commit is on the disk when it is answered. Otherwise the files of deleted rows wait for the log.
    private let commitsAreSynced: Bool
    private let logger: Logger
    private let epoch: UInt64
    private let counter = Atomic<UInt64>(0)
    private let threads: [DispatchQueue]
    private let remover = DispatchQueue(label: "cortex.store.remove")
    private let folderDescriptor: OwnedDescriptor
    private struct Waiting {
        /// Could not be removed yet.
        var failed: [String] = []
        /// Their rows are deleted, but the deletion is not on the disk yet.
        var deferred: [String] = []
    }
    private let waiting = Mutex(Waiting())

    init(_ directory: DataDirectory, named: Set<String>, commitsAreSynced: Bool, now: Timestamp, logger: Logger) throws
    {
        self.folder = directory.blobs
        self.commitsAreSynced = commitsAreSynced
        self.logger = logger
        self.threads = (0..<Self.lanes).map { DispatchQueue(label: "cortex.store.files.\($0)") }
        let descriptor = Glibc.open(directory.blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("open folder") }
        self.folderDescriptor = OwnedDescriptor(descriptor)
        let kept = try Self.sweep(directory.blobs, named: named, logger: logger)
        // Later than every epoch in use, also when the clock was set back: no name ever comes again.
        self.epoch = max(UInt64(max(0, now.microseconds)), (kept.compactMap(Self.epoch).max() ?? 0) + 1)
    }

    /// Every file that a row names.
    static func namesInRows(_ db: Database) throws -> Set<String> {
        try Set(
            String.fetchAll(
                db,
                sql: """
                    SELECT file FROM payload WHERE file IS NOT NULL UNION ALL SELECT file FROM answer WHERE file IS NOT NULL
                    """))
    }

    // MARK: Making and reading

    /// Runs blocking work on one of the threads; the same `lane` is always the same thread.
    func run<Value: Sendable>(lane: Int, _ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await threads[lane % threads.count].run(work)
        } catch {
            throw StoreFailure(error).platformError
        }
    }

    /// A name that was never used, and the lane for its work.
    func nextName() -> (name: String, lane: Int) {
        let number = counter.wrappingAdd(1, ordering: .relaxed).newValue
        return ("\(Self.hexadecimal(epoch))-\(Self.hexadecimal(number))", Int(number % UInt64(threads.count)))
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }
    func temporaryPath(_ name: String) -> String { "\(folder)/\(name).tmp" }

    /// Gives a complete file its name, durably, whatever commits wait for: a row that outlives a power cut must find its file whole.
    /// On a file thread.
    func publish(_ name: String, _ descriptor: Int32) throws {
        guard fsync(descriptor) == 0 else { throw StoreFailure.SystemCall("sync body") }
        guard rename(temporaryPath(name), path(name)) == 0 else { throw StoreFailure.SystemCall("rename body") }
        guard fsync(folderDescriptor.value) == 0 else { throw StoreFailure.SystemCall("sync folder") }
    }

    func reader(name: String) async throws -> any BodyReader {
        // Names are only ever ours, but they come back through callers.
        guard !name.isEmpty, name.utf8.allSatisfy({ Self.isHexadecimal($0) || $0 == UInt8(ascii: "-") }) else {
            throw Self.gone
        }
        let lane = nextName().lane
        let path = path(name)
        let descriptor = try await run(lane: lane) { () throws -> Int32? in
            let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
            if descriptor < 0 {
                guard errno == ENOENT else { throw StoreFailure.SystemCall("open body") }
                return nil
            }
            return descriptor
        }
        guard let descriptor else { throw Self.gone }
        return BodyFileReader(files: self, lane: lane, descriptor: OwnedDescriptor(descriptor))
    }

    private static let gone = PlatformError(.notFound, "This body is not stored any more.")

    // MARK: Removing

    /// Removes files whose rows are gone; where commits are not synced, not before the log was written to the disk.
    func remove(_ names: [String]) {
        guard !names.isEmpty else { return }
        guard commitsAreSynced else { return waiting.withLock { $0.deferred += names } }
        removeNow(names)
    }

    /// Removes what waited for the log.
    func removeDeferred() async {
        removeNow(
            waiting.withLock { waiting in
                defer { waiting.deferred = [] }
                return waiting.deferred
            })
    }

    /// Removes these and those that could not be removed before.
    func removeNow(_ names: [String]) {
        remover.async { [self] in
            let all = waiting.withLock { waiting in
                defer { waiting.failed = [] }
                return waiting.failed + names
            }
            for name in all where unlink(path(name)) != 0 && errno != ENOENT {
                waiting.withLock { $0.failed.append(name) }
            }
        }
    }

    /// Returns when everything asked for so far is removed; tries again what could not be.
    func drain() async {
        removeNow([])
        await withCheckedContinuation { continuation in remover.async { continuation.resume() } }
        let left = waiting.withLock { $0.failed.count }
        if left > 0 { logger.warning("body files cannot be removed", metadata: ["count": "\(left)"]) }
    }

    // MARK: Sweeping

    /// Removes what no row names.
    ///
    /// - Returns: the names that stay.
    private static func sweep(_ folder: String, named: Set<String>, logger: Logger) throws -> [String] {
        guard let stream = opendir(folder) else { throw StoreFailure.SystemCall("list folder") }
        defer { closedir(stream) }
        var kept: [String] = []
        var removed = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            if named.contains(name) {
                kept.append(name)
            } else if unlink("\(folder)/\(name)") == 0 {
                removed += 1
            } else {
                throw StoreFailure.SystemCall("remove leftover")
            }
        }
        if removed > 0 { logger.info("leftover body files removed", metadata: ["count": "\(removed)"]) }
        let missing = named.count - kept.count
        if missing > 0 { logger.error("body files are missing", metadata: ["count": "\(missing)"]) }
        return kept
    }

    private static func epoch(_ name: String) -> UInt64? {
        name.split(separator: "-").first.flatMap { UInt64($0, radix: 16) }
    }

    private static func hexadecimal(_ value: UInt64) -> String { String(value, radix: 16) }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

/// A file descriptor that is closed with its owner.
final class OwnedDescriptor: Sendable {
    let value: Int32
    init(_ value: Int32) { self.value = value }
    deinit { Glibc.close(value) }
}
