package import Core

/// A cluster that the CLI and the clients can talk to: one entry of `cli.yaml` (reference: cortex.md §9.2).
package struct Environment: Sendable, Hashable {
    package var name: String
    /// The operator's URL, without a slash at its end.
    package var operatorEndpoint: String
    /// The operator's bearer token; `nil` where none is known.
    package var token: String?
    /// The unix socket of a platform on this machine, which is used instead of the URL (contract U3); `nil` for a
    /// platform elsewhere.
    package var operatorSocket: String?
    /// Keys of other programs, kept as they are.
    package var extra: [String: JSONValue]

    package init(
        name: String, operatorEndpoint: String, token: String? = nil, operatorSocket: String? = nil,
        extra: [String: JSONValue] = [:]
    ) {
        self.name = name
        self.operatorEndpoint = operatorEndpoint
        self.token = token
        self.operatorSocket = operatorSocket
        self.extra = extra
    }

    /// Longest name, in characters.
    package static let nameLimit = 63

    /// What is wrong with a name, or `nil`. New names are plain so that they need no quoting in a shell.
    package static func problem(withName name: String) -> String? {
        guard !name.isEmpty else { return "an environment's name cannot be empty" }
        guard name.count <= nameLimit else { return "an environment's name has at most \(nameLimit) characters" }
        let allowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard allowed, !name.hasPrefix("-") else {
            return "\"\(name)\" cannot be an environment's name: use letters, digits, '-', '_' and '.'"
        }
        return nil
    }
}

/// A token as a person or a file hands it over.
package enum TokenText {
    /// Longest token, in bytes.
    private static let limit = 4096

    /// The token without the white space around it, such as the line end of a file; `nil` for an empty text.
    ///
    /// - Parameter origin: its source, for messages, such as `CORTEX_TOKEN`.
    /// - Throws: ``PlatformError`` `usage` that says what is wrong and never shows the value (contract N9).
    package static func clean(_ text: String, from origin: String) throws -> String? {
        let isSpace: (Unicode.Scalar) -> Bool = { $0.properties.isWhitespace || $0 == "\u{FEFF}" }
        var scalars = text.unicodeScalars[...].drop(while: isSpace)
        while let last = scalars.last, isSpace(last) { scalars.removeLast() }
        guard !scalars.isEmpty else { return nil }
        guard !scalars.contains(where: { $0 == "\n" || $0 == "\r" }) else {
            throw PlatformError(
                .usage, "the token in \(origin) has a line break inside; a token is one line: give only that line")
        }
        guard scalars.allSatisfy({ (0x21...0x7E).contains($0.value) }) else {
            throw PlatformError(
                .usage,
                "the token in \(origin) has a character that no token has (a space, a control character or a letter beyond ASCII); copy it again"
            )
        }
        guard scalars.count <= limit else {
            throw PlatformError(.usage, "the token in \(origin) is longer than \(limit) characters; is it a token?")
        }
        return String(String.UnicodeScalarView(scalars))
    }
}
