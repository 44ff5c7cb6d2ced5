import Core
import NIOCore
import NIOHTTP1

/// Refuses chunks by the sizes that they declare, which the parser reads and does not show (contract R27).
///
/// Stands between the guard and the parser, and takes nothing from the parser but what it refuses itself.
final class ChunkSizeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var sizes = ChunkSizes()
    private let guardian: ConnectionGuard

    init(_ guardian: ConnectionGuard) {
        self.guardian = guardian
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let refusal = bytes.withUnsafeReadableBytes { sizes.refusal(in: $0) }
        guard let refusal, hasParser(context) else { return context.fireChannelRead(data) }
        // The requests before it are served.
        if let before = bytes.readSlice(length: refusal.offset), refusal.offset > 0 {
            context.fireChannelRead(wrapInboundOut(before))
        }
        guardian.refuse(refusal.reason.fault)
    }

    /// Not so once the channel was handed over: then the bytes are no requests.
    private func hasParser(_ context: ChannelHandlerContext) -> Bool {
        let name = ByteToMessageHandler<HTTPRequestDecoder>.self
        return (try? context.pipeline.syncOperations.context(handlerType: name)) != nil
    }
}

@available(*, unavailable)
extension ChunkSizeHandler: Sendable {}

/// Follows the requests in the bytes of a connection as far as the sizes of chunks require it. A pure value.
///
/// It need not find faults of framing, because the parser ends the connection at each.
struct ChunkSizes {
    enum Reason: Equatable {
        case digits
        case size

        var fault: HTTPFault {
            switch self {
            case .digits:
                HTTPFault(
                    PlatformError(
                        .badRequest, "the size of a chunk has more than \(ChunkSizes.digits) hexadecimal digits"))
            case .size:
                HTTPFault(
                    PlatformError(
                        .payloadTooLarge,
                        "a chunk declares more than \(ChunkSizes.largest) bytes, which no body may have"
                    ))
            }
        }
    }

    private enum Place {
        case head
        /// The number of bytes that follow, with the line end behind a chunk.
        case body(UInt64, isChunk: Bool)
        case size(UInt64, digits: Int)
        /// Between the size and the end of its line.
        case sizeLine(UInt64)
        case trailer(isAtLineStart: Bool)
        /// The bytes are no well-formed requests, which the parser finds too.
        case unknown
    }

    fileprivate static let digits = 16
    /// Far above every limit of a body. Sums of sizes below it do not overflow.
    fileprivate static let largest: UInt64 = 1 << 60
    /// So many bytes of a line suffice for the fields that matter.
    private static let lineBytes = 128

    private var place = Place.head
    /// Whether a head has begun.
    private var isInHead = false
    /// What follows the present head, as far as its lines tell.
    private var afterHead = Place.head
    /// The beginning of the present line of a head, if earlier reads brought it.
    private var line: [UInt8] = []

    /// Takes the next bytes.
    ///
    /// - Returns: the first chunk to refuse; `offset` is that of the byte which completes the reason. No more bytes may
    ///   be given then.
    mutating func refusal(in bytes: UnsafeRawBufferPointer) -> (reason: Reason, offset: Int)? {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            switch place {
            case .head:
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
                        place = .unknown
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
                case UInt8(ascii: "\n"): place = isAtLineStart ? .head : .trailer(isAtLineStart: true)
                default: place = .trailer(isAtLineStart: false)
                }
            case .unknown:
                return nil
            }
        }
        return nil
    }

    /// Takes bytes of a head, to its end if that is among them.
    ///
    /// - Returns: where the bytes behind it begin.
    private mutating func takeHead(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var start = start
        if !isInHead {
            // Empty lines before a request are allowed.
            while start < bytes.count, bytes[start] == UInt8(ascii: "\r") || bytes[start] == UInt8(ascii: "\n") {
                start += 1
            }
            guard start < bytes.count else { return start }
            isInHead = true
            afterHead = .head
        }
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
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
                place = afterHead
                return start
            }
        }
        line += bytes[start...].prefix(max(0, Self.lineBytes - line.count))
        return bytes.count
    }

    /// - Returns: whether it is the empty line at the end of a head.
    private mutating func take(line: UnsafeRawBufferPointer) -> Bool {
        if line.isEmpty || line.count == 1 && line[0] == UInt8(ascii: "\r") { return true }
        if Self.begins(line, with: "transfer-encoding:") {
            afterHead = .size(0, digits: 0)
        } else if Self.begins(line, with: "content-length:") {
            let value = line.dropFirst(15).prefix(64).prefix { $0 != UInt8(ascii: "\r") }
            let text = HeaderValue.trimmed(String(decoding: value, as: UTF8.self))
            if let length = Int64(text), length >= 0 {
                afterHead = length > 0 ? .body(UInt64(length), isChunk: false) : .head
            } else {
                afterHead = .unknown
            }
        }
        return false
    }

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
