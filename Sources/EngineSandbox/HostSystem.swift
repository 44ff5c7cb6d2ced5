import Foundation

/// How the host's system is laid out: which of its folders exist and which are links.
struct HostSystem: Sendable, Hashable {
    enum Entry: Sendable, Hashable {
        case folder(String)
        case link(String, target: String)
    }

    /// In the order in which they are put into a sandbox.
    var entries: [Entry]

    /// What programs need of the system: themselves, their libraries, and how those are found.
    static let folders = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]
    /// Of `/etc`, what is no secret and no one's personal configuration.
    static let configuration = [
        "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d", "localtime", "mime.types", "magic", "os-release", "pki", "protocols", "python3", "python3.11",
        "services", "ssl", "timezone",
    ].map { "/etc/" + $0 }

    /// Looks at this machine. Blocking.
    static func present() -> HostSystem {
        let manager = FileManager.default
        var entries: [Entry] = []
        for path in folders + configuration {
            if let target = try? manager.destinationOfSymbolicLink(atPath: path) {
                entries.append(.link(path, target: target))
            } else if manager.fileExists(atPath: path) {
                entries.append(.folder(path))
            }
        }
        return HostSystem(entries: entries)
    }
}
