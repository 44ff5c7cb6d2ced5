import Foundation

/// How the host's system is laid out: which of its folders exist and which are links.
struct HostSystem: Sendable, Hashable {
    enum Entry: Sendable, Hashable {
        case folder(String)
        case link(String, target: String)
    }

    /// In the order in which they are put into a sandbox.
    var entries: [Entry]
    /// Files and folders of `/proc` that are about the machine rather than a process, and may be written by their
    /// owner. Root's processes own them also where they have no capability: left open, one line into `core_pattern`
    /// would be the way out of a sandbox.
    var writableProc: [String]
    /// Files and folders of `/proc` that describe the machine or the kernel: what Docker masks, and a few more.
    var secretProc: [String]
    var secretProcFolders: [String] = []

    /// What programs need of the system: themselves, their libraries, and how those are found.
    static let folders = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]
    /// Of `/etc`, what every user of the machine may read and programs need. Of the folders for certificates only the
    /// public parts (Debian, Fedora and Alpine, NixOS): private keys lie beside them.
    static let configuration = [
        "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "ld.so.cache",
        "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release", "pki/ca-trust",
        "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols", "python3", "python3.11", "services",
        "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "static/ssl/certs", "timezone",
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
        let files = secrets.filter(manager.fileExists(atPath:))
        let folders = secretFolders.filter(manager.fileExists(atPath:))
        return HostSystem(
            entries: entries, writableProc: writable().filter { !files.contains($0) && !folders.contains($0) },
            secretProc: files, secretProcFolders: folders)
    }

    private static let secrets = [
        "cmdline", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kmsg", "latency_stats", "sched_debug",
        "slabinfo", "timer_list", "timer_stats", "vmallocinfo",
    ].map { "/proc/" + $0 }
    private static let secretFolders = ["acpi", "asound", "scsi"].map { "/proc/" + $0 }

    private static func writable() -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.sorted().map { "/proc/" + $0 }.filter { path in
            var found = stat()
            guard Int(path.dropFirst(6)) == nil, lstat(path, &found) == 0 else { return false }
            let kind = found.st_mode & S_IFMT
            return kind == S_IFDIR || kind == S_IFREG && found.st_mode & 0o222 != 0
        }
    }
}
