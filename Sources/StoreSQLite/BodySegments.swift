import Core
import Dispatch
import Synchronization

/// Medium bodies, many in one file: one sync makes all bodies durable that arrived together, and a file is created and
/// removed once for hundreds of bodies. The space of erased bodies is released as holes, the space of a segment without
/// bodies as a whole.
///
/// A segment of an earlier process is read and erased, never written. May be used from any task.
final class BodySegments: Sendable {
    /// Larger bodies have their own files.
    static let bodyLimit = Limits.bodyPiece

    private let table: SharedSegmentTable
    let writer: SegmentWriter
    private let reader: SegmentReader
    private let remover: SegmentRemover

    /// - Parameters:
    ///   - present: the bodies of earlier processes.
    ///   - removing: the thread on which files are removed.
    init(folder: BodyFolder, present: [SegmentPlace], removing: DispatchQueue) {
        let table = SharedSegmentTable()
        table.with { table in
            for segment in Set(present.map(\.segment)) { table.open(segment, isSealed: true) }
            for place in present { table.add(place) }
        }
        let reader = SegmentReader(folder: folder, table: table)
        let remover = SegmentRemover(folder: folder, table: table, reader: reader, queue: removing)
        self.table = table
        self.reader = reader
        self.remover = remover
        self.writer = SegmentWriter(folder: folder, table: table) { remover.reclaim(everything: true) }
    }

    /// Stores a body durably.
    ///
    /// - Throws: ``PlatformError`` `store_unavailable`; then nothing of the body is kept.
    nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws -> SegmentPlace {
        try await writer.write(bytes)
    }

    /// A body's bytes, also if it is removed during the call; `nil` if it is not there any more.
    ///
    /// - Parameter wait: runs work that may wait for the disk.
    nonisolated(nonsending) func read(
        _ place: SegmentPlace, wait: (@escaping @Sendable () throws -> [UInt8]?) async throws -> [UInt8]?
    ) async throws -> [UInt8]? {
        switch table.with({ $0.beginReading(place) }) {
        case nil: return nil
        case .bytes(let bytes): return bytes
        case .file:
            defer {
                if table.with({ $0.endReading(place) }) { remover.reclaim(everything: false) }
            }
            if let bytes = reader.readCached(place) { return bytes }
            return try await wait { [reader] in try reader.read(place) }
        }
    }

    /// Releases bodies. They cannot be read from then on; their bytes are erased with the next `reclaim` at the latest.
    func erase(_ places: [SegmentPlace]) {
        let isDue = table.with { table in
            for place in places { table.erase(place) }
            return table.isDue
        }
        if isDue { remover.reclaim(everything: false) }
    }

    /// Erases all released bodies, and releases resources that an idle store does not need. Returns when the remover's
    /// thread has finished.
    func reclaim() async {
        await writer.rest()
        remover.reclaim(everything: true)
        table.with { $0.forgetOlder() }
    }

    /// The number of segments with content that could not be erased.
    var failedCount: Int { table.with { $0.failedCount } }
}

/// The table, shared by the threads that write, read and remove.
final class SharedSegmentTable: Sendable {
    private let table = Mutex(SegmentTable())

    func with<Value: Sendable>(_ body: (inout SegmentTable) -> Value) -> Value {
        table.withLock { body(&$0) }
    }
}
