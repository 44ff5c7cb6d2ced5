import Core
import Foundation

/// The URL of an operator or gateway, checked and normalized: scheme, host, perhaps a port and a path, no
/// slash at the end.
package struct EndpointURL: Sendable, Hashable, CustomStringConvertible {
    package let text: String
    package let scheme: String
    /// In lower case; an IPv6 address without brackets.
    package let host: String
    package let port: Int?
    /// Empty, or beginning with a slash.
    package let path: String

    /// Reads what a person types: without a scheme, `http` is meant for this machine and for the cluster's own names,
    /// `https` for all else.
    ///
    /// - Throws: ``PlatformError`` `usage`.
    package init(_ input: String) throws {
        let trimmed = input.trimmingCharacters(in: .whitespacesAndNewlines)
        let shown = Self.withoutSecrets(trimmed)
        let wrong = PlatformError(
            .usage, "\"\(shown)\" is not a URL; write it like http://127.0.0.1:8888 or https://cortex.example.com")
        var candidate = trimmed
        if !candidate.contains("://") {
            guard let host = URLComponents(string: "http://\(candidate)")?.host else { throw wrong }
            candidate = "\(Self.isLocal(host) ? "http" : "https")://\(candidate)"
        }
        guard let parts = URLComponents(string: candidate), let scheme = parts.scheme?.lowercased(),
            scheme == "http" || scheme == "https", let host = parts.host, !host.isEmpty
        else { throw wrong }
        guard parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil else {
            throw PlatformError(
                .usage,
                "\"\(shown)\" has parts that an endpoint cannot have (a user, a password, a query or a fragment); write it like"
                    + " http://127.0.0.1:8888 or https://cortex.example.com")
        }
        if let port = parts.port, !(1...65_535).contains(port) { throw wrong }
        var path = parts.percentEncodedPath
        while path.hasSuffix("/") { path.removeLast() }
        self.scheme = scheme
        self.host = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]")).lowercased()
        self.port = parts.port
        self.path = path
        let authority = self.host.contains(":") ? "[\(self.host)]" : self.host
        self.text = "\(scheme)://\(authority)\(parts.port.map { ":\($0)" } ?? "")\(path)"
    }

    package var description: String { text }

    /// A URL as it may be shown: without user, password, query and fragment, which can hold a secret (contract N9).
    package static func withoutSecrets(_ url: String) -> String {
        var shown = url[...]
        if let end = shown.firstIndex(where: { $0 == "?" || $0 == "#" }), !shown[end...].contains("@") {
            shown = shown[..<end] + "…"
        }
        guard let sign = shown.lastIndex(of: "@") else { return String(shown) }
        let scheme = shown.range(of: "://").map { shown[..<$0.upperBound] } ?? ""
        let rest = shown[shown.index(after: sign)...].prefix { $0 != "?" && $0 != "#" }
        return "\(scheme)…@\(rest)"
    }

    /// Host and port, as a `Host` header has them.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "") }

    /// Whether the host is this machine.
    package var isLoopback: Bool { Self.isLoopback(host) }

    /// Whether the host is one of the operator's names inside a container of the cluster (contract C10).
    package var isInsideCluster: Bool {
        host == ClusterNames.operatorService || host == ClusterNames.operatorIngress
    }

    /// The same path on another server.
    func replacing(scheme: String, host: String, port: Int?) throws -> EndpointURL {
        let authority = host.contains(":") ? "[\(host)]" : host
        return try EndpointURL("\(scheme)://\(authority)\(port.map { ":\($0)" } ?? "")\(path)")
    }

    private static func isLoopback(_ host: String) -> Bool {
        let host = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]")).lowercased()
        return host == "localhost" || host.hasSuffix(".localhost") || host == "::1" || host.hasPrefix("127.")
    }

    private static func isLocal(_ host: String) -> Bool {
        isLoopback(host) || host.lowercased().hasSuffix(".svc.cluster.local")
    }
}
