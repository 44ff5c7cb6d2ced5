/// A credential: a token, a key, a password. Neither a description, a debugger's dump nor a mirror of it, or of a value that holds it, shows
/// the text (contract N9). It is not `Codable`, so that it is only written where the code says so.
package struct Secret: Sendable, Hashable {
    /// The text itself, for the one place that sends or stores it.
    package let revealed: String

    package init(_ text: String) {
        self.revealed = text
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "(secret)" }
    package var debugDescription: String { "(secret)" }
    package var customMirror: Mirror { Mirror(self, children: [], displayStyle: .struct) }
}
