import Core
import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A socket's path in a form that `bind` takes, and what must stay open for it.
///
/// A socket address holds about a hundred bytes. A longer path goes through its folder's descriptor
/// (`/proc/self/fd/N/name`). The calls here take microseconds on a local folder; they are made once, at start.
final class UnixSocketPath: Sendable {
    /// What to bind to.
    let bindable: String
    private let folder: Int32?

    /// `sun_path` less its closing zero.
    private static let longest = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    /// - Throws: ``PlatformError`` `setup` where the folder cannot be opened, the name is too long, something else
    ///   stands there, or a server is listening there.
    init(_ path: String) throws {
        guard path.utf8.count > Self.longest else {
            self.bindable = path
            self.folder = nil
            try Self.makeRoom(at: path, called: path)
            return
        }
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let name = path[path.index(after: slash)...]
        let descriptor = open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PlatformError(
                .setup,
                "the folder of the socket \(path) cannot be opened: \(Self.reason(errno)). Create it, or choose another data directory"
            )
        }
        let short = "/proc/self/fd/\(descriptor)/\(name)"
        guard short.utf8.count <= Self.longest else {
            close(descriptor)
            throw PlatformError(.setup, "the name of the socket \(path) is too long. Choose a shorter one")
        }
        do {
            try Self.makeRoom(at: short, called: path)
        } catch {
            close(descriptor)
            throw error
        }
        self.bindable = short
        self.folder = descriptor
    }

    deinit {
        if let folder { close(folder) }
    }

    /// Removes a socket without a listener.
    private static func makeRoom(at path: String, called name: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw PlatformError(
                .setup, "\(name) exists and is no socket. Move it away, or choose another data directory")
        }
        if isAnswering(path) {
            throw PlatformError(.setup, "another server is listening on \(name). Stop it first")
        }
        unlink(path)
    }

    private static func isAnswering(_ path: String) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(longest)) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // A full backlog (EAGAIN) is a living server too.
        return result == 0 || errno == EAGAIN
    }

    private static func reason(_ code: Int32) -> String {
        String(cString: strerror(code))
    }
}
