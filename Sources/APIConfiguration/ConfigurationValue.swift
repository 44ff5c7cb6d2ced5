import Core

/// The value of a field of the file after its checks, with its place.
struct ConfigurationValue: Sendable {
    enum Content: Sendable {
        case none
        case string(String)
        case boolean(Bool)
        case integer(Int64)
        case number(Double)
        case duration(Duration)
        case quantity(Quantity)
        case amount(UpdateStrategy.Amount)
        case list([ConfigurationValue])
        case map([String: String])
        case object(ConfigurationObject)
    }

    var content: Content
    var mark: SourceMark
    /// Whether the value is a default.
    var isDefault: Bool

    // Not inlined: inlining it into the long guards of SpecificationBuilder makes the optimizer of Swift 6.3.1 fail.
    @inline(never) var string: String? { if case .string(let value) = content { value } else { nil } }
    @inline(never) var boolean: Bool? { if case .boolean(let value) = content { value } else { nil } }
    @inline(never) var integer: Int64? { if case .integer(let value) = content { value } else { nil } }
    @inline(never) var number: Double? { if case .number(let value) = content { value } else { nil } }
    @inline(never) var duration: Duration? { if case .duration(let value) = content { value } else { nil } }
    @inline(never) var quantity: Quantity? { if case .quantity(let value) = content { value } else { nil } }
    @inline(never) var amount: UpdateStrategy.Amount? { if case .amount(let value) = content { value } else { nil } }
    @inline(never) var list: [ConfigurationValue]? { if case .list(let value) = content { value } else { nil } }
    @inline(never) var map: [String: String]? { if case .map(let value) = content { value } else { nil } }
    @inline(never) var object: ConfigurationObject? { if case .object(let value) = content { value } else { nil } }
}

/// A map of the file after reading: its valid fields, with defaults.
struct ConfigurationObject: Sendable {
    var mark: SourceMark
    var fields: [String: ConfigurationValue] = [:]
    /// Every known key that the file gives, also those whose value is wrong.
    var given: Set<String> = []

    /// `nil` if the field is absent, null or wrong.
    subscript(key: String) -> ConfigurationValue? {
        guard let value = fields[key] else { return nil }
        if case .none = value.content { return nil }
        return value
    }
}
