/// A reference to an image: `[host[:port]/]path[:tag][@digest]`. The only grammar of the platform, for `cortex.yaml`
/// and for calls of an engine.
///
/// Source: the distribution project's reference grammar, without hosts that tools read as the name of a transport
/// (`oci:1/a`).
package struct ImageReference: Sendable, Hashable, CustomStringConvertible {
    /// As written.
    package let text: String
    /// Host and port of the registry; `docker.io` when the reference names none.
    package let registry: String
    /// Registry and name in full, without tag and digest: `docker.io/library/python`.
    package let repository: String
    package let tag: String?
    package let digest: String?

    /// Bytes of the longest reference, and of the longest name in it.
    private static let lengthLimit = 1024
    private static let nameLimit = 255

    /// `nil` if `text` is not a reference.
    package init?(_ text: String) {
        guard text.utf8.count <= Self.lengthLimit, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return nil }
        var name = Substring(text)
        var digest: String?
        if let at = name.firstIndex(of: "@") {
            let value = name[name.index(after: at)...]
            guard Self.isDigest(value) else { return nil }
            digest = String(value)
            name = name[..<at]
        }
        var tag: String?
        if let colon = name.lastIndex(of: ":"), !name[colon...].contains("/") {
            let value = name[name.index(after: colon)...]
            guard Self.isTag(value) else { return nil }
            tag = String(value)
            name = name[..<colon]
        }
        guard name.utf8.count <= Self.nameLimit else { return nil }
        var components = name.split(separator: "/", omittingEmptySubsequences: false)
        var registry = "docker.io"
        if components.count > 1, let host = components.first, Self.namesHost(host) {
            guard Self.isHost(host) else { return nil }
            registry = String(host)
            components.removeFirst()
        }
        guard !components.isEmpty, components.allSatisfy(Self.isComponent) else { return nil }
        if registry == "index.docker.io" { registry = "docker.io" }
        if registry == "docker.io", components.count == 1 { components.insert("library", at: 0) }
        self.text = text
        self.registry = registry
        self.repository = ([registry] + components.map(String.init)).joined(separator: "/")
        self.tag = tag
        self.digest = digest
    }

    /// Whether `text` is the reference of an image.
    package static func isValid(_ text: String) -> Bool { ImageReference(text) != nil }

    package var description: String { text }

    /// The reference in full, as engines store it: `docker.io/library/python:latest`.
    package var fullName: String {
        if let digest { return "\(repository)@\(digest)" }
        return "\(repository):\(tag ?? "latest")"
    }

    /// Whether the name exists only on this machine, without a registry.
    package var isLocal: Bool { registry == "localhost" }

    /// The same as an ECMA 262 expression, without the length of the name.
    package static let pattern: String = {
        let component = "[a-z0-9]+((\\.|__?|-+)[a-z0-9]+)*"
        let label = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
        let dotted = "\(label)(\\.\(label))+(:[0-9]+)?"
        let single = "(?!(\(transports.joined(separator: "|"))):)\(label):[0-9]+"
        let upper = "(?=[a-z0-9-]*[A-Z])\(label)"
        let digest = "@[a-zA-Z][-+._a-zA-Z0-9]*:[0-9a-fA-F]{32,}"
        return
            "^((\(dotted)|\(single)|\(upper)|localhost)/|(?![^/]*[.][^/]*/))\(component)(/\(component))*(:[_a-zA-Z0-9][-._a-zA-Z0-9]{0,127})?(\(digest))?$"
    }()

    /// Names that Podman and Skopeo read as a transport before a colon.
    private static let transports = [
        "containers-storage", "dir", "docker-archive", "docker-daemon", "docker", "oci-archive", "oci", "ostree", "sif",
        "tarball",
    ]

    /// Whether the first component is a host rather than a part of the name.
    private static func namesHost(_ text: Substring) -> Bool {
        text == "localhost" || text.utf8.contains { $0 == 46 || $0 == 58 || (65...90).contains($0) }
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
            guard !transports.contains(String(host)) else { return false }
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

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }
}
