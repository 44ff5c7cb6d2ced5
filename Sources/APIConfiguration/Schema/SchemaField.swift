package import Core

/// One key of `cortex.yaml`: the single description from which validation, defaults, the JSON Schema and the reference
/// page are derived.
package struct SchemaField: Sendable {
    /// The value of an absent key.
    package enum Presence: Sendable {
        case required
        /// None: the feature is off.
        case optional
        /// A scalar, in the syntax of the file.
        case `default`(String)
        /// A list of strings.
        case defaultList([String])
        /// An object, with the defaults of its fields.
        case defaultObject
        /// Derived from another value; the text says from which.
        case derived(String)
    }

    /// The meaning of `key: null`.
    package enum NullRule: Sendable {
        case refused
        /// The same as an absent key.
        case asAbsent
        /// None, also if there is a default.
        case asNone
    }

    package let key: String
    package let type: SchemaType
    package let presence: Presence
    package let null: NullRule
    /// One line for the reference page and for editors.
    package let summary: String

    package init(
        _ key: String, _ type: SchemaType, _ presence: Presence = .optional, null: NullRule = .refused,
        _ summary: String
    ) {
        self.key = key
        self.type = type
        self.presence = presence
        self.null = null
        self.summary = summary
    }
}

extension SchemaField {
    /// Whether the file must have it; also true for a map that may be absent but has a required field.
    package var isRequired: Bool {
        switch (presence, type) {
        case (.required, _): true
        case (.defaultObject, .object(let object)): object.fields.contains(where: \.isRequired)
        default: false
        }
    }
}

/// The type of a field.
package indirect enum SchemaType: Sendable {
    case string(StringRule)
    /// Any of these strings.
    case choice([String])
    case boolean
    case integer(ClosedRange<Int64>)
    case number(NumberRange)
    /// Go's duration syntax, as a string.
    case duration(ClosedRange<Duration>, multipleOf: Duration? = nil)
    /// A Kubernetes quantity: a string, or a bare integer, or (with `fractions`) a bare number with a fraction.
    case quantity(minimum: Quantity?, fractions: Bool)
    /// Bytes: a quantity, or a bare integer.
    case size(ClosedRange<Int64>)
    /// `25%` or a count.
    case amount
    case list(of: SchemaType, minimum: Int = 0, unique: Bool = false)
    /// A map with arbitrary keys.
    case map(key: StringRule, value: StringRule)
    case object(SchemaObject)
    /// A map with arbitrary keys and values, kept as JSON text.
    case document
    /// Known, but refused unless it is null; the text says what to do instead.
    case unsupported(ConfigurationProblem.Kind, String)
}

/// A map with known keys.
package struct SchemaObject: Sendable {
    package let fields: [SchemaField]
    /// Checked after the fields are read, also if some of them are wrong.
    package let rules: [SchemaRule]

    package init(_ fields: [SchemaField], rules: [SchemaRule] = []) {
        self.fields = fields
        self.rules = rules
    }

    /// Its rules and those of the objects in it.
    var allRules: [SchemaRule] {
        rules
            + fields.flatMap { field -> [SchemaRule] in
                switch field.type {
                case .object(let child), .list(of: .object(let child), _, _): child.allRules
                default: []
                }
            }
    }

    /// The field with that key.
    package func field(_ key: String) -> SchemaField? { fields.first { $0.key == key } }
}

/// A rule over several fields of one object.
package struct SchemaRule: Sendable {
    /// One line for the reference page.
    package let summary: String
    /// The same as a part of a JSON Schema of the object; `nil` if JSON Schema cannot express it.
    package let schema: JSONValue?
    /// Finds the problems; wrong fields are absent from the object, and the rule then ignores them.
    let check: @Sendable (ConfigurationObject) -> [Violation]

    struct Violation: Sendable {
        /// The path below the object, such as `min_replicas`; empty for the object itself.
        var path: String
        var mark: SourceMark
        var kind: ConfigurationProblem.Kind
        var message: String
    }

    init(
        _ summary: String, schema: JSONValue? = nil,
        check: @escaping @Sendable (ConfigurationObject) -> [Violation]
    ) {
        self.summary = summary
        self.schema = schema
        self.check = check
    }
}

/// A range of numbers, with or without its bounds.
package struct NumberRange: Sendable {
    package let lower: Double
    package let includesLower: Bool
    /// `nil` for no bound.
    package let upper: Double?
    package let includesUpper: Bool

    /// At least `lower` and, if given, less than `upper`.
    package static func atLeast(_ lower: Double, below upper: Double? = nil) -> NumberRange {
        NumberRange(lower: lower, includesLower: true, upper: upper, includesUpper: false)
    }

    /// From `lower` to `upper`, both included.
    package static func from(_ lower: Double, to upper: Double) -> NumberRange {
        NumberRange(lower: lower, includesLower: true, upper: upper, includesUpper: true)
    }

    /// More than `lower`.
    package static func above(_ lower: Double) -> NumberRange {
        NumberRange(lower: lower, includesLower: false, upper: nil, includesUpper: false)
    }

    /// Whether `value` is within the range.
    package func contains(_ value: Double) -> Bool {
        guard value.isFinite, includesLower ? value >= lower : value > lower else { return false }
        return upper.map { includesUpper ? value <= $0 : value < $0 } ?? true
    }

    package var described: String {
        if includesUpper, includesLower, let upper { return "from \(Self.text(lower)) to \(Self.text(upper))" }
        let lower = "\(includesLower ? "at least" : "greater than") \(Self.text(self.lower))"
        return upper.map { "\(lower) and less than \(Self.text($0))" } ?? lower
    }

    static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}

/// The syntax of a string.
package struct StringRule: Sendable {
    /// Continues "must be …".
    package let allowed: String
    /// The same as an ECMA 262 expression, without the length.
    package let pattern: String
    package let maximumLength: Int?
    /// Whether it may begin with `@`, which named a resource in the original.
    let allowsAtSign: Bool
    /// `nil` if the string is valid; otherwise the kind of problem, and a message if "must be …" is not specific
    /// enough.
    let check: @Sendable (String) -> Fault?

    struct Fault: Sendable {
        var kind: ConfigurationProblem.Kind = .invalidFormat
        var message: String?
        /// The value that was probably intended.
        var suggestion: String?
    }

    init(
        _ allowed: String, pattern: String, maximumLength: Int? = nil, allowsAtSign: Bool = false,
        check: @escaping @Sendable (String) -> Fault?
    ) {
        self.allowed = allowed
        self.pattern = pattern
        self.maximumLength = maximumLength
        self.allowsAtSign = allowsAtSign
        self.check = check
    }
}
