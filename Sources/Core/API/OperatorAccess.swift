/// `pod.operator_access`: what the credential in a pod may do at the operator (contract N1). Later cases include earlier ones.
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
