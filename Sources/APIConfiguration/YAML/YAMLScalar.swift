/// A YAML scalar as written, and its value.
///
/// Strings are strict, as in the original: an unquoted `1` is a number, `true` and `yes` are booleans, and neither is
/// ever read as text.
struct YAMLScalar: Sendable, Hashable {
    enum Value: Sendable, Hashable {
        case null
        case boolean(Bool)
        /// An integer that fits into 64 bits.
        case integer(Int64)
        /// Any other number; also an integer that does not fit.
        case number(Double)
        case string(String)
    }

    /// Without quotes and escapes.
    var text: String
    var value: Value

    /// - Parameter isPlain: without quotes, so that it may have another type than text.
    init(_ text: String, isPlain: Bool) {
        self.text = text
        self.value = isPlain ? Self.resolve(text) : .string(text)
    }

    /// For a message.
    var described: String {
        switch value {
        case .null: "null"
        case .boolean: "the boolean \(text)"
        case .integer, .number: "the number \(text.shortened(to: 40))"
        case .string: text.quoted
        }
    }

    /// The value of a scalar without quotes (YAML 1.2 core schema, with the words for booleans of YAML 1.1).
    static func resolve(_ text: String) -> Value {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .boolean(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .boolean(false)
        case ".inf", ".Inf", ".INF", "+.inf": return .number(.infinity)
        case "-.inf", "-.Inf", "-.INF": return .number(-.infinity)
        case ".nan", ".NaN", ".NAN": return .number(.nan)
        default: return number(text) ?? .string(text)
        }
    }

    private static func number(_ text: String) -> Value? {
        guard let first = text.utf8.first, text.utf8.count <= 400,
            (48...57).contains(first) || first == UInt8(ascii: "+") || first == UInt8(ascii: "-")
                || first == UInt8(ascii: ".")
        else { return nil }
        let isNegative = first == UInt8(ascii: "-")
        let unsigned = isNegative || first == UInt8(ascii: "+") ? text.dropFirst() : Substring(text)
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where unsigned.hasPrefix(prefix) {
            let digits = unsigned.dropFirst(2)
            guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
                let value = Int64((isNegative ? "-" : "") + digits, radix: radix)
            else { return nil }
            return .integer(value)
        }
        let digits = unsigned.filter { $0 != "_" }
        guard hasDecimalForm(digits) else { return nil }
        let isWhole = digits.utf8.allSatisfy { (48...57).contains($0) }
        // 0755 is octal in YAML 1.1 and decimal in 1.2, so it is not read as an integer.
        let isAmbiguous = digits.utf8.count > 1 && digits.utf8.first == UInt8(ascii: "0")
        if isWhole, !isAmbiguous, let value = Int64((isNegative ? "-" : "") + digits) { return .integer(value) }
        return Double((isNegative ? "-" : "") + digits).map { .number($0) }
    }

    /// Digits with at most one point and at most one exponent.
    private static func hasDecimalForm(_ text: String) -> Bool {
        var rest = Substring(text).utf8
        func digits() -> Int {
            let count = rest.prefix { (48...57).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        var count = digits()
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            count += digits()
        }
        guard count > 0 else { return false }
        if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest = rest.dropFirst() }
            guard digits() > 0 else { return false }
        }
        return rest.isEmpty
    }
}

extension String {
    /// In quotes for a message: on one line, without control characters, cut if it is long.
    var quoted: String {
        var result = "\""
        for scalar in shortened(to: 80).unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case "\"": result += "\\\""
            case _ where scalar.value < 32 || scalar.value == 127 || (scalar != " " && scalar.isInvisible):
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// Cut to `limit` Unicode scalars.
    func shortened(to limit: Int) -> String {
        unicodeScalars.count > limit ? String(String.UnicodeScalarView(unicodeScalars.prefix(limit))) + "…" : self
    }
}

extension Unicode.Scalar {
    /// White space or a control mark for the display of text: invisible to a reader.
    var isInvisible: Bool {
        switch properties.generalCategory {
        case .format, .control, .spaceSeparator, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
