/// Values of header fields as they come from the parser.
package enum HeaderValue {
    /// A value without the spaces and tabs around it, which do not belong to it (RFC 9110 §5.5). The parser leaves
    /// those at the end.
    package static func trimmed(_ value: String) -> String {
        guard let first = value.utf8.first, let last = value.utf8.last, isSpace(first) || isSpace(last) else {
            return value
        }
        var text = value[...]
        while let first = text.utf8.first, isSpace(first) { text.removeFirst() }
        while let last = text.utf8.last, isSpace(last) { text.removeLast() }
        return String(text)
    }

    /// Whether a field's name is this one, written in lower case.
    static func isName(_ name: String, _ known: StaticString) -> Bool {
        var name = name
        return name.withUTF8 { bytes in
            guard bytes.count == known.utf8CodeUnitCount else { return false }
            for index in 0..<bytes.count {
                let byte = bytes[index]
                let lower = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
                guard lower == known.utf8Start[index] else { return false }
            }
            return true
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
}
