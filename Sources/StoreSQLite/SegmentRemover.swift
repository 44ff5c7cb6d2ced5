import CStoreSQLite
import Dispatch
import Foundation
import Synchronization

/// Erases released bodies in segments, on one thread.
final class SegmentRemover: Sendable {
    private let folder: BodyFolder
    private let table: SharedSegmentTable
    private let reader: SegmentReader
    private let queue: DispatchQueue

    init(folder: BodyFolder, table: SharedSegmentTable, reader: SegmentReader, queue: DispatchQueue) {
        self.folder = folder
        self.table = table
        self.reader = reader
        self.queue = queue
    }

    /// Performs the tasks on the files; failed tasks are repeated with the next call for everything.
    func reclaim(everything: Bool) {
        queue.async { [self] in
            for task in table.with({ $0.takeTasks(everything: everything) }) where !isDone(task) {
                table.with { $0.failed(task) }
            }
        }
    }

    private func isDone(_ task: SegmentTable.Task) -> Bool {
        switch task {
        case .remove(let segment):
            reader.forget(segment)
            return unlink(folder.path(SegmentPlace.fileName(segment: segment))) == 0 || errno == ENOENT
        case .erase(let segment, let ranges):
            let path = folder.path(SegmentPlace.fileName(segment: segment))
            return (try? SegmentErasure(path: path).erase(ranges)) != nil
        }
    }
}

/// A segment that is open for erasing parts of it.
struct SegmentErasure {
    private let descriptor: OwnedDescriptor

    init(path: String) throws {
        let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("open segment") }
        self.descriptor = OwnedDescriptor(descriptor)
    }

    /// The file's length.
    func size() throws -> Int64 {
        var status = stat()
        guard fstat(descriptor.value, &status) == 0 else { throw StoreFailure.SystemCall("stat segment") }
        return Int64(status.st_size)
    }

    /// Makes holes; if the file system has none, writes zeros.
    func erase(_ ranges: [Range<Int64>]) throws {
        var isOverwritten = false
        for range in ranges where !range.isEmpty {
            if store_punch_hole(descriptor.value, off_t(range.lowerBound), off_t(range.count)) == 0 { continue }
            guard [EOPNOTSUPP, ENOSYS].contains(errno) else { throw StoreFailure.SystemCall("erase body") }
            try overwrite(range)
            isOverwritten = true
        }
        if isOverwritten, fdatasync(descriptor.value) != 0 { throw StoreFailure.SystemCall("sync segment") }
    }

    /// Erases the data in a range; a hole costs nothing.
    func eraseData(in range: Range<Int64>) throws {
        guard !range.isEmpty else { return }
        let first = Int64(store_next_data(descriptor.value, off_t(range.lowerBound)))
        if first < 0 {
            guard errno == ENXIO else { throw StoreFailure.SystemCall("seek in segment") }
            return
        }
        if range.contains(first) { try erase([range]) }
    }

    private func overwrite(_ range: Range<Int64>) throws {
        let end = min(range.upperBound, try size())
        let zeros = [UInt8](repeating: 0, count: 1 << 16)
        var offset = range.lowerBound
        while offset < end {
            let count = pwrite(descriptor.value, zeros, min(zeros.count, Int(end - offset)), off_t(offset))
            if count < 0 {
                if errno == EINTR { continue }
                throw StoreFailure.SystemCall("erase body")
            }
            offset += Int64(count)
        }
    }
}
