import Core

/// Hints for frequent errors: YAML's traps, units, lists and maps.
///
/// A hint follows the message after a semicolon, or is on a separate line below it.
enum Pitfalls {
    static func hint(for scalar: YAMLScalar, as type: SchemaType, _ kind: ConfigurationProblem.Kind) -> String? {
        switch type {
        case .string(let rule):
            kind == .wrongType ? unquoted(scalar) { (try? ScalarReader.string($0, rule)) != nil } : badText(scalar)
        case .choice(let words): kind == .wrongType ? unquoted(scalar, isRight: words.contains) : badText(scalar)
        case .integer: notAnInteger(scalar)
        case .number: notANumber(scalar)
        case .boolean: notABoolean(scalar)
        case .duration(let range, _): kind == .outOfRange ? nil : UnitPitfalls.duration(scalar, range)
        case .quantity(_, let fractions): UnitPitfalls.quantity(scalar, isBytes: !fractions, kind)
        case .size: UnitPitfalls.quantity(scalar, isBytes: true, kind)
        case .amount: notAnAmount(scalar)
        case .list, .map, .object, .document, .unsupported: nil
        }
    }

    // MARK: Text

    /// Text is expected, and YAML reads the word without quotes as another type.
    ///
    /// - Parameter isRight: whether the word in quotes would be accepted.
    private static func unquoted(_ scalar: YAMLScalar, isRight: (String) -> Bool) -> String? {
        guard isRight(scalar.text) else { return nil }
        let quotes = "write it in quotes: \(scalar.text.quoted)"
        switch scalar.value {
        case .null:
            return scalar.text.isEmpty
                ? "for an empty value write two quotes: \"\"" : "for this word as text, \(quotes)"
        case .boolean(let value):
            let isOther = scalar.text.lowercased() != "\(value)"
            return isOther ? "YAML reads \(scalar.text) as \(value); for text, \(quotes)" : quotes
        case .integer(let value):
            let isOther = String(value) != scalar.text
            return isOther ? "YAML may read \(scalar.text) as \(value); for text, \(quotes)" : quotes
        case .number(let value):
            if isOctal(scalar.text) { return "YAML may read its leading zero as octal; for text, \(quotes)" }
            let isOther = "\(value)" != scalar.text && scalar.text.utf8.count < 16
            return isOther ? "YAML reads \(scalar.text) as \(plain(value)); for text, \(quotes)" : quotes
        case .string: return nil
        }
    }

    private static func badText(_ scalar: YAMLScalar) -> String? {
        guard let first = scalar.text.unicodeScalars.first, let last = scalar.text.unicodeScalars.last else {
            return nil
        }
        if "“”‘’„«".unicodeScalars.contains(first) {
            return "YAML knows only \" and ' as quotes, not \(first)"
        }
        if first.isInvisible || last.isInvisible { return "remove the white space at its ends" }
        return nil
    }

    // MARK: Numbers

    private static func notAnInteger(_ scalar: YAMLScalar) -> String? {
        let value = if case .string = scalar.value { YAMLScalar.resolve(scalar.text) } else { scalar.value }
        let isQuoted = value != scalar.value
        switch value {
        case .integer: return isQuoted ? "write it without quotes" : nil
        case .number(let number):
            if isOctal(scalar.text) {
                let digits = String(scalar.text.drop { $0 == "0" })
                return Int64(scalar.text, radix: 8) == nil
                    ? "write it without the leading zero: \(digits)"
                    : "YAML readers disagree on a leading zero; write \(digits), or 0o\(digits) if octal is meant"
            }
            guard number == number.rounded(), abs(number) < 1e15 else { return nil }
            return "write it without the fraction: \(Int64(number))"
        case .string(let text):
            guard let duration = DurationSyntax.parse(text), duration > .zero,
                duration.wholeMicroseconds % 1_000_000 == 0
            else { return nil }
            return "write the number of seconds alone: \(duration.components.seconds)"
        case .null, .boolean: return nil
        }
    }

    /// Digits with a leading zero.
    private static func isOctal(_ text: String) -> Bool {
        text.utf8.count > 1 && text.utf8.first == UInt8(ascii: "0") && text.utf8.allSatisfy { (48...57).contains($0) }
    }

    private static func notANumber(_ scalar: YAMLScalar) -> String? {
        guard case .string(let text) = scalar.value else { return nil }
        switch YAMLScalar.resolve(text) {
        case .integer, .number: return "write it without quotes"
        case .null, .boolean, .string: break
        }
        guard text.hasSuffix("%"), let percent = Double(text.dropLast()), percent.isFinite else { return nil }
        return "write the share as a number: \(plain(percent / 100))"
    }

    private static func notABoolean(_ scalar: YAMLScalar) -> String? {
        if case .string(let text) = scalar.value, case .boolean = YAMLScalar.resolve(text) {
            return "write it without quotes"
        }
        return nil
    }

    private static func notAnAmount(_ scalar: YAMLScalar) -> String? {
        switch scalar.value {
        case .number(let value) where value > 0 && value < 1: "for a share write a percentage: \(plain(value * 100))%"
        case .string(let text) where text.contains(" "): "write it without spaces"
        default: nil
        }
    }

    private static func plain(_ value: Double) -> String {
        guard value == value.rounded(), abs(value) < 1e15 else { return "\(value)" }
        return "\(Int64(value))"
    }

    // MARK: Lists and maps

    static func null(_ field: SchemaField) -> String {
        let wayOut =
            switch field.presence {
            case .required: "it is required"
            case .default(let text): "omit the key for the default (\(text))"
            case .defaultList(let texts): "omit the key for the default (\(texts.joined(separator: ", ")))"
            case .derived(let text): "omit the key for the default (\(text))"
            case .optional, .defaultObject: "omit the key"
            }
        switch field.type {
        case .object, .map, .document: return "\(wayOut), or indent its content further than the key"
        default: return wayOut
        }
    }

    static func notAMap(_ node: YAMLNode, _ schema: SchemaObject) -> String? {
        switch node.content {
        case .sequence(let elements):
            guard case .mapping = elements.first?.content else { return nil }
            return "remove the \"- \" before its keys"
        case .scalar(let scalar): return missingSpace(scalar.text) { schema.field($0) != nil }
        case .mapping: return nil
        }
    }

    static func notAList(_ node: YAMLNode, of element: SchemaType) -> String? {
        switch node.content {
        case .mapping: return "begin each element with \"- \""
        case .sequence: return nil
        case .scalar(let scalar):
            guard !scalar.text.isEmpty, !scalar.text.contains(where: { "\"'\\\n".contains($0) }),
                scalar.text.utf8.count <= 60
            else { return "write it as a list: [first, second]" }
            let words = scalar.text.split(separator: " ").map(String.init)
            return "write it as a list: [\(words.map(inFlow).joined(separator: ", "))]"
        }
    }

    /// The text of an element between brackets.
    private static func inFlow(_ word: String) -> String {
        let needsQuotes =
            word.contains { "[]{},:#&*!|>%@`".contains($0) }
            || { if case .string = YAMLScalar.resolve(word) { false } else { true } }()
        return needsQuotes ? word.quoted : word
    }

    /// A program's name with its arguments, such as `python3 /app/app.py`; `nil` if the spaces may belong to the name.
    static func programWithArguments(_ text: String) -> String? {
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count > 1, !words[0].contains("/") || words.dropFirst().contains(where: isArgument) else {
            return nil
        }
        let list = words.map(inFlow).joined(separator: ", ")
        return "the program and each argument must be a separate item, found \(text.quoted); write [\(list)]"
    }

    /// An absolute path, or an option.
    private static func isArgument(_ word: String) -> Bool {
        word.hasPrefix("/") || word.hasPrefix("--") || (word.hasPrefix("-") && word.dropFirst().first?.isLetter == true)
    }

    static func notVariables(_ node: YAMLNode) -> String? {
        guard case .sequence(let elements) = node.content else { return nil }
        switch elements.first?.content {
        case .mapping:
            return "write each variable as a line NAME: \"value\", without \"- \" and without the words name and value"
        case .scalar(let scalar):
            guard let sign = scalar.text.firstIndex(of: "="),
                scalar.text[..<sign].utf8.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: "_") })
            else { return nil }
            let value = String(scalar.text[scalar.text.index(after: sign)...])
            return "write each variable as a line NAME: \"value\", such as \(scalar.text[..<sign]): \(value.quoted)"
        default: return nil
        }
    }

    static func notAScalar(_ node: YAMLNode, _ type: SchemaType) -> String? {
        switch (node.content, type) {
        case (.sequence(let elements), _) where elements.count == 1: "remove the \"- \" or the brackets around it"
        case (.mapping(let entries), .string) where entries.contains { $0.value.isNull }:
            // {{ name }} is a map in a map.
            "text with { } in it needs quotes; a template must be filled in before the file is read"
        default: nil
        }
    }

    /// `key:value` is text for YAML.
    static func missingSpace(_ text: String, isKey: (String) -> Bool) -> String? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let key = String(text[..<colon])
        guard isKey(key) else { return nil }
        return "write a space after the colon: \(key): …"
    }
}
