import Core

/// The base URLs under which this machine reaches gateway and operator, without a slash at the end.
package struct PlatformAddresses: Sendable, Hashable {
    package var gateway: String
    package var `operator`: String

    package init(gateway: String, operator: String) {
        self.gateway = gateway
        self.operator = `operator`
    }

    /// The same addresses as the sender of a request with this `Host` can use them.
    ///
    /// Inside a container that is the cluster's own names (contract C10). When gateway or operator listen on every
    /// address, the one that worked for the caller is taken.
    package func reachable(from host: String?) -> PlatformAddresses {
        guard let host, let name = Self.hostName(of: host) else { return self }
        switch name {
        case ClusterNames.operatorIngress, ClusterNames.operatorService:
            return PlatformAddresses(gateway: "http://\(ClusterNames.gateway)", operator: "http://\(host.lowercased())")
        default:
            return PlatformAddresses(
                gateway: Self.replacingWildcard(of: gateway, with: name),
                operator: Self.replacingWildcard(of: `operator`, with: name))
        }
    }

    /// The host without its port, in lower case; `nil` for what cannot be a host, so that nothing strange is echoed.
    private static func hostName(of authority: String) -> String? {
        guard authority.utf8.count <= 300 else { return nil }
        let lower = authority.lowercased()
        let name: Substring
        if lower.hasPrefix("[") {
            guard let end = lower.firstIndex(of: "]") else { return nil }
            name = lower[...end]
        } else {
            name = lower.prefix { $0 != ":" }
        }
        let allowed = name.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"): true
            case UInt8(ascii: "["), UInt8(ascii: "]"): true
            default: false
            }
        }
        return allowed && !name.isEmpty ? String(name) : nil
    }

    private static func replacingWildcard(of url: String, with name: String) -> String {
        for wildcard in ["//0.0.0.0", "//[::]"] {
            guard let range = url.firstRange(of: wildcard) else { continue }
            return url.replacingCharacters(in: range, by: "//\(name)")
        }
        return url
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<String.Index>, by text: String) -> String {
        var copy = self
        copy.replaceSubrange(range, with: text)
        return copy
    }
}
