/// The grammar of a Docker image reference: `[host[:port]/]path[:tag][@digest]`.
///
/// Source: the distribution project's reference grammar.
package enum ImageReference {
    /// The same as an ECMA 262 expression, but for the length of the name.
    static let pattern: String = {
        let component = "[a-z0-9]+((\\.|__?|-+)[a-z0-9]+)*"
        let label = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
        let digest = "@[a-zA-Z][-+._a-zA-Z0-9]*:[0-9a-fA-F]{32,}"
        return
            "^(\(label)(\\.\(label))*(:[0-9]+)?/)?\(component)(/\(component))*(:[_a-zA-Z0-9][-._a-zA-Z0-9]{0,127})?(\(digest))?$"
    }()

    package static func isValid(_ text: String) -> Bool {
        guard !text.isEmpty, text.utf8.count <= 1024, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            return false
        }
        var name = Substring(text)
        if let at = name.firstIndex(of: "@") {
            guard isDigest(name[name.index(after: at)...]) else { return false }
            name = name[..<at]
        }
        if let colon = name.lastIndex(of: ":"), !name[colon...].contains("/") {
            guard isTag(name[name.index(after: colon)...]) else { return false }
            name = name[..<colon]
        }
        guard name.utf8.count <= 255 else { return false }
        var components = name.split(separator: "/", omittingEmptySubsequences: false)
        if components.count > 1, let host = components.first, !isComponent(host) {
            guard isHost(host) else { return false }
            components.removeFirst()
        }
        return components.allSatisfy(isComponent)
    }

    /// Lower-case letters and digits, joined by one `.`, one or two `_`, or hyphens.
    private static func isComponent(_ text: Substring) -> Bool {
        var separator: [UInt8] = []
        var seen = false
        for byte in text.utf8 {
            if (97...122).contains(byte) || (48...57).contains(byte) {
                guard separator.isEmpty || (seen && isSeparator(separator)) else { return false }
                separator = []
                seen = true
            } else {
                separator.append(byte)
            }
        }
        return seen && separator.isEmpty
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes == [46] || bytes == [95] || bytes == [95, 95] || bytes.allSatisfy { $0 == 45 }
    }

    private static func isHost(_ text: Substring) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let host = parts.first, parts.count <= 2 else { return false }
        if parts.count == 2 {
            guard !parts[1].isEmpty, parts[1].utf8.allSatisfy({ (48...57).contains($0) }) else { return false }
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == 45 }
        }
    }

    private static func isTag(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, isAlphanumeric(first) || first == 95, text.utf8.count <= 128 else {
            return false
        }
        return text.utf8.allSatisfy { isAlphanumeric($0) || [45, 46, 95].contains($0) }
    }

    private static func isDigest(_ text: Substring) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = parts[0].utf8.first, isAlphanumeric(first), !(48...57).contains(first)
        else {
            return false
        }
        let isAlgorithm = parts[0].utf8.allSatisfy { isAlphanumeric($0) || [43, 45, 46, 95].contains($0) }
        let isHex = parts[1].utf8.allSatisfy {
            (48...57).contains($0) || (65...70).contains($0) || (97...102).contains($0)
        }
        return isAlgorithm && isHex && parts[1].utf8.count >= 32
    }
}
