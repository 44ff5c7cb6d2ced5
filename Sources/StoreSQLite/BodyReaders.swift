package import Core
import Foundation
import Synchronization

extension SQLiteStore {
    package func makeBodyWriter() async throws -> any BodyWriter {
        BodyFileWriter(files: files, committer: committer)
    }

    package func reader(of body: Body) async throws -> any BodyReader {
        switch body {
        case .inline(let bytes): InlineBodyReader(bytes)
        case .stored(let name, _): try await files.reader(name: name)
        }
    }
}

/// Reads a body that is in memory.
final class InlineBodyReader: BodyReader {
    private let state: Mutex<(bytes: [UInt8], offset: Int)>

    init(_ bytes: [UInt8]) { self.state = Mutex((bytes, 0)) }

    func read(upTo limit: Int) async throws -> [UInt8]? {
        state.withLock { state in
            let end = state.offset + min(max(1, limit), state.bytes.count - state.offset)
            guard state.offset < end else { return nil }
            // The array is neither copied nor kept longer than necessary.
            if state.offset == 0, end == state.bytes.count {
                defer { state.bytes = [] }
                return state.bytes
            }
            defer { state.offset = end }
            return Array(state.bytes[state.offset..<end])
        }
    }

    func close() async {}
}

/// Reads a body's file from the beginning to the end. A file that is removed meanwhile can still be read to its end.
final class BodyFileReader: BodyReader {
    /// The largest piece, independent of the caller's limit.
    static let pieceLimit = 1 << 20

    private let files: BodyFiles
    private let lane: Int
    private let state: Mutex<(descriptor: OwnedDescriptor?, offset: Int)>

    init(files: BodyFiles, lane: Int, descriptor: OwnedDescriptor) {
        self.files = files
        self.lane = lane
        self.state = Mutex((descriptor, 0))
    }

    func read(upTo limit: Int) async throws -> [UInt8]? {
        let (present, offset) = state.withLock { $0 }
        guard let present else { throw PlatformError(.internal, "A body was read after it was closed.") }
        let size = min(max(1, limit), Self.pieceLimit)
        let bytes = try await files.run(lane: lane) {
            try Self.read(present, size: size, offset: offset)
        }
        guard !bytes.isEmpty else { return nil }
        state.withLock { $0.offset += bytes.count }
        return bytes
    }

    func close() async {
        state.withLock { $0.descriptor = nil }
    }

    private static func read(_ descriptor: OwnedDescriptor, size: Int, offset: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while true {
                let got = pread(descriptor.value, buffer.baseAddress, size, offset)
                if got < 0 {
                    if errno == EINTR { continue }
                    throw StoreFailure.SystemCall("read body")
                }
                count = got
                return
            }
        }
    }
}
