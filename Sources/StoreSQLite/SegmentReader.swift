import CStoreSQLite
import Foundation
import Synchronization

/// Reads whole bodies in segments. Only for places that cannot be erased meanwhile. May be used from any thread.
final class SegmentReader: Sendable {
    /// The number of segments that stay open.
    private static let openLimit = 16

    private let folder: BodyFolder
    private let table: SharedSegmentTable
    /// The segment used last is at the end.
    private let open = Mutex<[(segment: String, descriptor: OwnedDescriptor)]>([])

    init(folder: BodyFolder, table: SharedSegmentTable) {
        self.folder = folder
        self.table = table
    }

    /// The body if it can be read without waiting for the disk.
    func readCached(_ place: SegmentPlace) -> [UInt8]? {
        let descriptor = open.withLock { open in open.last { $0.segment == place.segment }?.descriptor }
        guard let descriptor else { return nil }
        let size = Int(place.length)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = max(0, store_read_cached(descriptor.value, buffer.baseAddress, size, off_t(place.offset)))
        }
        return bytes.count == size ? bytes : nil
    }

    /// - Returns: `nil` if it is not there.
    func read(_ place: SegmentPlace) throws -> [UInt8]? {
        guard let descriptor = try descriptor(place.segment) else { return nil }
        let size = Int(place.length)
        let bytes = try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let got = pread(
                    descriptor.value, buffer.baseAddress?.advanced(by: count), size - count,
                    off_t(place.offset) + off_t(count))
                if got < 0 {
                    if errno == EINTR { continue }
                    throw StoreFailure.SystemCall("read body")
                }
                guard got > 0 else { return }
                count += got
            }
        }
        return bytes.count == size ? bytes : nil
    }

    /// The space of a removed segment is free only after it is closed.
    func forget(_ segment: String) {
        open.withLock { $0.removeAll { $0.segment == segment } }
    }

    private func descriptor(_ segment: String) throws -> OwnedDescriptor? {
        if let descriptor = open.withLock({ open in open.last { $0.segment == segment }?.descriptor }) {
            return descriptor
        }
        let path = folder.path(SegmentPlace.fileName(segment: segment))
        let value = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard value >= 0 else {
            guard errno == ENOENT else { throw StoreFailure.SystemCall("open segment") }
            return nil
        }
        let descriptor = OwnedDescriptor(value)
        open.withLock { open in
            if open.count == Self.openLimit { open.removeFirst() }
            open.append((segment, descriptor))
        }
        return descriptor
    }
}
