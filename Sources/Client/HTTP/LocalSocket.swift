import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The unix socket of a platform on this machine, through its folder, which only the platform's user can write to.
///
/// Any user may take over a TCP port while the platform is down; no other user can put a socket into that folder. So a
/// token that is sent through it reaches only the platform (contract U3). The folder stays open, and its checked
/// descriptor is the way to the socket.
final class LocalSocket: Sendable {
    /// What to connect to. Short, however long the folder's path is.
    let path: String
    private let folder: CInt

    /// Opens the folder of a socket and checks that it belongs to this user, or to root, and that no other user can
    /// write to it. Takes microseconds on a local disk.
    ///
    /// - Throws: ``PlatformError`` `connection_failed` without a cause when the folder is not there; `setup` when it is
    ///   not to be trusted.
    init(_ socket: String) throws {
        guard let slash = socket.lastIndex(of: "/"), slash != socket.startIndex else {
            throw PlatformError(.setup, "operator_socket in cli.yaml is not an absolute path; correct it or remove it")
        }
        let parent = String(socket[..<slash])
        let descriptor = open(parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            let reason = errno
            if reason == ENOENT { throw PlatformError(.connectionFailed, "there is no folder \(parent)") }
            throw PlatformError(
                .setup,
                "the folder of the platform's socket, \(parent), cannot be opened (\(String(cString: strerror(reason))))"
            )
        }
        var information = stat()
        let isKnown = fstat(descriptor, &information) == 0
        let isOurs = information.st_uid == geteuid() || information.st_uid == 0
        guard isKnown, isOurs, information.st_mode & 0o022 == 0 else {
            close(descriptor)
            throw PlatformError(
                .setup,
                "the folder of the platform's socket, \(parent), can be written by another user, so no token is sent there; correct its owner and mode (0700), and start the platform again"
            )
        }
        self.folder = descriptor
        #if os(Linux)
            self.path = "/proc/self/fd/\(descriptor)/\(socket[socket.index(after: slash)...])"
        #else
            self.path = socket
        #endif
    }

    deinit { close(folder) }
}
