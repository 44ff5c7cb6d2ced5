/// A node of a file as compact JSON text.
enum SubmittedJSON {
    /// With sorted keys, so that equal values are equal texts.
    static func text(of node: YAMLNode) -> String {
        var output = ""
        write(node, to: &output, isVerbatim: false)
        return output
    }

    /// With the keys in the order of the file, and numbers as they are written where JSON has the same syntax.
    static func verbatim(_ node: YAMLNode) -> String {
        var output = ""
        write(node, to: &output, isVerbatim: true)
        return output
    }

    /// The place of the first number that JSON does not have.
    static func firstNonFiniteNumber(in node: YAMLNode) -> SourceMark? {
        switch node.content {
        case .scalar(let scalar):
            if case .number(let value) = scalar.value, !value.isFinite, !isNumber(scalar.text) {
                node.mark
            } else {
                nil
            }
        case .sequence(let elements): elements.lazy.compactMap(firstNonFiniteNumber).first
        case .mapping(let entries): entries.lazy.compactMap { firstNonFiniteNumber(in: $0.value) }.first
        }
    }

    private static func write(_ node: YAMLNode, to output: inout String, isVerbatim: Bool) {
        switch node.content {
        case .scalar(let scalar): write(scalar, to: &output, isVerbatim: isVerbatim)
        case .sequence(let elements):
            output += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { output += "," }
                write(element, to: &output, isVerbatim: isVerbatim)
            }
            output += "]"
        case .mapping(let entries):
            output += "{"
            for (index, entry) in (isVerbatim ? entries : entries.sorted { $0.key < $1.key }).enumerated() {
                if index > 0 { output += "," }
                write(entry.key, to: &output)
                output += ":"
                write(entry.value, to: &output, isVerbatim: isVerbatim)
            }
            output += "}"
        }
    }

    private static func write(_ scalar: YAMLScalar, to output: inout String, isVerbatim: Bool) {
        switch scalar.value {
        case .null: output += "null"
        case .boolean(let value): output += value ? "true" : "false"
        case .integer where isVerbatim && isNumber(scalar.text), .number where isVerbatim && isNumber(scalar.text):
            output += scalar.text
        case .integer(let value): output += String(value)
        // JSON cannot express infinity; no field accepts it, so it is only shown.
        case .number(let value): if value.isFinite { output += String(value) } else { write(scalar.text, to: &output) }
        case .string(let text): write(text, to: &output)
        }
    }

    private static func write(_ text: String, to output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            case _ where scalar.value < 32:
                let digits = String(scalar.value, radix: 16)
                output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }

    /// Whether `text` is a number in the syntax of JSON.
    private static func isNumber(_ text: String) -> Bool {
        var rest = Substring(text).utf8
        func skip(_ bytes: String) -> Bool {
            guard let first = rest.first, bytes.utf8.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        func digits() -> Int {
            let count = rest.prefix { (48...57).contains($0) }.count
            rest = rest.dropFirst(count)
            return count
        }
        _ = skip("-")
        let startsWithZero = rest.first == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, !startsWithZero || whole == 1 else { return false }
        if skip(".") { guard digits() > 0 else { return false } }
        if skip("eE") {
            _ = skip("+-")
            guard digits() > 0 else { return false }
        }
        return rest.isEmpty
    }
}
