import Core
import Foundation

/// Finds the values inside a JSON text that ``JSONValidator`` has accepted, without changing a byte of them.
package struct JSONSlices: Sendable {
    package let bytes: [UInt8]

    /// - Parameter bytes: one valid JSON text; another one makes the results meaningless, but safe.
    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The text without the white space around it.
    package var whole: Range<Int> {
        var start = bytes.startIndex
        while start < bytes.endIndex, JSONText.isWhiteSpace(bytes[start]) { start += 1 }
        var end = bytes.endIndex
        while end > start, JSONText.isWhiteSpace(bytes[end - 1]) { end -= 1 }
        return start..<end
    }

    package func isObject(_ value: Range<Int>) -> Bool { bytes[value].first == UInt8(ascii: "{") }

    /// The members of an object, in its order; `nil` for another value.
    package func members(of value: Range<Int>) -> [(name: String, value: Range<Int>)]? {
        guard isObject(value) else { return nil }
        var members: [(name: String, value: Range<Int>)] = []
        bytes.withUnsafeBufferPointer { bytes in
            var position = value.lowerBound + 1
            while let start = Self.next(in: bytes, from: position, upTo: value.upperBound) {
                guard bytes[start] == UInt8(ascii: "\"") else { return }
                let end = Self.end(of: start, in: bytes, upTo: value.upperBound)
                let name = Self.text(bytes[start..<end])
                guard let colon = Self.next(in: bytes, from: end, upTo: value.upperBound),
                    let first = Self.next(in: bytes, from: colon + 1, upTo: value.upperBound)
                else { return }
                position = Self.end(of: first, in: bytes, upTo: value.upperBound)
                members.append((name, first..<position))
                guard let separator = Self.next(in: bytes, from: position, upTo: value.upperBound),
                    bytes[separator] == UInt8(ascii: ",")
                else { return }
                position = separator + 1
            }
        }
        return members
    }

    /// The elements of an array; `nil` for another value.
    package func elements(of value: Range<Int>) -> [Range<Int>]? {
        guard bytes[value].first == UInt8(ascii: "[") else { return nil }
        var elements: [Range<Int>] = []
        bytes.withUnsafeBufferPointer { bytes in
            var position = value.lowerBound + 1
            while let start = Self.next(in: bytes, from: position, upTo: value.upperBound) {
                guard bytes[start] != UInt8(ascii: "]") else { return }
                position = Self.end(of: start, in: bytes, upTo: value.upperBound)
                elements.append(start..<position)
                guard let separator = Self.next(in: bytes, from: position, upTo: value.upperBound),
                    bytes[separator] == UInt8(ascii: ",")
                else { return }
                position = separator + 1
            }
        }
        return elements
    }

    /// The position of the next byte that is not white space.
    private static func next(in bytes: UnsafeBufferPointer<UInt8>, from start: Int, upTo end: Int) -> Int? {
        var position = start
        while position < end, JSONText.isWhiteSpace(bytes[position]) { position += 1 }
        return position < end ? position : nil
    }

    /// The position behind the value that begins at `start`. No recursion, so no depth breaks it.
    private static func end(of start: Int, in bytes: UnsafeBufferPointer<UInt8>, upTo end: Int) -> Int {
        switch bytes[start] {
        case UInt8(ascii: "\""): return endOfString(start, in: bytes, upTo: end)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            var depth = 0
            var position = start
            while position < end {
                switch bytes[position] {
                case UInt8(ascii: "\""):
                    position = endOfString(position, in: bytes, upTo: end)
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 { return position + 1 }
                default: break
                }
                position += 1
            }
            return end
        default:
            var position = start
            while position < end {
                switch bytes[position] {
                case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ":"): return position
                case let byte where JSONText.isWhiteSpace(byte): return position
                default: position += 1
                }
            }
            return end
        }
    }

    private static func endOfString(_ start: Int, in bytes: UnsafeBufferPointer<UInt8>, upTo end: Int) -> Int {
        var position = start + 1
        while position < end {
            switch bytes[position] {
            case UInt8(ascii: "\\"): position += 2
            case UInt8(ascii: "\""): return position + 1
            default: position += 1
            }
        }
        return end
    }

    /// The text of a string with its quotes.
    private static func text(_ quoted: Slice<UnsafeBufferPointer<UInt8>>) -> String {
        let inner = quoted.dropFirst().dropLast()
        guard inner.contains(UInt8(ascii: "\\")) else { return String(decoding: inner, as: UTF8.self) }
        return decoded(Array(quoted)) ?? String(decoding: inner, as: UTF8.self)
    }

    /// The text of a string value; `nil` for another value.
    package func string(_ value: Range<Int>) -> String? {
        guard bytes[value].first == UInt8(ascii: "\"") else { return nil }
        return Self.decoded(Array(bytes[value]))
    }

    /// `nil` for what is no string, and for one with half a surrogate pair.
    private static func decoded(_ quoted: [UInt8]) -> String? {
        try? JSONDecoder().decode(String.self, from: Data(quoted))
    }

    /// The number of a value that is an integer without fraction and exponent; `nil` for another value.
    package func integer(_ value: Range<Int>) -> Int? { Int(String(decoding: bytes[value], as: UTF8.self)) }

    package func isNull(_ value: Range<Int>) -> Bool { bytes[value].elementsEqual("null".utf8) }
}
