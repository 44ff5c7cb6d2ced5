/// JSON is YAML with one exception: it writes characters beyond the first 65536 as two escapes (`\ud83d\ude00`), which
/// YAML refuses.
enum JSONSurrogates {
    /// The same text with such pairs replaced by the character, if it is JSON; any other text unchanged.
    static func joined(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard bytes.first(where: { !isSpace($0) }).map({ $0 == UInt8(ascii: "[") }) == true else { return bytes }
        var output: [UInt8] = []
        var changed = false
        var inString = false
        var position = bytes.startIndex
        while position < bytes.endIndex {
            let byte = bytes[position]
            if !inString {
                guard isStructure(byte) else { return bytes }
                inString = byte == UInt8(ascii: "\"")
            } else if byte == UInt8(ascii: "\"") {
                inString = false
            } else if byte == UInt8(ascii: "\\") {
                if let scalar = pair(bytes[position...]) {
                    output += Array(String(scalar).utf8)
                    changed = true
                    position += 12
                    continue
                }
                output.append(byte)
                position += 1
                guard position < bytes.endIndex else { break }
            }
            output.append(bytes[position])
            position += 1
        }
        return changed ? output[...] : bytes
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }

    /// The characters of JSON outside of strings.
    private static func isStructure(_ byte: UInt8) -> Bool {
        isSpace(byte) || isAlphanumeric(byte) || "{}[],:\"+-.".utf8.contains(byte)
    }

    private static func pair(_ bytes: ArraySlice<UInt8>) -> Unicode.Scalar? {
        guard bytes.count >= 12, let high = unit(bytes.prefix(6)), let low = unit(bytes.dropFirst(6).prefix(6)),
            (0xD800...0xDBFF).contains(high), (0xDC00...0xDFFF).contains(low)
        else { return nil }
        return Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))
    }

    private static func unit(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        guard bytes.starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) else { return nil }
        let digits = bytes.dropFirst(2)
        guard digits.allSatisfy({ isAlphanumeric($0) }) else { return nil }
        return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}
