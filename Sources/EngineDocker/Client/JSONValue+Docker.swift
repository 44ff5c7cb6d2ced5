import Core

/// Short forms for the documents that the Docker API takes.
extension JSONValue {
    /// An array of strings.
    static func strings(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }

    /// An object whose values are strings.
    static func strings(_ values: [String: String]) -> JSONValue { .object(values.mapValues(JSONValue.string)) }

    /// The text of a string; empty for anything else.
    var text: String {
        guard case .string(let text) = self else { return "" }
        return text
    }

    /// The member of an object; `nil` removes it. For anything but an object, reading gives `nil` and writing does
    /// nothing.
    subscript(key: String) -> JSONValue? {
        get {
            guard case .object(let members) = self else { return nil }
            return members[key]
        }
        set {
            guard case .object(var members) = self else { return }
            members[key] = newValue
            self = .object(members)
        }
    }
}
