import Core

/// Clients and servers with the same major.minor are compatible (contract O6). Both sides use this rule and message.
package enum VersionHandshake {
    /// The header with the version of a client, and of the operator in its answers.
    package static let header = "CortexAPIVersion"

    /// - Throws: ``PlatformError`` `version_mismatch` that names both versions and says what to do.
    package static func check(client: String, server: String) throws {
        guard let ours = series(of: client), let theirs = series(of: server), ours == theirs else {
            throw PlatformError(
                .versionMismatch,
                "the client has version \(shown(client)) and the server has version \(shown(server)), which do not"
                    + " understand each other: use a client of version \(seriesText(server)), or bring the server to"
                    + " version \(seriesText(client))")
        }
    }

    /// `[major, minor]`; `nil` if the text is not a version.
    private static func series(of version: String) -> [Int]? {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 2, let major = Int(parts[0]),
            let minor = Int(parts[1].prefix { $0.isASCII && $0.isNumber })
        else { return nil }
        return [major, minor]
    }

    private static func seriesText(_ version: String) -> String {
        series(of: version).map { "\($0[0]).\($0[1])" } ?? shown(version)
    }

    /// A received version for a message.
    private static func shown(_ version: String) -> String {
        let isPlain = version.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return isPlain && (1...40).contains(version.utf8.count) ? version : "of an unknown form"
    }
}
