/// The reason why a text is not JSON (contract A3). Determined only after the text is known to be invalid.
extension JSONValidator {
    /// - Parameters:
    ///   - fault: the position in `bytes` of the first byte that is not allowed there.
    ///   - bytes: the current piece; earlier bytes are no longer available.
    func reason(at fault: Int, in bytes: UnsafeRawBufferPointer) -> String {
        guard fault < bytes.count else { return "the text is not JSON" }
        let byte = bytes[fault]
        switch state {
        case .value, .valueOrEndOfArray: return valueReason(byte, fault, bytes)
        case .minus:
            if let word = Self.word(at: fault, in: bytes) { return Self.wordReason("-" + word) }
            return "a digit was expected after the minus sign"
        case .literal:
            // The letters before this one were those of true, false or null.
            var start = fault
            while start > 0, Self.isLetter(bytes[start - 1]) { start -= 1 }
            guard let word = Self.word(at: start, in: bytes) else { return "true, false or null was expected" }
            return Self.wordReason(word)
        case .zero where byte &- 48 < 10: return "a number must not begin with 0"
        case .afterValue, .zero, .integer, .fraction, .exponent:
            if stack.isEmpty { return "something follows the value" }
            if Self.isComment(byte, fault, bytes) { return Self.comments }
            if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
                return stack.last ? "an object is closed with ]" : "a list is closed with }"
            }
            return stack.last
                ? "a comma or the end of the object was expected" : "a comma or the end of the list was expected"
        case .name where byte == UInt8(ascii: "}"): return "a comma stands before }"
        case .nameOrEndOfObject, .name:
            if Self.isComment(byte, fault, bytes) { return Self.comments }
            return byte == UInt8(ascii: "'") ? Self.singleQuotes : "a name in double quotes was expected"
        case .colon: return "a colon was expected after a name"
        case .string:
            return byte < 0x20 ? "a control character stands in a string; write it as an escape" : Self.notUTF8
        case .continuation: return Self.notUTF8
        case .escape: return "a string has an unknown escape"
        case .unicodeEscape: return "a \\u escape has no four hexadecimal digits"
        case .point, .exponentMark, .exponentSign: return "a digit was expected"
        case .failed: return "the text is not JSON"
        }
    }

    /// The reason why the text is not JSON if it ends here.
    var reasonOfEnd: String {
        switch state {
        case .value where stack.isEmpty: consumed == 0 ? "it is empty" : "it holds only white space"
        case .string, .escape, .unicodeEscape, .continuation: "it ends too early, within a string"
        case _ where !stack.isEmpty:
            stack.last ? "it ends too early, within an object" : "it ends too early, within a list"
        default: "it ends too early"
        }
    }

    private func valueReason(_ byte: UInt8, _ fault: Int, _ bytes: UnsafeRawBufferPointer) -> String {
        if consumed == 0, fault == 0 {
            switch byte {
            case 0xEF where bytes.count < 2 || bytes[1] == 0xBB: return "it begins with a byte order mark"
            case 0xFE, 0xFF: return "it begins with a byte order mark (UTF-16); JSON is UTF-8"
            case 0x1F: return "it is compressed"
            case UInt8(ascii: "<"): return "it begins with <, as HTML and XML do"
            case 0x80...0xBF where bytes.count > 1:
                return "it is not text; a binary result has to be encoded, for example as base64 in a string"
            default: break
            }
        }
        if let word = Self.word(at: fault, in: bytes) { return Self.wordReason(word) }
        if Self.isComment(byte, fault, bytes) { return Self.comments }
        switch byte {
        case UInt8(ascii: "'"): return Self.singleQuotes
        case UInt8(ascii: "]") where state == .value && !stack.isEmpty && !stack.last: return "a comma stands before ]"
        case UInt8(ascii: "+"): return "a number must not begin with +"
        case UInt8(ascii: "."): return "a number must not begin with a point"
        default: return "a value was expected"
        }
    }

    private static let singleQuotes = "single quotes are not JSON; strings and names stand in double quotes"
    private static let comments = "comments are not JSON"
    private static let notUTF8 = "a string is not UTF-8"

    private static func isComment(_ byte: UInt8, _ fault: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
        byte == UInt8(ascii: "#")
            || byte == UInt8(ascii: "/") && fault + 1 < bytes.count
                && (bytes[fault + 1] == UInt8(ascii: "/") || bytes[fault + 1] == UInt8(ascii: "*"))
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 }

    /// The letters from `start` on, at most 20; `nil` if there are none.
    private static func word(at start: Int, in bytes: UnsafeRawBufferPointer) -> String? {
        let letters = bytes[start...].prefix(20).prefix(while: isLetter)
        return letters.isEmpty ? nil : String(decoding: letters, as: UTF8.self)
    }

    private static func wordReason(_ word: String) -> String {
        switch word.lowercased() {
        case "nan", "-nan", "infinity", "-infinity", "inf", "-inf":
            "`\(word)` is not JSON; a number that JSON does not know has to be sent as null or as a string"
        case "none", "nil", "undefined", "null": "`\(word)` is not JSON; write null"
        case "true", "false": "`\(word)` is not JSON; write \(word.lowercased())"
        default: "`\(word)` is not JSON; text stands in double quotes"
        }
    }
}
