import Core
import Dispatch
import Foundation
import Synchronization

/// The only writer of segments. Bodies that arrive while the disk syncs are collected, written one after the other and
/// made durable by one sync; each caller is answered after its own.
///
/// A failed write or sync fails the callers whose bytes it covered. The segment is never written again: a failed sync
/// may have dropped data, and the next sync would not report that.
final class SegmentWriter: Sendable {
    /// A segment of this length gets no more batches.
    static let segmentSize: Int64 = 64 << 20
    /// Bytes of one batch; more wait for the next one, so that the first of many callers does not wait for the last.
    static let batchBytes = 8 << 20

    private struct Item: Sendable {
        let bytes: [UInt8]
        let continuation: CheckedContinuation<SegmentPlace, any Error>
    }

    private struct Pending {
        var items: [Item] = []
        var isWriting = false
    }

    private let folder: BodyFolder
    private let table: SharedSegmentTable
    private let reclaim: @Sendable () -> Void
    private let queue = DispatchQueue(label: "cortex.store.segments", qos: .userInitiated)
    private let pending = Mutex(Pending())
    /// Used only on the writer's thread.
    private let file = Mutex<SegmentFile?>(nil)

    /// - Parameter reclaim: called after a failure, when there may be something to erase and space is needed.
    init(folder: BodyFolder, table: SharedSegmentTable, reclaim: @escaping @Sendable () -> Void) {
        self.folder = folder
        self.table = table
        self.reclaim = reclaim
    }

    /// Stores a body durably.
    ///
    /// - Throws: ``PlatformError`` `store_unavailable`; then nothing of the body is kept.
    nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws -> SegmentPlace {
        try await withCheckedThrowingContinuation { continuation in
            let isFirst = pending.withLock { pending in
                pending.items.append(Item(bytes: bytes, continuation: continuation))
                defer { pending.isWriting = true }
                return !pending.isWriting
            }
            if isFirst { queue.async { self.drain() } }
        }
    }

    /// Releases an empty segment and the memory for writing when the store is idle.
    func rest() async {
        await onThread { [self] in
            file.withLock { file in
                guard let present = file else { return }
                present.releaseBuffer()
                if table.with({ $0.sealIfUnused(present.name) }) { file = nil }
            }
        }
    }

    /// The number of bodies that wait for the next batch.
    var waiting: Int { pending.withLock { $0.items.count } }

    /// Runs blocking work between two batches.
    func onThread(_ work: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            queue.async {
                work()
                continuation.resume()
            }
        }
    }

    // MARK: On the writer's thread

    private func drain() {
        let batch = pending.withLock { pending -> [Item] in
            var count = 0
            var size = 0
            while count < pending.items.count, size < Self.batchBytes {
                size += pending.items[count].bytes.count
                count += 1
            }
            defer { pending.items.removeFirst(count) }
            return Array(pending.items.prefix(count))
        }
        do {
            let places = try file.withLock { try write(batch.map(\.bytes), to: &$0) }
            for (item, place) in zip(batch, places) { item.continuation.resume(returning: place) }
        } catch {
            let failure = StoreFailure(error).platformError
            for item in batch { item.continuation.resume(throwing: failure) }
        }
        let isDone = pending.withLock { pending in
            pending.isWriting = !pending.items.isEmpty
            return pending.items.isEmpty
        }
        if !isDone { queue.async { self.drain() } }
    }

    private func write(_ bodies: [[UInt8]], to file: inout SegmentFile?) throws -> [SegmentPlace] {
        let present = try file ?? create()
        file = present
        let start = present.end
        let places: [SegmentPlace]
        do {
            let offsets = try present.append(bodies)
            try present.sync()
            if !present.isNameDurable {
                try folder.sync()
                present.isNameDurable = true
            }
            places = zip(offsets, bodies).map {
                SegmentPlace(segment: present.name, offset: $0, length: Int64($1.count))
            }
        } catch {
            file = nil
            table.with { $0.release(present.name, start..<present.end) }
            reclaim()
            throw error
        }
        table.with { table in
            for (place, bytes) in zip(places, bodies) { table.add(place, bytes: bytes) }
            if present.end >= Self.segmentSize { table.seal(present.name) }
        }
        if present.end >= Self.segmentSize { file = nil }
        return places
    }

    private func create() throws -> SegmentFile {
        let name = folder.name(folder.nextNumber())
        let file = try SegmentFile(name: name, path: folder.path(SegmentPlace.fileName(segment: name)))
        table.with { $0.open(name) }
        return file
    }
}
