package import NIOCore
package import NIOHTTP1

/// Writes HTTP/1.1 messages as bytes: heads, and what frames the pieces of a body. One value for each direction of a
/// connection.
///
/// The bytes are those of NIO's encoders without automatic framing. It is for proxied requests, which are many and
/// small: a head is one buffer, and its parts pass no handler that would have to unwrap them.
package struct HTTPMessageWriter {
    /// Whether the body of the present message is sent in chunks.
    private var isChunked = false

    package init() {}

    /// The head of a request. Its version is HTTP/1.1.
    package mutating func head(_ head: HTTPRequestHead) -> ByteBuffer {
        write("", head.method.rawValue, head.uri, " HTTP/1.1\r\n", head.headers)
    }

    /// The head of a response, final or interim. Its version is HTTP/1.1.
    package mutating func head(_ head: HTTPResponseHead) -> ByteBuffer {
        write("HTTP/1.1 ", String(head.status.code), head.status.reasonPhrase, "\r\n", head.headers)
    }

    /// Gives the bytes of a piece of the body to `send`, in up to three calls.
    package func body(_ bytes: ByteBuffer, to send: (ByteBuffer) -> Void) {
        // An empty chunk would end the body.
        guard isChunked, bytes.readableBytes > 0 else { return send(bytes) }
        var frame = ByteBufferAllocator().buffer(capacity: 32)
        frame.writeString(String(bytes.readableBytes, radix: 16))
        frame.writeStaticString("\r\n")
        send(frame)
        send(bytes)
        frame.moveReaderIndex(forwardBy: frame.readableBytes - 2)
        send(frame)
    }

    /// What ends the body; `nil`: nothing. Trailers are dropped where the body is not sent in chunks.
    package func end(_ trailers: HTTPHeaders?) -> ByteBuffer? {
        guard isChunked else { return nil }
        guard let trailers else { return Self.lastChunk }
        var coding: String?
        return Self.lines(after: "0", "", "", "\r\n", trailers, coding: &coding)
    }

    private static let lastChunk = ByteBuffer(string: "0\r\n\r\n")

    private mutating func write(
        _ begin: StaticString, _ first: String, _ second: String, _ end: StaticString, _ fields: HTTPHeaders
    ) -> ByteBuffer {
        var coding: String?
        let bytes = Self.lines(after: begin, first, second, end, fields, coding: &coding)
        isChunked = coding == "chunked"
        return bytes
    }

    /// A first line, fields, and the empty line.
    ///
    /// - Parameter coding: gets the value of the first `Transfer-Encoding`.
    private static func lines(
        after begin: StaticString, _ first: String, _ second: String, _ end: StaticString, _ fields: HTTPHeaders,
        coding: inout String?
    ) -> ByteBuffer {
        var bytes = ByteBufferAllocator().buffer(capacity: 1024)
        bytes.writeStaticString(begin)
        if first.isEmpty { bytes.writeStaticString(end) } else { bytes.writeLine(first, " ", second, end) }
        var count = 2
        for (name, value) in fields {
            count += 1
            bytes.writeLine(name, ": ", value, "\r\n")
            if coding == nil, name.isTransferEncoding { coding = value }
        }
        bytes.writeStaticString("\r\n")
        // The parsers accept no such byte in a head. One that came another way must not add a line.
        guard bytes.hasOnly(lineEnds: count) else {
            let harmless = fields.map { ($0.withoutSeparators, $1.withoutSeparators) }
            return lines(
                after: begin, first.withoutSeparators, second.withoutSeparators, end, HTTPHeaders(harmless),
                coding: &coding)
        }
        return bytes
    }
}

extension ByteBuffer {
    /// Writes two texts and what stands behind each.
    @inline(__always)
    fileprivate mutating func writeLine(
        _ first: String, _ separator: StaticString, _ second: String, _ end: StaticString
    ) {
        let count =
            first.utf8.count + separator.utf8CodeUnitCount + second.utf8.count + end.utf8CodeUnitCount
        writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            var rest = target
            rest.take(first)
            separator.withUTF8Buffer { rest.take($0) }
            rest.take(second)
            end.withUTF8Buffer { rest.take($0) }
            return target.count - rest.count
        }
    }

    /// Whether there are `count` line ends, and no other CR, LF or NUL.
    fileprivate func hasOnly(lineEnds count: Int) -> Bool {
        withUnsafeReadableBytes { bytes in
            // Nearly always the only bytes below 14. A tab is another one.
            bytes.countBelow14 == 2 * count
                || bytes.reduce(0) { $0 + ($1 == 0x0D || $1 == 0x0A || $1 == 0 ? 1 : 0) } == 2 * count
        }
    }
}

extension UnsafeRawBufferPointer {
    /// How many bytes are smaller than 14; eight at a time.
    fileprivate var countBelow14: Int {
        var total = 0
        var index = 0
        while index + 8 <= count {
            let word = loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // The highest bit of each byte that is 14 or more.
            let others = ((word & 0x7F7F_7F7F_7F7F_7F7F) &+ 0x7272_7272_7272_7272) | word
            let below = (~others & 0x8080_8080_8080_8080) >> 7
            total += Int((below &* 0x0101_0101_0101_0101) >> 56)
            index += 8
        }
        while index < count {
            if self[index] < 14 { total += 1 }
            index += 1
        }
        return total
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Copies a text to the beginning, which it removes.
    @inline(__always)
    fileprivate mutating func take(_ text: String) {
        var text = text
        text.withUTF8 { take($0) }
    }

    @inline(__always)
    fileprivate mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) {
        copyMemory(from: UnsafeRawBufferPointer(bytes))
        self = UnsafeMutableRawBufferPointer(rebasing: self[bytes.count...])
    }
}

extension String {
    fileprivate var isTransferEncoding: Bool {
        // Few names begin like it.
        utf8.count == 17 && utf8.first.map { $0 | 0x20 } == UInt8(ascii: "t") && lowercased() == "transfer-encoding"
    }

    /// With a space in the place of each CR, LF and NUL (RFC 9110 §5.5).
    fileprivate var withoutSeparators: String {
        String(decoding: utf8.map { [0x0D, 0x0A, 0].contains($0) ? 0x20 : $0 }, as: UTF8.self)
    }
}
