package import Core

/// `cortex.yaml` as a JSON Schema (2020-12) for editors, generated from the reader's table.
///
/// The descriptions state what JSON Schema cannot express: ranges of durations and of quantities written as text, and
/// rules over several fields.
package enum ConfigurationSchema {
    /// - Parameter kinds: the allowed kinds of the APIs of the file.
    package static func document(kinds: [APIKind] = APIKind.allCases) -> JSONValue {
        let names = kinds.map { JSONValue.string($0.rawValue) }
        return .object([
            "$schema": .string("https://json-schema.org/draft/2020-12/schema"),
            "title": .string("cortex.yaml"),
            "description": .string("The APIs of a Cortex \(CortexVersion.current) project."),
            "type": .string("array"),
            "minItems": .integer(1),
            "items": .object([
                "type": .string("object"),
                "required": .array([.string("name"), .string("kind")]),
                "properties": .object(["kind": .object(["enum": .array(names)])]),
                "allOf": .array(kinds.map(branch)),
            ]),
            "$defs": .object(
                Dictionary(uniqueKeysWithValues: kinds.map { ($0.rawValue, object(APISchema.root(of: $0))) })),
        ])
    }

    private static func branch(_ kind: APIKind) -> JSONValue {
        .object([
            "if": .object([
                "required": .array([.string("kind")]),
                "properties": .object(["kind": .object(["const": .string(kind.rawValue)])]),
            ]),
            "then": .object(["$ref": .string("#/$defs/\(kind.rawValue)")]),
        ])
    }

    private static func object(_ object: SchemaObject) -> JSONValue {
        var members: [String: JSONValue] = [
            "type": .string("object"), "additionalProperties": .bool(false),
            "properties": .object(Dictionary(uniqueKeysWithValues: object.fields.map { ($0.key, field($0)) })),
        ]
        let required = object.fields.filter(\.isRequired).map { JSONValue.string($0.key) }
        if !required.isEmpty { members["required"] = .array(required) }
        let rules = object.rules.compactMap(\.schema)
        if !rules.isEmpty { members["allOf"] = .array(rules) }
        return .object(members)
    }

    private static func field(_ field: SchemaField) -> JSONValue {
        var members = type(field.type)
        if case .refused = field.null {} else { members = orNull(members) }
        var description = field.summary
        if let rule = field.type.rule { description += " Allowed: \(rule)." }
        switch field.presence {
        case .default(let text): members["default"] = YAMLScalar(text, isPlain: true).json
        case .defaultList(let texts): members["default"] = .array(texts.map { .string($0) })
        case .derived(let text): description += " Default: \(text)."
        case .required, .optional, .defaultObject: break
        }
        members["description"] = .string(description)
        return .object(members)
    }

    private static func orNull(_ members: [String: JSONValue]) -> [String: JSONValue] {
        // A rule of an object would apply to null too, so such an object gets a separate alternative.
        guard case .string(let name) = members["type"], members["allOf"] == nil else {
            return ["anyOf": .array([.object(members), .object(["type": .string("null")])])]
        }
        var members = members
        members["type"] = name == "null" ? .string("null") : .array([.string(name), .string("null")])
        return members
    }

    // MARK: Types

    private static func type(_ type: SchemaType) -> [String: JSONValue] {
        switch type {
        case .string(let rule): return text(rule)
        case .choice(let words): return ["enum": .array(words.map { .string($0) })]
        case .boolean: return ["type": .string("boolean")]
        case .integer(let range): return integer(range)
        case .number(let range):
            var members: [String: JSONValue] = ["type": .string("number")]
            members[range.includesLower ? "minimum" : "exclusiveMinimum"] = number(range.lower)
            if let upper = range.upper { members[range.includesUpper ? "maximum" : "exclusiveMaximum"] = number(upper) }
            return members
        case .duration(let range, _):
            let text = pattern(durationPattern)
            return range.contains(.zero) ? any(.object(text), .object(["const": .integer(0)])) : text
        case .quantity(let minimum, let fractions):
            var plain: [String: JSONValue] = ["type": .string(fractions ? "number" : "integer")]
            let least = minimum.map(\.milli) ?? 0
            plain["minimum"] = fractions ? number(Double(least) / 1000) : .integer((least + 999) / 1000)
            return any(.object(plain), .object(pattern(quantityPattern)))
        case .size(let range): return any(.object(integer(range)), .object(pattern(quantityPattern)))
        case .amount:
            return any(
                .object(integer(0...Int64(Int32.max))), .object(pattern("^(0*(100|[0-9]{1,2})%|[0-9]+)$")))
        case .list(let element, let minimum, let unique):
            var members: [String: JSONValue] = ["type": .string("array"), "items": .object(self.type(element))]
            if minimum > 0 { members["minItems"] = .integer(Int64(minimum)) }
            if unique { members["uniqueItems"] = .bool(true) }
            return members
        case .map(let key, let value):
            var names = text(key)
            names["type"] = nil
            return [
                "type": .string("object"), "propertyNames": .object(names),
                "additionalProperties": .object(text(value)),
            ]
        case .object(let object):
            guard case .object(let members) = self.object(object) else { return [:] }
            return members
        case .document: return ["type": .string("object")]
        case .unsupported: return ["type": .string("null")]
        }
    }

    private static let durationPattern =
        "^[-+]?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d))+)$"
    private static let quantityPattern =
        "^\\+?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|[eE][-+]?0*(1[0-8]|[0-9]))?$"

    private static func text(_ rule: StringRule) -> [String: JSONValue] {
        var members = pattern(rule.pattern)
        if let limit = rule.maximumLength { members["maxLength"] = .integer(Int64(limit)) }
        return members
    }

    private static func pattern(_ expression: String) -> [String: JSONValue] {
        ["type": .string("string"), "pattern": .string(expression)]
    }

    private static func integer(_ range: ClosedRange<Int64>) -> [String: JSONValue] {
        ["type": .string("integer"), "minimum": .integer(range.lowerBound), "maximum": .integer(range.upperBound)]
    }

    private static func any(_ alternatives: JSONValue...) -> [String: JSONValue] { ["anyOf": .array(alternatives)] }

    private static func number(_ value: Double) -> JSONValue {
        value == value.rounded() && abs(value) < 1e15 ? .integer(Int64(value)) : .number(value)
    }
}

extension YAMLScalar {
    var json: JSONValue {
        switch value {
        case .null: .null
        case .boolean(let value): .bool(value)
        case .integer(let value): .integer(value)
        case .number(let value): .number(value)
        case .string(let text): .string(text)
        }
    }
}
