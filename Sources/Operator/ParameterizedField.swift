/// A header value with parameters: `form-data; name="config"` (RFC 9110 §5.6.6). Lenient: what cannot be read is left
/// out.
struct ParameterizedField {
    var value: String
    /// By name in lower case; the first of a name counts.
    var parameters: [String: String] = [:]

    init(_ text: String) {
        var characters = Substring(text)
        self.value = Self.trimmed(characters.take { $0 != ";" })
        while characters.popFirst() != nil {
            let name = Self.trimmed(characters.take { $0 != "=" && $0 != ";" }).lowercased()
            guard characters.first == "=" else { continue }
            characters.removeFirst()
            characters = characters.drop { $0 == " " || $0 == "\t" }
            let value: String
            if characters.first == "\"" {
                characters.removeFirst()
                value = Self.quoted(&characters)
                _ = characters.take { $0 != ";" }
            } else {
                value = Self.trimmed(characters.take { $0 != ";" })
            }
            if parameters[name] == nil { parameters[name] = value }
        }
    }

    /// The rest of a quoted string up to its closing quote, with `\"` and `\\` undone.
    private static func quoted(_ characters: inout Substring) -> String {
        var value = ""
        while let character = characters.popFirst(), character != "\"" {
            if character == "\\", let next = characters.first, next == "\"" || next == "\\" {
                characters.removeFirst()
                value.append(next)
            } else {
                value.append(character)
            }
        }
        return value
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}

extension Substring {
    /// Removes and returns what comes before the first character that does not fit.
    fileprivate mutating func take(while fits: (Character) -> Bool) -> Substring {
        let taken = prefix(while: fits)
        self = self[taken.endIndex...]
        return taken
    }
}
