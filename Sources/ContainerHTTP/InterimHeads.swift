import NIOCore

/// Removes the option `close` from the `Connection` fields of interim responses (1xx but not 101): the parser ends
/// behind a head that has it, and the final response would be lost (contract R6). One value per response.
///
/// The option concerns the connection behind the final response, which has a `Connection` field of its own.
struct InterimHeads {
    private static let headEnd = Array("\r\n\r\n".utf8)
    private static let begin = Array("HTTP/1.1 1".utf8)

    /// The final response has begun.
    private var isOver = false
    /// The beginning of a head that is not complete.
    private var held: ByteBuffer?

    /// Takes the next bytes of a response.
    ///
    /// - Returns: the bytes to parse now: all but an interim head whose end is missing. The caller limits how many of
    ///   those may arrive.
    mutating func pass(_ bytes: ByteBuffer) -> ByteBuffer {
        if isOver { return bytes }
        var bytes = bytes
        if var all = held.take() {
            all.writeBuffer(&bytes)
            bytes = all
        }
        var start = bytes.readerIndex
        while start < bytes.writerIndex {
            let rest = bytes.readableBytesView[start...]
            guard let isInterim = Self.isInterim(rest) else { return hold(from: start, of: bytes) }
            guard isInterim else {
                isOver = true
                return bytes
            }
            guard let end = rest.firstRange(of: Self.headEnd)?.upperBound else { return hold(from: start, of: bytes) }
            Self.removeClose(&bytes, start..<end)
            start = end
        }
        return bytes
    }

    private mutating func hold(from start: Int, of bytes: ByteBuffer) -> ByteBuffer {
        var bytes = bytes
        let ready = bytes.readSlice(length: start - bytes.readerIndex) ?? ByteBuffer()
        held = bytes
        return ready
    }

    /// Whether an interim head begins here; `nil` while that is not known.
    private static func isInterim(_ bytes: ByteBufferView) -> Bool? {
        // Nearly every response is a final one.
        if bytes.count >= begin.count, bytes[bytes.startIndex + begin.count - 1] != begin.last { return false }
        guard zip(bytes, begin).allSatisfy({ $0 == $1 }) else { return false }
        guard bytes.count >= begin.count + 2 else { return nil }
        return !bytes.dropFirst(begin.count).starts(with: "01".utf8)
    }

    /// Replaces the option by spaces, so that all else stays in its place.
    private static func removeClose(_ bytes: inout ByteBuffer, _ head: Range<Int>) {
        for line in bytes.readableBytesView[head].split(separator: UInt8(ascii: "\n")) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
            // The parser treats both alike.
            guard name == "connection" || name == "proxy-connection" else { continue }
            for option in line[(colon + 1)...].split(whereSeparator: { ",\t\r ".utf8.contains($0) })
            where String(decoding: option, as: UTF8.self).lowercased() == "close" {
                bytes.setRepeatingByte(UInt8(ascii: " "), count: option.count, at: option.startIndex)
            }
        }
    }
}
