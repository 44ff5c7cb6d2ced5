import Core
import Foundation

/// What an engine hands to a registry.
struct RegistryCredentials: Sendable, Hashable {
    var username = ""
    var password = ""
    /// Instead of a password, where the registry gave one.
    var identityToken = ""
    var registry = ""

    static let anonymous = RegistryCredentials()

    /// The value of `X-Registry-Auth`: JSON in URL-safe base64.
    var header: String {
        guard self != .anonymous else { return "e30=" }
        var members: [String: String] = ["serveraddress": registry]
        if !identityToken.isEmpty {
            members["identitytoken"] = identityToken
        } else {
            members["username"] = username
            members["password"] = password
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings always encode.
        let data = (try? encoder.encode(members)) ?? Data("{}".utf8)
        return data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
    }
}

/// The part of Docker's `config.json` that says where credentials are.
struct DockerConfigurationFile: Sendable, Decodable {
    struct Entry: Sendable, Decodable {
        var auth: String?
        var username: String?
        var password: String?
        var identitytoken: String?
    }
    var auths: [String: Entry]?
    var credHelpers: [String: String]?
    var credsStore: String?

    /// The helper program's suffix for a registry, if there is one.
    func helper(for registry: String) -> String? {
        let named = credHelpers?.first { Self.host(of: $0.key) == registry }?.value
        return (named ?? credsStore).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What stands in the file itself.
    func credentials(for registry: String) -> RegistryCredentials? {
        // An exact key before one that only means the same host.
        let entries = (auths ?? [:]).sorted { $0.key < $1.key }
        guard
            let entry = entries.first(where: { $0.key == Self.key(for: registry) || $0.key == registry })?.value
                ?? entries.first(where: { Self.host(of: $0.key) == registry })?.value
        else { return nil }
        var result = RegistryCredentials(registry: Self.key(for: registry))
        if let token = entry.identitytoken, !token.isEmpty {
            result.identityToken = token
            return result
        }
        if let auth = entry.auth, !auth.isEmpty {
            guard let data = Data(base64Encoded: auth) else { return nil }
            let text = String(decoding: data, as: UTF8.self)
            guard let colon = text.firstIndex(of: ":") else { return nil }
            result.username = String(text[..<colon])
            // Docker's own writer sometimes leaves NULs at the end.
            result.password = String(text[text.index(after: colon)...]).replacing("\u{0}", with: "")
            return result
        }
        guard let username = entry.username, let password = entry.password else { return nil }
        result.username = username
        result.password = password
        return result
    }

    /// The key under which Docker keeps a registry.
    static func key(for registry: String) -> String {
        registry == "docker.io" ? "https://index.docker.io/v1/" : registry
    }

    /// The host that a key means, with its port: keys may be URLs.
    static func host(of key: String) -> String {
        var rest = key[...]
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        let host = rest.prefix { $0 != "/" }
        return ["index.docker.io", "registry-1.docker.io"].contains(host) ? "docker.io" : String(host)
    }
}
