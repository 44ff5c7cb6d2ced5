#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Follows the HTTP/1.1 messages in the bytes of one direction of a connection, as far as strictness requires what
/// the parser reads and does not show: the line ends before a request, and the sizes of chunks (contract R27). A pure
/// value.
///
/// It need not find other faults, because the parser ends the connection at each.
package struct MessageFraming {
    package enum Fault: Sendable, Equatable {
        /// A CR or LF before a request that is not part of CR LF.
        case bareLineEnd
        /// A chunk's size has more than ``MessageFraming/digits``.
        case digits
        /// A chunk declares more than ``MessageFraming/largest`` bytes.
        case size

        /// A sentence without its full stop.
        package var reason: String {
            switch self {
            case .bareLineEnd: "before the request line only empty lines that end with CR LF may stand"
            case .digits: "the size of a chunk has more than \(MessageFraming.digits) hexadecimal digits"
            case .size: "a chunk declares more than \(MessageFraming.largest) bytes, which no body may have"
            }
        }
    }

    private enum Kind {
        case requests
        /// - Parameter isToHead: whether it answers `HEAD`, so that it has no body.
        case response(isToHead: Bool)
    }

    private enum Place {
        case head
        /// The number of bytes that follow, with the line end behind a chunk.
        case body(UInt64, isChunk: Bool)
        case size(UInt64, digits: Int)
        /// Between the size and the end of its line.
        case sizeLine(UInt64)
        case trailer(isAtLineStart: Bool)
        /// No chunks follow, or the bytes are not well-formed, which the parser finds too.
        case over
    }

    package static let digits = 16
    /// Far above every limit of a body. Sums of sizes below it do not overflow.
    package static let largest: UInt64 = 1 << 60
    /// So many bytes of a line suffice for the fields that matter.
    private static let lineBytes = 128

    private let kind: Kind
    private var place: Place
    /// Whether a head has begun, and of it the first line has been read.
    private var isInHead = false
    private var hasFirstLine = false
    /// Whether the last byte was the CR of an empty line before a request.
    private var isAfterReturn = false
    /// What follows the present head, as far as its lines tell.
    private var afterHead = Place.head
    /// The status of the present head, for a response.
    private var status = 0
    /// The beginning of the present line of a head, if earlier reads brought it.
    private var line: [UInt8] = []

    private init(_ kind: Kind, _ place: Place) {
        self.kind = kind
        self.place = place
    }

    /// The requests of a connection.
    package static let requests = MessageFraming(.requests, .head)

    /// One final response, and the interim responses before it.
    ///
    /// - Parameter isToHead: whether it answers `HEAD`, so that it has no body.
    package static func response(isToHead: Bool) -> MessageFraming {
        MessageFraming(.response(isToHead: isToHead), .head)
    }

    /// Bytes that are no messages, or are not expected.
    package static let nothing = MessageFraming(.requests, .over)

    /// Takes the next bytes.
    ///
    /// - Returns: the first fault; `offset` is that of the byte which completes it. No more bytes may be given then.
    package mutating func fault(in bytes: UnsafeRawBufferPointer) -> (fault: Fault, offset: Int)? {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            switch place {
            case .head:
                if !isInHead, case .requests = kind, let offset = takeLineEnds(bytes, from: &index) {
                    return (.bareLineEnd, offset)
                }
                index = takeHead(bytes, from: index)
            case .body(let rest, let isChunk):
                let count = min(rest, UInt64(bytes.count - index))
                index += Int(count)
                guard count == rest else {
                    place = .body(rest - count, isChunk: isChunk)
                    continue
                }
                place = isChunk ? .size(0, digits: 0) : .head
            case .size(let size, let digits):
                if let digit = Self.value(ofHexadecimal: byte) {
                    guard digits < Self.digits else { return (.digits, index) }
                    place = .size(size << 4 | digit, digits: digits + 1)
                    index += 1
                } else {
                    guard digits > 0 else {
                        place = .over
                        return nil
                    }
                    guard size <= Self.largest else { return (.size, index) }
                    place = .sizeLine(size)
                }
            case .sizeLine(let size):
                index += 1
                guard byte == UInt8(ascii: "\n") else { continue }
                place = size > 0 ? .body(size + 2, isChunk: true) : .trailer(isAtLineStart: true)
            case .trailer(let isAtLineStart):
                index += 1
                switch byte {
                case UInt8(ascii: "\r"): break
                case UInt8(ascii: "\n"): place = isAtLineStart ? afterMessage : .trailer(isAtLineStart: true)
                default: place = .trailer(isAtLineStart: false)
                }
            case .over:
                return nil
            }
        }
        return nil
    }

    private var afterMessage: Place {
        switch kind {
        case .requests: .head
        case .response: .over
        }
    }

    /// Takes the empty lines before a request, which are allowed (RFC 9112 §2.2).
    ///
    /// - Returns: the place of a CR or LF that is not part of CR LF.
    private mutating func takeLineEnds(_ bytes: UnsafeRawBufferPointer, from index: inout Int) -> Int? {
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\r") where !isAfterReturn: isAfterReturn = true
            case UInt8(ascii: "\n") where isAfterReturn: isAfterReturn = false
            case UInt8(ascii: "\r"), UInt8(ascii: "\n"): return index
            default: return isAfterReturn ? index : nil
            }
            index += 1
        }
        return nil
    }

    /// Takes bytes of a head, to its end if that is among them.
    ///
    /// - Returns: where the bytes behind it begin.
    private mutating func takeHead(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var start = start
        guard start < bytes.count else { return start }
        if !isInHead {
            isInHead = true
            hasFirstLine = false
            afterHead = afterMessage
        }
        while let end = bytes.firstIndex(of: UInt8(ascii: "\n"), in: start..<bytes.count) {
            let part = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            start = end + 1
            let isEnd: Bool
            if line.isEmpty {
                isEnd = take(line: part)
            } else {
                let whole = line + part.prefix(Self.lineBytes)
                line = []
                isEnd = whole.withUnsafeBytes { take(line: $0) }
            }
            if isEnd {
                isInHead = false
                place = placeAfterHead
                return start
            }
        }
        line += bytes[start...].prefix(max(0, Self.lineBytes - line.count))
        return bytes.count
    }

    private var placeAfterHead: Place {
        guard case .response(let isToHead) = kind else { return afterHead }
        switch status {
        case 101, 204, 304: return .over
        case 100..<200: return .head
        default: return isToHead ? .over : afterHead
        }
    }

    /// - Returns: whether it is the empty line at the end of a head.
    private mutating func take(line: UnsafeRawBufferPointer) -> Bool {
        if line.isEmpty || line.count == 1 && line[0] == UInt8(ascii: "\r") { return true }
        guard hasFirstLine else {
            hasFirstLine = true
            status = 0
            // `HTTP/1.1 200`
            if case .response = kind, line.count >= 12 {
                for byte in line[9..<12] { status = status * 10 + Int(byte) - 48 }
            }
            return false
        }
        if Self.begins(line, with: "transfer-encoding:") {
            afterHead = .size(0, digits: 0)
        } else if case .requests = kind, Self.begins(line, with: "content-length:") {
            let value = line.dropFirst(15).prefix(64).prefix { $0 != UInt8(ascii: "\r") }.drop(while: Self.isSpace)
            let digits = value.prefix { !Self.isSpace($0) }
            if let length = Int64(String(decoding: digits, as: UTF8.self)), length >= 0 {
                afterHead = length > 0 ? .body(UInt64(length), isChunk: false) : .head
            } else {
                afterHead = .over
            }
        }
        return false
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    private static func begins(_ line: UnsafeRawBufferPointer, with name: StaticString) -> Bool {
        guard line.count >= name.utf8CodeUnitCount else { return false }
        // Of the other bytes that differ only in this bit, the parser accepts none in a name.
        return (0..<name.utf8CodeUnitCount).allSatisfy { line[$0] | 0x20 == name.utf8Start[$0] }
    }

    private static func value(ofHexadecimal byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The first place of a byte within a range. Several times as fast as the collection's own search.
    package func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
        guard let baseAddress, let found = memchr(baseAddress + range.lowerBound, Int32(byte), range.count) else {
            return nil
        }
        return UnsafeRawPointer(found) - baseAddress
    }
}
