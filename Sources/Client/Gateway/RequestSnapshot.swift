package import Core
import Foundation
package import NIOCore

/// A request as the gateway showed it. The result and the whole document are kept byte for byte (contract C5).
package struct RequestSnapshot: Sendable, Hashable {
    package var id: RequestID
    package var status: RequestStatus
    /// Deliveries that counted; only known once it has failed.
    package var attempts: Int?
    /// When it ended: RFC 3339, UTC.
    package var timestamp: String?
    /// Only for `failed`.
    package var error: RequestFailure?
    /// The container's JSON, verbatim; only for `completed`.
    package var result: ByteBuffer?
    /// The whole answer, verbatim.
    package var document: ByteBuffer

    /// Reads the gateway's GET document.
    ///
    /// - Throws: ``PlatformError`` `internal` when it is something else; asking again would not help.
    package init(document: ByteBuffer) throws {
        func wrong(_ cause: (any Error)? = nil) -> PlatformError {
            PlatformError(
                .internal,
                "the gateway's answer is not understood; compare both versions with: cortex version", cause: cause)
        }
        guard let members = TopLevelMembers(document) else { throw wrong() }
        func decode<Value: Decodable>(_ type: Value.Type, _ key: String) throws -> Value? {
            guard let text = members[key] else { return nil }
            return try JSONDecoder().decode(Optional<Value>.self, from: Data(buffer: text))
        }
        do {
            guard let id = try decode(RequestID.self, "id"), let status = try decode(RequestStatus.self, "status")
            else { throw wrong() }
            self.id = id
            self.status = status
            self.attempts = try decode(Int.self, "attempts")
            self.timestamp = try decode(String.self, "timestamp")
            self.error = try decode(RequestFailure.self, "error")
        } catch let error as DecodingError {
            throw wrong(error)
        }
        self.result = status == .completed ? members["result"] : nil
        self.document = document
    }
}

/// The ranges of a JSON object's members in its text, so that one can be cut out without being rewritten.
struct TopLevelMembers {
    private var members: [String: ByteBuffer] = [:]

    /// `nil` when the text is no JSON object. Values are cut, not checked; the last of two equal keys counts.
    init?(_ document: ByteBuffer) {
        let isObject = document.withUnsafeReadableBytes { bytes -> Bool in
            var scanner = Scanner(bytes: bytes)
            scanner.skipSpace()
            guard scanner.take("{") else { return false }
            scanner.skipSpace()
            if scanner.take("}") { return scanner.isAtEnd }
            while true {
                scanner.skipSpace()
                guard let key = scanner.string() else { return false }
                scanner.skipSpace()
                guard scanner.take(":") else { return false }
                guard let value = scanner.value() else { return false }
                guard
                    let name = try? JSONDecoder().decode(String.self, from: Data(bytes[key])),
                    let slice = document.getSlice(
                        at: document.readerIndex + value.lowerBound, length: value.count)
                else { return false }
                members[name] = slice
                if scanner.take(",") { continue }
                return scanner.take("}") && scanner.isAtEnd
            }
        }
        guard isObject else { return nil }
    }

    subscript(key: String) -> ByteBuffer? { members[key] }

    private struct Scanner {
        let bytes: UnsafeRawBufferPointer
        var position = 0

        init(bytes: UnsafeRawBufferPointer) {
            self.bytes = bytes
        }

        var isAtEnd: Bool {
            mutating get {
                skipSpace()
                return position == bytes.count
            }
        }

        mutating func skipSpace() {
            while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
        }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
            position += 1
            return true
        }

        /// A string with its quotes.
        mutating func string() -> Range<Int>? {
            let start = position
            guard take("\"") else { return nil }
            while position < bytes.count {
                switch bytes[position] {
                case UInt8(ascii: "\\"): position += 2
                case UInt8(ascii: "\""):
                    position += 1
                    return start..<position
                default: position += 1
                }
            }
            return nil
        }

        /// Any value, without the white space around it: up to the comma or the bracket that ends it.
        mutating func value() -> Range<Int>? {
            skipSpace()
            let start = position
            var depth = 0
            while position < bytes.count {
                switch bytes[position] {
                case UInt8(ascii: "\""):
                    guard string() != nil else { return nil }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["):
                    depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    if depth == 0 { return trimmed(start..<position) }
                    depth -= 1
                case UInt8(ascii: ",") where depth == 0:
                    return trimmed(start..<position)
                default:
                    break
                }
                position += 1
            }
            return nil
        }

        private func trimmed(_ range: Range<Int>) -> Range<Int>? {
            var end = range.upperBound
            while end > range.lowerBound, Self.isSpace(bytes[end - 1]) { end -= 1 }
            return end > range.lowerBound ? range.lowerBound..<end : nil
        }

        private static func isSpace(_ byte: UInt8) -> Bool {
            byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
        }
    }
}
