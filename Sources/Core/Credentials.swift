/// A credential: a token, a key, a password. Neither a description, a debugger's dump nor a mirror of it, or of a value
/// that holds it, shows the text (contract N9). It is not `Codable`, so that it is only written where the code says so.
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

extension HeaderField {
    /// Whether the field carries the caller's credential: such fields of a failed request are erased at once, also
    /// while its payload is kept for `cortex retry` (contract A12).
    package var carriesCredential: Bool {
        switch name.lowercased() {
        case "authorization", "cookie", "proxy-authorization": true
        default: false
        }
    }
}

/// `pod.operator_access`: what the credential in a pod may do at the operator (contract N1). Later cases include
/// earlier ones.
package enum OperatorAccess: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
    /// Nothing.
    case none
    /// See which APIs there are, and the status, requests and logs of its own API.
    case read
    /// Also refresh its own API and read everything of it.
    case own
    /// What the CLI may do, without folders of the host.
    case full

    /// What an API gets that does not say otherwise.
    package static let standard = OperatorAccess.read

    package static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .none: 0
        case .read: 1
        case .own: 2
        case .full: 3
        }
    }
}
