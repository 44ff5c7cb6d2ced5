import Core

/// Clients and servers of one major.minor understand each other (contract O6).
enum VersionCheck {
    /// - Parameter client: what the header `CortexAPIVersion` says; `nil` without one, which is served.
    /// - Throws: `version_mismatch`, naming both versions.
    static func check(client: String?, server: String = CortexVersion.current) throws {
        guard let client, series(of: client) != series(of: server) || series(of: client) == nil else { return }
        throw PlatformError(
            .versionMismatch,
            "your client has version \(client.shown) and this server has version \(server): use a client of version \(seriesText(of: server)), or upgrade the server"
        )
    }

    private static func series(of version: String) -> [Int]? {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 2, let major = Int(parts[0]),
            let minor = Int(parts[1].prefix { $0.isASCII && $0.isNumber })
        else { return nil }
        return [major, minor]
    }

    private static func seriesText(of version: String) -> String {
        series(of: version).map { "\($0[0]).\($0[1])" } ?? version
    }
}
