import CStoreSQLite
import Foundation

/// A segment while it is written: bodies one after the other, each at the beginning of a block. Used by one thread at a
/// time.
///
/// It uses direct I/O if the file system supports it: writing and syncing 100 KB then costs about 10 µs of processor
/// time instead of 60.
final class SegmentFile {
    /// Bytes written at a time.
    static let chunk = 2 << 20

    let name: String
    /// The beginning of the next body.
    private(set) var end: Int64 = 0
    /// Whether the folder was synced since the file was created.
    var isNameDurable = false
    private let descriptor: OwnedDescriptor
    private var isDirect: Bool
    private var buffer: AlignedBuffer?

    init(name: String, path: String) throws {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        var descriptor = Glibc.open(path, flags | store_open_direct, 0o600)
        self.isDirect = descriptor >= 0
        if descriptor < 0, errno == EINVAL {
            // The attempt may have created the file.
            unlink(path)
            descriptor = Glibc.open(path, flags, 0o600)
        }
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("create segment") }
        self.descriptor = OwnedDescriptor(descriptor)
        self.name = name
    }

    /// Writes bodies one after the other; they are durable after `sync`.
    ///
    /// - Returns: where they begin.
    func append(_ bodies: [[UInt8]]) throws -> [Int64] {
        let buffer = self.buffer ?? AlignedBuffer(size: Self.chunk)
        self.buffer = buffer
        var offsets: [Int64] = []
        offsets.reserveCapacity(bodies.count)
        for body in bodies {
            offsets.append(end + Int64(buffer.filled))
            try body.withUnsafeBytes { bytes in
                var rest = bytes[...]
                while !rest.isEmpty {
                    rest = rest.dropFirst(buffer.take(rest))
                    if buffer.isFull { try flush(buffer) }
                }
            }
            buffer.pad()
            if buffer.isFull { try flush(buffer) }
        }
        try flush(buffer)
        return offsets
    }

    func sync() throws {
        guard fdatasync(descriptor.value) == 0 else { throw StoreFailure.SystemCall("sync segment") }
    }

    /// Releases memory; the next batch allocates it again.
    func releaseBuffer() { buffer = nil }

    private func flush(_ buffer: AlignedBuffer) throws {
        var rest = buffer.empty()
        while !rest.isEmpty {
            let count = pwrite(
                descriptor.value, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count, off_t(end))
            if count < 0 {
                if errno == EINTR { continue }
                // Some file systems report only now that they do not support direct I/O, or not for the rest of a
                // piece.
                if errno == EINVAL, isDirect, store_use_page_cache(descriptor.value) == 0 {
                    isDirect = false
                    continue
                }
                // The written part must be erased, and its length is not known.
                end += Int64(rest.count)
                throw StoreFailure.SystemCall("write segment")
            }
            rest = rest.dropFirst(count)
            end += Int64(count)
        }
    }
}

/// Memory that begins at a block's boundary, as direct I/O requires.
private final class AlignedBuffer {
    private let memory: UnsafeMutableRawBufferPointer
    private(set) var filled = 0

    init(size: Int) {
        memory = .allocate(byteCount: size, alignment: Int(SegmentPlace.block))
    }

    deinit { memory.deallocate() }

    var isFull: Bool { filled == memory.count }

    /// - Returns: the number of bytes that were copied.
    func take(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int {
        let part = bytes.prefix(memory.count - filled)
        UnsafeMutableRawBufferPointer(rebasing: memory[filled...])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
        filled += part.count
        return part.count
    }

    /// Fills up to the next block with zeros, because the memory contains earlier data.
    func pad() {
        let end = Int(SegmentPlace.blockEnd(Int64(filled)))
        UnsafeMutableRawBufferPointer(rebasing: memory[filled..<end]).initializeMemory(as: UInt8.self, repeating: 0)
        filled = end
    }

    /// The content, valid until more is appended.
    func empty() -> Slice<UnsafeRawBufferPointer> {
        defer { filled = 0 }
        return UnsafeRawBufferPointer(rebasing: memory[..<filled])[...]
    }
}
