package import Core

/// One key of `cortex.yaml`: the single description from which validation, defaults, the JSON Schema and the reference
/// page come.
package struct SchemaField: Sendable {
    /// What holds when the key is not there.
    package enum Presence: Sendable {
        case required
        /// Nothing: the feature is off.
        case optional
        /// A scalar, as it would be written in the file.
        case `default`(String)
        /// A list of strings.
        case defaultList([String])
        /// An object, with the defaults of its own fields.
        case defaultObject
        /// Taken from elsewhere; the text says from where.
        case derived(String)
    }

    /// What `key: null` means.
    package enum NullRule: Sendable {
        case refused
        /// The same as leaving the key out.
        case asAbsent
        /// None, even where there is a default.
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
    /// Whether the file must have it; also a map that may be left out as such, but for a field in it that is required.
    package var isRequired: Bool {
        switch (presence, type) {
        case (.required, _): true
        case (.defaultObject, .object(let object)): object.fields.contains(where: \.isRequired)
        default: false
        }
    }
}

/// What a field may hold.
package indirect enum SchemaType: Sendable {
    case string(StringRule)
    /// Any of these strings.
    case choice([String])
    case boolean
    case integer(ClosedRange<Int64>)
    case number(NumberRange)
    /// Go's duration syntax, as a string.
    case duration(ClosedRange<Duration>, multipleOf: Duration? = nil)
    /// A Kubernetes quantity: a string, or (with `fractions`) also a bare number with a fraction, or a bare whole
    /// number.
    case quantity(minimum: Quantity?, fractions: Bool)
    /// Bytes: a quantity, or a bare whole number.
    case size(ClosedRange<Int64>)
    /// `25%` or a count.
    case amount
    case list(of: SchemaType, minimum: Int = 0, unique: Bool = false)
    /// Free keys.
    case map(key: StringRule, value: StringRule)
    case object(SchemaObject)
    /// Known, but refused unless it is null; the text says what to do instead.
    case unsupported(ConfigurationProblem.Kind, String)
}

/// A map with known keys.
package struct SchemaObject: Sendable {
    package let fields: [SchemaField]
    /// Checked once the fields are read, also when some of them are wrong.
    package let rules: [SchemaRule]

    package init(_ fields: [SchemaField], rules: [SchemaRule] = []) {
        self.fields = fields
        self.rules = rules
    }

    /// The field below this one with that key.
    package func field(_ key: String) -> SchemaField? { fields.first { $0.key == key } }
}

/// A rule over several fields of one object.
package struct SchemaRule: Sendable {
    /// One line for the reference page.
    package let summary: String
    /// The same as a part of a JSON Schema of the object; `nil` where JSON Schema cannot express it.
    package let schema: JSONValue?
    /// What it finds; fields that are wrong themselves are absent from the object, and the rule then passes over them.
    let check: @Sendable (ConfigurationObject) -> [Violation]

    struct Violation: Sendable {
        /// Under the object, such as `min_replicas`; empty for the object itself.
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

/// A range of numbers, with or without its ends.
package struct NumberRange: Sendable {
    package let lower: Double
    package let includesLower: Bool
    /// Never included; `nil` for none.
    package let upper: Double?

    /// `lower` or more and, where given, less than `upper`.
    package static func atLeast(_ lower: Double, below upper: Double? = nil) -> NumberRange {
        NumberRange(lower: lower, includesLower: true, upper: upper)
    }

    /// More than `lower`.
    package static func above(_ lower: Double) -> NumberRange {
        NumberRange(lower: lower, includesLower: false, upper: nil)
    }

    /// Whether `value` is within the range.
    package func contains(_ value: Double) -> Bool {
        guard value.isFinite, includesLower ? value >= lower : value > lower else { return false }
        return upper.map { value < $0 } ?? true
    }

    package var described: String {
        let lower = "\(includesLower ? "at least" : "greater than") \(Self.text(self.lower))"
        return upper.map { "\(lower) and less than \(Self.text($0))" } ?? lower
    }

    static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }
}

/// What a string must look like.
package struct StringRule: Sendable {
    /// Finishes "must be …".
    package let allowed: String
    /// The same as an ECMA 262 expression; lengths apart.
    package let pattern: String
    package let maximumLength: Int?
    /// `nil` when the string is fine; otherwise what kind of problem it is, and what to say instead of "must be …" if
    /// that is not enough.
    let check: @Sendable (String) -> Fault?

    struct Fault: Sendable {
        var kind: ConfigurationProblem.Kind = .invalidFormat
        var message: String?
        /// What was probably meant.
        var suggestion: String?
    }

    init(
        _ allowed: String, pattern: String, maximumLength: Int? = nil,
        check: @escaping @Sendable (String) -> Fault?
    ) {
        self.allowed = allowed
        self.pattern = pattern
        self.maximumLength = maximumLength
        self.check = check
    }
}
