import Core

extension SchemaType {
    /// The type in one or two words.
    var name: String {
        switch self {
        case .string: "text"
        case .choice: "word"
        case .boolean: "boolean"
        case .integer: "integer"
        case .number: "number"
        case .duration: "duration"
        case .quantity, .size: "quantity"
        case .amount: "count or percentage"
        case .list(let element, _, _): "list of \(element.plural)"
        case .map: "map of texts"
        case .object, .document: "map"
        case .unsupported: "null"
        }
    }

    private var plural: String {
        switch self {
        case .choice: "words"
        case .integer: "integers"
        case .object, .map, .document: "maps"
        default: "texts"
        }
    }

    /// The restrictions beyond the type; `nil` if there are none.
    var rule: String? {
        switch self {
        case .string(let rule):
            guard rule.allowed != "text" else { return nil }
            return rule.allowed + (rule.maximumLength.map { "; at most \($0) characters" } ?? "")
        case .choice(let words): return words.count == 1 ? words[0] : "one of \(words.joined(separator: ", "))"
        case .integer(let range):
            return range.upperBound >= Int64(Int32.max)
                ? "at least \(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
        case .number(let range): return range.described
        case .duration(let range, let multiple):
            let bounds = "\(DurationSyntax.format(range.lowerBound)) to \(DurationSyntax.format(range.upperBound))"
            return bounds + (multiple.map { ", in whole multiples of \(DurationSyntax.format($0))" } ?? "")
        case .quantity(let minimum, _): return minimum.map { "at least \($0)" }
        case .size(let range): return Self.bounds(of: range)
        case .amount: return "0% to 100%, or at least 0"
        case .list(let element, let minimum, let unique):
            let words = [
                minimum > 0 ? "at least \(minimum)" : nil, unique ? "none twice" : nil,
                element.rule.map { "each \($0)" },
            ].compactMap(\.self)
            return words.isEmpty ? nil : words.joined(separator: "; ")
        case .map(let key, _): return "names: \(key.allowed)"
        case .boolean, .object, .document, .unsupported: return nil
        }
    }
}
