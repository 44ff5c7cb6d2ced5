import Core

extension StringRule {
    /// Any text.
    static let any = StringRule("text", pattern: "^(?!@)[^\\u0000]*$") { _ in nil }

    static let apiName = StringRule(
        "lower-case letters, digits and hyphens, beginning with a letter, not ending with a hyphen",
        pattern: "^(?!b-)[a-z]([-a-z0-9]*[a-z0-9])?$", maximumLength: 42
    ) { name in
        if name.hasPrefix("b-") { return Fault(kind: .notAllowed, message: "must not begin with \"b-\"") }
        return isName(name) ? nil : Fault(suggestion: nearName(name))
    }

    static let containerName = StringRule(
        "lower-case letters, digits and hyphens, beginning with a letter, not ending with a hyphen",
        pattern: "^(?!(dequeuer|proxy)$)[a-z]([-a-z0-9]*[a-z0-9])?$", maximumLength: 63
    ) { name in
        if name == "dequeuer" || name == "proxy" {
            return Fault(kind: .notAllowed, message: "must not be dequeuer or proxy, which are the platform's own")
        }
        return isName(name) ? nil : Fault(suggestion: nearName(name))
    }

    static let endpoint = StringRule(
        "a path of letters, digits and - _ . /, neither empty nor only /, without //, /./ and /../",
        pattern: "^(?!/?$)(?!.*//)(?!(.*/)?\\.\\.?(/|$))[-a-zA-Z0-9_./]+$", maximumLength: 1000
    ) { path in
        if path.isEmpty || path == "/" || !isPath(path) { return Fault(suggestion: pathOfURL(path)) }
        // Clients resolve such segments before they send a request, so the endpoint could not be reached.
        return path.split(separator: "/").contains { $0 == "." || $0 == ".." } ? Fault() : nil
    }

    static let probePath = StringRule(
        "a path of letters, digits and - _ . /, without //", pattern: "^(?!.*//)[-a-zA-Z0-9_./]*$", maximumLength: 1000
    ) { isPath($0) ? nil : Fault() }

    static let image = StringRule(
        "an image reference such as registry.example.com/team/model:1.2", pattern: ImageReference.pattern
    ) {
        ImageReference.isValid($0) ? nil : Fault(suggestion: nearImage($0))
    }

    static let environmentName = StringRule(
        "letters, digits and - _ ., not beginning with a digit",
        pattern: "^(?!CORTEX_|KUBEXIT_)[-._a-zA-Z][-._a-zA-Z0-9]*$",
        maximumLength: 1024
    ) { name in
        for prefix in ["CORTEX_", "KUBEXIT_"] where name.hasPrefix(prefix) {
            return Fault(
                kind: .reservedEnvironment, message: "must not begin with \(prefix), which is the platform's own")
        }
        let isValid = name.utf8.allSatisfy { isAlphanumeric($0) || [45, 46, 95].contains($0) }
        return isValid && name.utf8.first.map { !(48...57).contains($0) } ?? false ? nil : Fault()
    }

    static let origin = StringRule(
        "* or an origin such as https://example.com:8443", pattern: "^(\\*|https?://[-a-zA-Z0-9.:\\[\\]]+)$"
    ) { origin in
        if origin == "*" { return nil }
        for scheme in ["http://", "https://"] where origin.hasPrefix(scheme) {
            let host = origin.dropFirst(scheme.count)
            let isValid = host.utf8.allSatisfy { isAlphanumeric($0) || [45, 46, 58, 91, 93].contains($0) }
            return !host.isEmpty && isValid ? nil : Fault()
        }
        return Fault()
    }

    /// A header that a caller sets: the platform removes its own from each request (contract R3).
    static let headerName = StringRule(
        "the name of a header: letters, digits and ! # $ % & ' * + - . ^ _ ` | ~",
        pattern: "^(?![xX][-_][cC][oO][rR][tT][eE][xX][-_])[-!#$%&'*+.^_`|~0-9A-Za-z]+$", maximumLength: 64
    ) { name in
        if name.lowercased().replacing("_", with: "-").hasPrefix("x-cortex-") {
            return Fault(
                kind: .notAllowed, message: "must not begin with X-Cortex-: no caller can send such a header")
        }
        return isToken(name) ? nil : Fault()
    }

    static let cookieName = StringRule(
        "the name of a cookie: letters, digits and ! # $ % & ' * + - . ^ _ ` | ~",
        pattern: "^(?!__([hH][oO][sS][tT]|[sS][eE][cC][uU][rR][eE])-)[-!#$%&'*+.^_`|~0-9A-Za-z]+$", maximumLength: 64
    ) { name in
        let lower = name.lowercased()
        if lower.hasPrefix("__host-") || lower.hasPrefix("__secure-") {
            return Fault(
                kind: .notAllowed,
                message: "must not begin with __Host- or __Secure-: browsers drop such a cookie without Secure")
        }
        return isToken(name) ? nil : Fault()
    }

    static let headerValue = StringRule(
        "text without control characters, and without spaces around it",
        pattern: "^(?!@)(?! )[^\\u0000-\\u001f\\u007f]*(?<! )$"
    ) { $0.hasPrefix(" ") || $0.hasSuffix(" ") || !isPrintable($0) ? Fault() : nil }

    static let headerPrefix = StringRule(
        "text without control characters, and without spaces before it",
        pattern: "^(?!@)(?! )[^\\u0000-\\u001f\\u007f]*$"
    ) { $0.hasPrefix(" ") || !isPrintable($0) ? Fault() : nil }

    static let volume = StringRule(
        "source:target or source:target:ro, with an absolute target", pattern: VolumeSyntax.pattern
    ) {
        VolumeSyntax.fault(in: $0).map { Fault(kind: $0.kind, message: $0.message) }
    }

    /// The name that was probably intended: `my-iris` for `My_Iris`.
    private static func nearName(_ text: String) -> String? {
        let near = String(text.lowercased().map { "_ .".contains($0) ? "-" : $0 })
        return isName(near) && !near.hasPrefix("b-") ? near : nil
    }

    /// Without a scheme, the name in lower case, the tag unchanged.
    private static func nearImage(_ text: String) -> String? {
        var name = Substring(text)
        for scheme in ["https://", "http://", "docker://"] where name.hasPrefix(scheme) {
            name = name.dropFirst(scheme.count)
        }
        let end = name.lastIndex(of: ":").flatMap { name[$0...].contains("/") ? nil : $0 } ?? name.endIndex
        let near = name[..<end].lowercased() + name[end...]
        return near != text && ImageReference.isValid(near) ? near : nil
    }

    /// `/iris` of `http://example.com/iris`.
    private static func pathOfURL(_ text: String) -> String? {
        guard let scheme = text.firstRange(of: "://") else { return nil }
        let rest = text[scheme.upperBound...]
        guard let slash = rest.firstIndex(of: "/") else { return nil }
        let path = String(rest[slash...])
        return path != "/" && isPath(path) ? path : nil
    }

    private static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, (97...122).contains(first), last != 45 else {
            return false
        }
        return text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
    }

    /// A token of RFC 9110.
    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
    }

    private static func isPrintable(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 32 && $0 != 127 } }

    private static func isPath(_ text: String) -> Bool {
        var previous: UInt8 = 0
        for byte in text.utf8 {
            guard isAlphanumeric(byte) || [45, 46, 47, 95].contains(byte), byte != 47 || previous != 47 else {
                return false
            }
            previous = byte
        }
        return true
    }
}

/// Whether this is an ASCII letter or digit.
func isAlphanumeric(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
}
