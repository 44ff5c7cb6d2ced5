/// A reference to an image: `[registry/]name[:tag][@digest]`, taken apart.
///
/// Engines answer bad ones with different statuses, so they are checked here (grammar: the distribution project's reference format).
package struct ImageReference: Sendable, Hashable, CustomStringConvertible {
    /// As written.
    package let text: String
    /// Host and port of the registry; `docker.io` when the reference names none.
    package let registry: String
    /// Registry and name as written, without tag and digest.
    package let name: String
    package let tag: String?
    package let digest: String?

    /// `nil` when `text` is no reference.
    package init?(_ text: String) {
        guard text.utf8.count <= 512 else { return nil }
        var rest = text[...]
        var digest: String?
        if let at = rest.firstIndex(of: "@") {
            let value = rest[rest.index(after: at)...]
            guard Self.isDigest(value) else { return nil }
            digest = String(value)
            rest = rest[..<at]
        }
        var tag: String?
        let slash = rest.lastIndex(of: "/")
        if let colon = rest.lastIndex(of: ":"), slash.map({ colon > $0 }) ?? true {
            let value = rest[rest.index(after: colon)...]
            guard Self.isTag(value) else { return nil }
            tag = String(value)
            rest = rest[..<colon]
        }
        var parts = rest.split(separator: "/", omittingEmptySubsequences: false)
        var registry = "docker.io"
        if parts.count > 1, parts[0].contains(where: { $0 == "." || $0 == ":" }) || parts[0] == "localhost" {
            guard Self.isHost(parts[0]) else { return nil }
            registry = String(parts.removeFirst())
        }
        guard !parts.isEmpty, parts.allSatisfy(Self.isComponent) else { return nil }
        self.text = text
        self.registry = registry == "index.docker.io" ? "docker.io" : registry
        self.name = String(rest)
        self.tag = tag
        self.digest = digest
    }

    package var description: String { text }

    /// Names that exist on this machine only: nothing serves them.
    package var isLocal: Bool { registry == "localhost" }

    /// Parameters of `/images/create`. Without a tag or digest an engine would pull every tag.
    var pullQuery: [(String, String)] {
        if let digest { return [("fromImage", "\(name)@\(digest)")] }
        return [("fromImage", name), ("tag", tag ?? "latest")]
    }

    private static func isDigest(_ text: Substring) -> Bool {
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        guard halves.count == 2, !halves[0].isEmpty, halves[1].utf8.count >= 32 else { return false }
        return halves[0].utf8.allSatisfy { isLower($0) || isDigit($0) } && halves[1].utf8.allSatisfy(isHex)
    }

    private static func isTag(_ text: Substring) -> Bool {
        guard (1...128).contains(text.utf8.count), let first = text.utf8.first else { return false }
        guard isLower(first) || isUpper(first) || isDigit(first) || first == UInt8(ascii: "_") else { return false }
        return text.utf8.allSatisfy {
            isLower($0) || isUpper($0) || isDigit($0) || [45, 46, 95].contains($0)
        }
    }

    private static func isHost(_ text: Substring) -> Bool {
        let halves = text.split(separator: ":", omittingEmptySubsequences: false)
        guard halves.count <= 2, !halves[0].isEmpty else { return false }
        if halves.count == 2 { guard UInt16(halves[1]) != nil else { return false } }
        return halves[0].utf8.allSatisfy { isLower($0) || isUpper($0) || isDigit($0) || [45, 46].contains($0) }
    }

    /// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
    private static func isComponent(_ text: Substring) -> Bool {
        var separator = ""
        var isFirst = true
        for byte in text.utf8 {
            if isLower(byte) || isDigit(byte) {
                let isGood =
                    separator.isEmpty || separator == "." || separator == "_" || separator == "__"
                    || separator.allSatisfy { $0 == "-" }
                guard isGood, separator.isEmpty || !isFirst else { return false }
                separator = ""
                isFirst = false
            } else if [45, 46, 95].contains(byte), !isFirst {
                separator.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                return false
            }
        }
        return separator.isEmpty && !isFirst
    }

    private static func isLower(_ byte: UInt8) -> Bool { (97...122).contains(byte) }
    private static func isUpper(_ byte: UInt8) -> Bool { (65...90).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
    private static func isHex(_ byte: UInt8) -> Bool { isDigit(byte) || (97...102).contains(byte) }
}
