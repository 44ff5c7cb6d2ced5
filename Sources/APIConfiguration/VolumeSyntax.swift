import Core

/// The short syntax of a volume: `source:target`, `source:target:ro` (or `:rw`).
package enum VolumeSyntax {
    /// Folders of the platform or the system inside every container.
    private static let reserved = ["/mnt", "/cortex", "/proc", "/sys", "/dev"]

    /// The same as an ECMA 262 expression: no `~` or `@` at the start, no `..`, `/` or reserved folder as target.
    static let pattern: String = {
        let names = reserved.map { String($0.dropFirst()) }.joined(separator: "|")
        let forbidden =
            "(?![^:]*/\\.\\.(/|:|$))(?!/(\\.?/)*\\.?(:|$))(?!/(\\.?/)*(\(names))(/|:|$))"
        return "^(?![~@])[^:\\u0000]+:\(forbidden)/[^:\\u0000]*(:r[ow])?$"
    }()

    struct Fault {
        var kind: ConfigurationProblem.Kind
        var message: String?
    }

    /// The fault of the text, independent of the folder to which it is relative.
    static func fault(in text: String) -> Fault? {
        guard let (source, target, _) = split(text) else { return Fault(kind: .invalidFormat) }
        if source.hasPrefix("~") {
            return Fault(kind: .invalidFormat, message: "must not begin with ~, which is not expanded here")
        }
        guard target.hasPrefix("/") else { return Fault(kind: .invalidFormat) }
        let path = normalized(target)
        if target.split(separator: "/").contains("..") {
            return Fault(kind: .invalidFormat, message: "the target must not contain ..")
        }
        if path == "/" { return Fault(kind: .notAllowed, message: "the target must not be / itself") }
        for folder in reserved where path == folder || path.hasPrefix(folder + "/") {
            return Fault(
                kind: .notAllowed, message: "the target must not be in \(folder), which is reserved")
        }
        return nil
    }

    /// The volume, with its source resolved; `nil` if the source is relative and there is no folder to resolve it
    /// against, or if there is a fault.
    static func parse(_ text: String, baseDirectory: String?) -> ContainerSpecification.Volume? {
        guard fault(in: text) == nil, let (source, target, readOnly) = split(text) else { return nil }
        guard let absolute = source.hasPrefix("/") ? source : baseDirectory.map({ "\($0)/\(source)" }),
            absolute.hasPrefix("/")
        else { return nil }
        return .init(source: normalized(absolute), target: normalized(target), readOnly: readOnly)
    }

    private static func split(_ text: String) -> (source: String, target: String, readOnly: Bool)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2 || parts.count == 3, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
        guard parts.count == 3 else { return (parts[0], parts[1], false) }
        guard parts[2] == "ro" || parts[2] == "rw" else { return nil }
        return (parts[0], parts[1], parts[2] == "ro")
    }

    /// Without `.`, `..` and doubled slashes; `..` at the root stays at the root.
    package static func normalized(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}
