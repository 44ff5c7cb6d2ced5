import Core
import Foundation

/// Headers and query of a request as one blob: a version byte, whether there is a query, then texts with their lengths
/// (32 bits, big endian). It is shorter than JSON and costs a tenth of it. Any text can be stored, also one with a NUL.
struct RequestHead: Equatable {
    var headers: [HeaderField]
    var query: String?

    init(headers: [HeaderField], query: String?) {
        self.headers = headers
        self.query = query
    }

    struct Damaged: Error {}

    init(decoding data: Data) throws {
        self = try data.withUnsafeBytes { try RequestHead(decoding: $0) }
    }

    init(decoding bytes: UnsafeRawBufferPointer) throws {
        var position = 2
        func text() throws -> String {
            guard bytes.count - position >= 4 else { throw Damaged() }
            let size = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            position += 4
            guard bytes.count - position >= Int(size) else { throw Damaged() }
            defer { position += Int(size) }
            return String(decoding: bytes[position..<position + Int(size)], as: UTF8.self)
        }
        guard bytes.count >= 2, bytes[0] == 1, bytes[1] <= 1 else { throw Damaged() }
        self.query = bytes[1] == 1 ? try text() : nil
        self.headers = []
        while position < bytes.count { headers.append(HeaderField(try text(), try text())) }
    }

    var encoded: Data { Data(bytes) }

    var bytes: [UInt8] {
        var size = 2 + (query?.utf8.count ?? 0) + 4
        for field in headers { size += field.name.utf8.count + field.value.utf8.count + 8 }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        func append(_ text: String) {
            withUnsafeBytes(of: UInt32(text.utf8.count).bigEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: text.utf8)
        }
        bytes.append(1)
        bytes.append(query == nil ? 0 : 1)
        if let query { append(query) }
        for field in headers {
            append(field.name)
            append(field.value)
        }
        return bytes
    }
}
