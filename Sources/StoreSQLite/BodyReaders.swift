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
        case .file(let name, _): try await files.reader(name: name)
        }
    }
}

/// Reads a body that is in memory.
final class InlineBodyReader: BodyReader {
    private let rest: Mutex<ArraySlice<UInt8>>

    init(_ bytes: [UInt8]) { self.rest = Mutex(bytes[...]) }

    func read(upTo limit: Int) async throws -> [UInt8]? {
        rest.withLock { rest in
            guard !rest.isEmpty else { return nil }
            defer { rest = rest.dropFirst(max(1, limit)) }
            return Array(rest.prefix(max(1, limit)))
        }
    }

    func close() async {}
}

/// Reads a body's file from front to back. A file that is removed meanwhile is read to its end all the same.
final class BodyFileReader: BodyReader {
    /// The largest piece, whatever the caller asks for.
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
