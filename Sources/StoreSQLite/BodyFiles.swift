import Core
import Dispatch
import Foundation
import Logging
import Synchronization

/// The bodies outside the database. Large ones have their own files, which are created under a temporary name, synced,
/// renamed, and only then referenced by a row; medium ones are in ``BodySegments``. They are removed after the row. A
/// crash leaves at most files that no row names, which the next start removes.
///
/// May be used from any task. All system calls run on its own threads.
final class BodyFiles: Sendable {
    /// Threads, created on demand. They mostly wait for the disk, which writes several files at once.
    private static let lanes = 16

    let segments: BodySegments
    private let folder: BodyFolder
    /// Whether a durable commit is on the disk when it is answered. Otherwise the bodies of deleted rows stay until the
    /// log is synced.
    private let commitsAreSynced: Bool
    private let logger: Logger
    private let threads: [DispatchQueue]
    private let remover = DispatchQueue(label: "cortex.store.remove")
    private struct Waiting {
        /// Could not be removed yet.
        var failed: [String] = []
        /// Their rows are deleted, but the deletion is not on the disk yet.
        var deferred: [String] = []
    }
    private let waiting = Mutex(Waiting())

    init(_ directory: DataDirectory, named: NamedBodies, commitsAreSynced: Bool, now: Timestamp, logger: Logger) throws
    {
        self.commitsAreSynced = commitsAreSynced
        self.logger = logger
        self.threads = (0..<Self.lanes).map { DispatchQueue(label: "cortex.store.files.\($0)") }
        // Larger than every epoch in use, also when the clock was set back: no name is used twice.
        self.folder = try BodyFolder(
            path: directory.blobs, epoch: max(UInt64(max(0, now.microseconds)), named.epoch + 1))
        let present = try BodySweep.run(directory.blobs, named: named, logger: logger)
        self.segments = BodySegments(folder: folder, present: present, removing: remover)
    }

    /// The folder's path.
    var path: String { folder.path }

    // MARK: Creating and reading

    /// Runs blocking work on one of the threads; the same `lane` always uses the same thread.
    func run<Value: Sendable>(lane: Int, _ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await threads[lane % threads.count].run(work)
        } catch {
            throw StoreFailure(error).platformError
        }
    }

    /// An unused name, and the lane for its work.
    func nextName() -> (name: String, lane: Int) {
        let number = folder.nextNumber()
        return (folder.name(number), Int(number % UInt64(threads.count)))
    }

    func temporaryPath(_ name: String) -> String { folder.path(name + ".tmp") }

    /// Gives a complete file its final name, durably, also where commits are not synced: a row that survives a power
    /// cut must find its complete file. Runs on a file thread.
    func publish(_ name: String, _ descriptor: Int32) throws {
        guard fsync(descriptor) == 0 else { throw StoreFailure.SystemCall("sync body") }
        guard rename(temporaryPath(name), folder.path(name)) == 0 else { throw StoreFailure.SystemCall("rename body") }
        try folder.sync()
    }

    nonisolated(nonsending) func reader(name: String) async throws -> any BodyReader {
        if let place = SegmentPlace(name) {
            let bytes = try await segments.read(place) { try await self.run(lane: self.nextName().lane, $0) }
            guard let bytes else { throw Self.gone }
            return InlineBodyReader(bytes)
        }
        guard BodyName.isValid(name) else { throw Self.gone }
        let lane = nextName().lane
        let path = folder.path(name)
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

    /// Removes bodies whose rows are deleted; if that commit was not synced, not before the log is on the disk.
    func remove(_ names: [String], isSynced: Bool = true) {
        guard !names.isEmpty else { return }
        guard commitsAreSynced, isSynced else { return waiting.withLock { $0.deferred += names } }
        removeNow(names)
    }

    /// Removes the bodies that waited for the log.
    func removeDeferred() async {
        removeNow(
            waiting.withLock { waiting in
                defer { waiting.deferred = [] }
                return waiting.deferred
            })
    }

    /// Removes these bodies.
    func removeNow(_ names: [String]) {
        var places: [SegmentPlace] = []
        var files: [String] = []
        for name in names {
            if let place = SegmentPlace(name) { places.append(place) } else { files.append(name) }
        }
        if !places.isEmpty { segments.erase(places) }
        if !files.isEmpty { removeFiles(files) }
    }

    /// Removes these files and those that could not be removed before.
    private func removeFiles(_ names: [String]) {
        remover.async { [self] in
            let all = waiting.withLock { waiting in
                defer { waiting.failed = [] }
                return waiting.failed + names
            }
            for name in all where unlink(folder.path(name)) != 0 && errno != ENOENT {
                waiting.withLock { $0.failed.append(name) }
            }
        }
    }

    /// Returns when everything requested so far is removed; retries files that could not be removed.
    func drain() async {
        await segments.reclaim()
        removeFiles([])
        await withCheckedContinuation { continuation in remover.async { continuation.resume() } }
        let left = waiting.withLock { $0.failed.count } + segments.failedCount
        if left > 0 { logger.warning("bodies cannot be removed", metadata: ["count": "\(left)"]) }
    }
}
