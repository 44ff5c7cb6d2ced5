/// The unit of the conversation with `PodInit`: fields of text in a frame (docs/pod-init.md).
///
/// On the wire a frame is its length (four bytes, big-endian) and its fields, each ended by a NUL byte.
package enum Frame {
    /// The longest frame either side accepts, in bytes without the length.
    package static let limit = 1 << 20

    /// A NUL inside a field would end it early; it becomes U+FFFD.
    package static func encode(_ fields: [String]) -> [UInt8] {
        var bytes: [UInt8] = [0, 0, 0, 0]
        for field in fields {
            for byte in field.utf8 {
                if byte == 0 { bytes.append(contentsOf: [0xEF, 0xBF, 0xBD]) } else { bytes.append(byte) }
            }
            bytes.append(0)
        }
        let count = UInt32(truncatingIfNeeded: bytes.count - 4)
        for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: count >> UInt32(24 - 8 * index)) }
        return bytes
    }
}

/// Why a conversation cannot go on.
package enum FrameError: Error, Sendable, Equatable {
    /// Longer than ``Frame/limit``.
    case tooLong(Int)
    /// More fields than the reader takes.
    case tooManyFields
    /// The last field has no end.
    case unterminated
}

/// Cuts received bytes into frames. Holds at most one frame and what came with it.
package struct FrameDecoder: Sendable {
    private var buffer: [UInt8] = []
    /// Where the next frame begins: bytes before it are dropped when more arrive, so that many small frames cost no
    /// copying each.
    private var start = 0

    private let fieldLimit: Int

    /// - Parameter fieldLimit: fields that one frame may have, so that a frame of nothing but ends of fields does not
    ///   become a million strings.
    package init(fieldLimit: Int = .max) {
        self.fieldLimit = fieldLimit
    }

    /// Adds bytes that came from the other side.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer.append(contentsOf: bytes)
    }

    /// The fields of the next frame, or `nil` until it is complete. Bytes that are no UTF-8 become U+FFFD.
    package mutating func next() throws(FrameError) -> [String]? {
        guard buffer.count - start >= 4 else { return nil }
        var count = 0
        for byte in buffer[start..<start + 4] { count = count << 8 | Int(byte) }
        guard count <= Frame.limit else { throw .tooLong(count) }
        let end = start + 4 + count
        guard buffer.count >= end else { return nil }
        var fields: [String] = []
        var field = start + 4
        for index in field..<end where buffer[index] == 0 {
            guard fields.count < fieldLimit else { throw .tooManyFields }
            fields.append(String(decoding: buffer[field..<index], as: UTF8.self))
            field = index + 1
        }
        guard field == end else { throw .unterminated }
        start = end
        if start == buffer.count {
            buffer = []
            start = 0
        }
        return fields
    }
}
