package import Foundation

/// Decodes documents of the platform in which values of callers and containers stand as they were sent: any JSON
/// (contract C5). `JSONDecoder` reads less than that. What it cannot read is replaced, and only in a document that it
/// cannot read otherwise: numbers without a `Double` become strings, halves of surrogate pairs U+FFFD, and deeply
/// nested arrays and objects `null`.
package enum AnswerDecoder {
    /// Levels of nesting that are kept. `JSONDecoder` reads 512.
    private static let depth = 256

    /// - Throws: `DecodingError`.
    package static func decode<Document: Decodable>(_ type: Document.Type, from text: Data) throws -> Document {
        do {
            return try JSONDecoder().decode(type, from: text)
        } catch {
            let readable = Data(readable(Array(text)))
            guard readable != text else { throw error }
            return try JSONDecoder().decode(type, from: readable)
        }
    }

    private static func readable(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var (position, level) = (0, 0)
        while position < text.count {
            let end: Int
            switch text[position] {
            case UInt8(ascii: "\""):
                end = endOfString(text, position)
                if level <= depth { appendString(text[position..<end], to: &result) }
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                end = position + 1
                level += 1
                if level <= depth { result.append(text[position]) }
                if level == depth + 1 { result += Array("null".utf8) }
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                end = position + 1
                if level <= depth { result.append(text[position]) }
                level -= 1
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                end = text[position...].firstIndex { !isInNumber($0) } ?? text.count
                if level <= depth { appendNumber(text[position..<end], to: &result) }
            default:
                end = position + 1
                if level <= depth { result.append(text[position]) }
            }
            position = end
        }
        return result
    }

    private static func endOfString(_ text: [UInt8], _ start: Int) -> Int {
        var position = start + 1
        while position < text.count, text[position] != UInt8(ascii: "\"") {
            position += text[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(position + 1, text.count)
    }

    private static func isInNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    private static func appendNumber(_ number: ArraySlice<UInt8>, to result: inout [UInt8]) {
        let value = Double(String(decoding: number, as: UTF8.self))
        let digits = number.prefix { $0 != UInt8(ascii: "e") && $0 != UInt8(ascii: "E") }
        let isZero = !digits.contains { (UInt8(ascii: "1")...UInt8(ascii: "9")).contains($0) }
        if let value, value.isFinite, isZero || (value.isNormal && digits.count <= 400) {
            result += number
        } else {
            result += [UInt8(ascii: "\"")] + number + [UInt8(ascii: "\"")]
        }
    }

    private static func appendString(_ string: ArraySlice<UInt8>, to result: inout [UInt8]) {
        var rest = string
        while let escape = rest.firstIndex(of: UInt8(ascii: "\\")) {
            result += rest[..<escape]
            rest = rest[escape...]
            guard let high = unit(rest) else {
                result += rest.prefix(2)
                rest = rest.dropFirst(2)
                continue
            }
            let low = unit(rest.dropFirst(6))
            if UTF16.isLeadSurrogate(high), let low, UTF16.isTrailSurrogate(low) {
                result += rest.prefix(12)
                rest = rest.dropFirst(12)
            } else {
                let isHalf = UTF16.isLeadSurrogate(high) || UTF16.isTrailSurrogate(high)
                result += isHalf ? ArraySlice("\\uFFFD".utf8) : rest.prefix(6)
                rest = rest.dropFirst(6)
            }
        }
        result += rest
    }

    /// The value of the escape `\uXXXX` that the text begins with.
    private static func unit(_ text: ArraySlice<UInt8>) -> UInt16? {
        guard text.count >= 6, text.starts(with: Array("\\u".utf8)) else { return nil }
        return UInt16(String(decoding: text.dropFirst(2).prefix(4), as: UTF8.self), radix: 16)
    }
}
