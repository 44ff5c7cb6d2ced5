import Core

/// Reads one scalar as one type of the schema; a pure function.
enum ScalarReader {
    struct Fault: Error {
        var kind: ConfigurationProblem.Kind
        var message: String
        var suggestion: String?
    }

    static func read(_ scalar: YAMLScalar, as type: SchemaType) throws(Fault) -> ConfigurationValue.Content {
        switch type {
        case .string(let rule): return .string(try string(scalar, rule))
        case .choice(let words): return .string(try choice(scalar, words))
        case .boolean:
            guard case .boolean(let value) = scalar.value else { throw wrongType(scalar, type.described) }
            return .boolean(value)
        case .integer(let range): return .integer(try integer(scalar, range, type))
        case .number(let range): return .number(try number(scalar, range, type))
        case .duration(let range, let multiple): return .duration(try duration(scalar, range, multiple, type))
        case .quantity(let minimum, let fractions):
            return .quantity(try quantity(scalar, minimum: minimum, fractions: fractions, type))
        case .size(let range): return .integer(try size(scalar, range, type))
        case .amount: return .amount(try amount(scalar, type))
        case .list, .map, .object, .document, .unsupported: throw wrongType(scalar, type.described)
        }
    }

    static func string(_ scalar: YAMLScalar, _ rule: StringRule) throws(Fault) -> String {
        guard case .string(let text) = scalar.value else {
            throw wrongType(scalar, rule.allowed)
        }
        return try string(text, rule)
    }

    static func string(_ text: String, _ rule: StringRule) throws(Fault) -> String {
        if text.hasPrefix("@"), !rule.allowsAtSign {
            throw Fault(
                kind: .resourceReference,
                message: "must not begin with @, which once named a resource, found \(text.quoted)")
        }
        if text.utf8.contains(0) {
            throw Fault(kind: .invalidFormat, message: "must not contain a NUL character, found \(text.quoted)")
        }
        if let limit = rule.maximumLength, text.unicodeScalars.count > limit {
            throw Fault(
                kind: .outOfRange,
                message: "must have at most \(limit) characters, found \(text.unicodeScalars.count)")
        }
        if let fault = rule.check(text) {
            let message = fault.message ?? "must be \(rule.allowed)"
            throw Fault(
                kind: fault.kind, message: "\(message), found \(text.quoted)", suggestion: fault.suggestion)
        }
        return text
    }

    private static func choice(_ scalar: YAMLScalar, _ words: [String]) throws(Fault) -> String {
        if words.contains(scalar.text), case .string = scalar.value { return scalar.text }
        guard case .string = scalar.value else {
            throw wrongType(scalar, SchemaType.choice(words).described)
        }
        throw Fault(
            kind: .notAllowed, message: "must be \(SchemaType.choice(words).described), found \(scalar.described)",
            suggestion: NearestKey.find(scalar.text, among: words))
    }

    private static func integer(
        _ scalar: YAMLScalar, _ range: ClosedRange<Int64>, _ type: SchemaType
    ) throws(Fault) -> Int64 {
        guard case .integer(let value) = scalar.value else {
            throw wrongType(scalar, type.described)
        }
        guard range.contains(value) else { throw outOfRange(scalar, type) }
        return value
    }

    private static func number(_ scalar: YAMLScalar, _ range: NumberRange, _ type: SchemaType) throws(Fault) -> Double {
        let value: Double
        switch scalar.value {
        case .integer(let whole): value = Double(whole)
        case .number(let number): value = number
        case .null, .boolean, .string: throw wrongType(scalar, type.described)
        }
        guard range.contains(value) else { throw outOfRange(scalar, type) }
        return value
    }

    private static func duration(
        _ scalar: YAMLScalar, _ range: ClosedRange<Duration>, _ multiple: Duration?, _ type: SchemaType
    ) throws(Fault) -> Duration {
        guard case .string(let text) = scalar.value else {
            // A bare 0 is a duration in Go's syntax; any other bare number lacks its unit.
            if scalar.value == .integer(0), range.contains(.zero) { return .zero }
            throw wrongType(scalar, type.described)
        }
        guard let value = DurationSyntax.parse(text) else {
            throw Fault(kind: .invalidFormat, message: "must be \(type.described), found \(scalar.described)")
        }
        guard range.contains(value) else { throw outOfRange(scalar, type) }
        if let multiple, value.wholeMicroseconds % multiple.wholeMicroseconds != 0 { throw outOfRange(scalar, type) }
        return value
    }

    private static func quantity(
        _ scalar: YAMLScalar, minimum: Quantity?, fractions: Bool, _ type: SchemaType
    ) throws(Fault) -> Quantity {
        switch scalar.value {
        case .string, .integer: break
        case .number where fractions: break
        case .null, .boolean, .number: throw wrongType(scalar, type.described)
        }
        // 0x10 and 1_000 are integers in YAML, but not quantities.
        let text = if case .integer(let value) = scalar.value { String(value) } else { scalar.text }
        guard let quantity = Quantity(text) else {
            throw Fault(kind: .invalidFormat, message: "must be \(type.described), found \(scalar.described)")
        }
        if let minimum, quantity.milli < minimum.milli { throw outOfRange(scalar, type) }
        return quantity
    }

    private static func size(_ scalar: YAMLScalar, _ range: ClosedRange<Int64>, _ type: SchemaType) throws(Fault)
        -> Int64
    {
        let value: Int64
        switch scalar.value {
        case .integer(let number): value = number
        case .string(let text):
            guard let quantity = Quantity(text) else {
                throw Fault(kind: .invalidFormat, message: "must be \(type.described), found \(scalar.described)")
            }
            value = quantity.whole
        case .null, .boolean, .number: throw wrongType(scalar, type.described)
        }
        guard range.contains(value) else { throw outOfRange(scalar, type) }
        return value
    }

    private static func amount(_ scalar: YAMLScalar, _ type: SchemaType) throws(Fault) -> UpdateStrategy.Amount {
        switch scalar.value {
        case .integer(let count):
            guard count >= 0, count <= Int64(Int32.max) else { throw outOfRange(scalar, type) }
            return .count(Int(count))
        case .string(let text):
            let digits = text.hasSuffix("%") ? text.dropLast() : Substring(text)
            guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else {
                throw Fault(kind: .invalidFormat, message: "must be \(type.described), found \(scalar.described)")
            }
            guard let number = Int32(digits) else { throw outOfRange(scalar, type) }
            guard text.hasSuffix("%") else { return .count(Int(number)) }
            guard number <= 100 else { throw outOfRange(scalar, type) }
            return .percent(Int(number))
        case .null, .boolean, .number: throw wrongType(scalar, type.described)
        }
    }

    private static func wrongType(_ scalar: YAMLScalar, _ allowed: String) -> Fault {
        Fault(kind: .wrongType, message: "must be \(allowed), found \(scalar.described)")
    }

    private static func outOfRange(_ scalar: YAMLScalar, _ type: SchemaType) -> Fault {
        Fault(kind: .outOfRange, message: "must be \(type.described), found \(scalar.described)")
    }
}

extension SchemaType {
    /// `from 1 byte to 1Ti`.
    static func bounds(of size: ClosedRange<Int64>) -> String {
        let lower = "\(size.lowerBound) \(size.lowerBound == 1 ? "byte" : "bytes")"
        if size.upperBound == .max { return "at least \(lower)" }
        let tebi: Int64 = 1 << 40
        let upper = size.upperBound % tebi == 0 ? "\(size.upperBound / tebi)Ti" : "\(size.upperBound)"
        return "from \(lower) to \(upper)"
    }

    /// The allowed values, as the continuation of "must be".
    package var described: String {
        switch self {
        case .string(let rule): return rule.allowed
        case .choice(let words): return words.count == 1 ? words[0] : "one of \(words.joined(separator: ", "))"
        case .boolean: return "true or false"
        case .integer(let range):
            if range.upperBound >= Int64(Int32.max) { return "a whole number, at least \(range.lowerBound)" }
            return "a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .number(let range): return "a number \(range.described)"
        case .duration(let range, let multiple):
            let steps = multiple.map { " in whole multiples of \(DurationSyntax.format($0))" } ?? ""
            let bounds = "\(DurationSyntax.format(range.lowerBound)) to \(DurationSyntax.format(range.upperBound))"
            return "a duration such as 30s, 1h30m or 7d, from \(bounds)\(steps)"
        case .quantity(let minimum, let fractions):
            let bound = minimum.map { " of at least \($0)" } ?? ""
            return "a quantity\(bound) such as \(fractions ? "500m, 0.5 or 2" : "512Mi, 2G or a number of bytes")"
        case .size(let range):
            return "a quantity such as 64Mi, 1G or a number of bytes, \(Self.bounds(of: range))"
        case .amount: return "a percentage such as 25% (0% to 100%) or a count such as 1"
        case .list: return "a list"
        case .map, .object, .document: return "a map"
        case .unsupported: return "null"
        }
    }
}
