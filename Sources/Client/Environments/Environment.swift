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
