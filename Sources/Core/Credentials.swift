/// A credential: a token, a key, a password. Its text does not appear in descriptions, a debugger's dump or a mirror of
/// it or of an enclosing value (contract N9). It is not `Codable`, so that it is only written where the code says so.
package struct Secret: Sendable, Hashable {
    /// The text, for the only place that sends or stores it.
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
    /// Whether the field contains the caller's credential: such fields of a failed request are erased at once, also
    /// while its payload is kept for `cortex retry` (contract A12).
    package var carriesCredential: Bool {
        switch name.lowercased() {
        case "authorization", "cookie", "proxy-authorization": true
        default: false
        }
    }
}

/// `pod.operator_access`: the rights of the pod's credential at the operator (contract N1). Later cases include earlier
/// ones.
package enum OperatorAccess: String, Sendable, Hashable, Codable, CaseIterable, Comparable {
    /// Nothing.
    case none
    /// List the APIs, and read the status, requests and logs of its own API.
    case read
    /// Also refresh its own API and read all of its data.
    case own
    /// Everything that the CLI can do, except mounting folders of the host.
    case full

    /// The default.
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
