import Core

/// A token as a person or a file hands it over.
package enum TokenText {
    /// Longest token, in bytes.
    private static let limit = 4096

    /// The token without the white space around it, such as the line end of a file; `nil` for an empty text.
    ///
    /// - Parameter origin: where it comes from, for messages, such as `CORTEX_TOKEN`.
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
