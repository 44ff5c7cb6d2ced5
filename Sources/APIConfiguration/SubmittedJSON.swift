/// A node of a file as compact JSON text with sorted keys.
enum SubmittedJSON {
    static func text(of node: YAMLNode) -> String {
        var output = ""
        write(node, to: &output)
        return output
    }

    private static func write(_ node: YAMLNode, to output: inout String) {
        switch node.content {
        case .scalar(let scalar): write(scalar, to: &output)
        case .sequence(let elements):
            output += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { output += "," }
                write(element, to: &output)
            }
            output += "]"
        case .mapping(let entries):
            output += "{"
            for (index, entry) in entries.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { output += "," }
                write(entry.key, to: &output)
                output += ":"
                write(entry.value, to: &output)
            }
            output += "}"
        }
    }

    private static func write(_ scalar: YAMLScalar, to output: inout String) {
        switch scalar.value {
        case .null: output += "null"
        case .boolean(let value): output += value ? "true" : "false"
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
}
