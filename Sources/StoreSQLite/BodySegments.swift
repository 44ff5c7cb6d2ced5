import Core
import Dispatch
import Synchronization

/// Bodies of middling size, many in one file: one sync makes all durable that came together, and a file is made and
/// removed once in hundreds of bodies. What is erased is given back to the file system as holes, a segment without a
/// body as a whole.
///
/// A segment of an earlier process is read and erased, never written to. Safe from any task.
final class BodySegments: Sendable {
    /// Larger bodies have files of their own.
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
    /// - Throws: ``PlatformError`` `store_unavailable`; nothing of the body is kept then.
    nonisolated(nonsending) func write(_ bytes: [UInt8]) async throws -> SegmentPlace {
        try await writer.write(bytes)
    }

    /// A body's bytes, whatever becomes of it meanwhile; `nil` when it is not there any more.
    ///
    /// - Parameter wait: runs what may wait for the disk.
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

    /// Lets go of bodies. They cannot be read from now on; their bytes are erased with the next `reclaim` at the
    /// latest.
    func erase(_ places: [SegmentPlace]) {
        let isDue = table.with { table in
            for place in places { table.erase(place) }
            return table.isDue
        }
        if isDue { remover.reclaim(everything: false) }
    }

    /// Erases everything that was let go of, and gives back what an idle store need not hold. Done when the remover's
    /// thread is done.
    func reclaim() async {
        await writer.rest()
        remover.reclaim(everything: true)
        table.with { $0.forgetOlder() }
    }

    /// How many segments hold something that could not be erased.
    var failedCount: Int { table.with { $0.failedCount } }
}

/// The table, shared by those who write, read and remove.
final class SharedSegmentTable: Sendable {
    private let table = Mutex(SegmentTable())

    func with<Value: Sendable>(_ body: (inout SegmentTable) -> Value) -> Value {
        table.withLock { body(&$0) }
    }
}
