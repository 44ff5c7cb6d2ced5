import Core
import Foundation

/// The paths in the data directory, and the check that it can be used (contract U1, U5).
struct PlatformDirectory: Sendable, Hashable {
    let path: String

    /// Folders of the pods.
    var pods: String { "\(path)/pods" }
    /// Unix sockets on which gateway and operator serve the containers.
    var sockets: String { "\(path)/run" }
    var gatewaySocket: String { "\(sockets)/gateway.sock" }
    var operatorSocket: String { "\(sockets)/operator.sock" }
    var addresses: String { "\(path)/addresses.json" }

    /// Creates missing folders for this user only, checks that no other user can write there and that it contains no
    /// links, and tries to write. Blocks.
    ///
    /// - Throws: ``PlatformError`` `setup`: one line that says what is wrong and what to do.
    static func prepare(_ path: String) throws -> PlatformDirectory {
        let directory = PlatformDirectory(path: path)
        do {
            try makeFolder(path)
            try secure(path, option: "--data-dir")
            try checkContent(path, option: "--data-dir")
            for folder in [directory.pods, directory.sockets] { try makeFolder(folder) }
            try writeProbe("\(path)/\(writeTest)")
        } catch let error as PlatformError {
            throw error
        } catch {
            throw PlatformError(
                .setup,
                "the data directory \(path) cannot be written (\(Self.reason(error))); free some space or correct its permissions, or choose another one with --data-dir",
                cause: error)
        }
        return directory
    }

    /// Checks that a folder with the platform's files belongs to this user, and that no other user can write to it or
    /// replace it; removes other users' right to read it (contract U5, N9). Blocks.
    ///
    /// - Parameter option: the flag that selects another folder.
    static func secure(_ path: String, option: String) throws {
        var information = stat()
        if lstat(path, &information) == 0, information.st_mode & S_IFMT == S_IFLNK, information.st_uid != geteuid(),
            information.st_uid != 0
        {
            throw PlatformError(
                .setup, "\(path) is a link that another user made, so it is not followed; choose another with \(option)"
            )
        }
        guard stat(path, &information) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        guard information.st_uid == geteuid() else {
            throw PlatformError(
                .setup,
                "the folder \(path) belongs to another user (number \(information.st_uid)), who could read every token in it; choose another with \(option)"
            )
        }
        guard information.st_mode & 0o022 == 0 else {
            throw PlatformError(
                .setup,
                "the folder \(path) can be written by other users; check its content and correct it with: chmod 700 \(path), or choose another with \(option)"
            )
        }
        if information.st_mode & 0o077 != 0, chmod(path, 0o700) != 0 {
            throw POSIXError(.init(rawValue: errno) ?? .EIO)
        }
        // A user who can rename a parent folder can replace this one.
        var parent = URL(filePath: path).resolvingSymlinksInPath().deletingLastPathComponent().path
        while true {
            var above = stat()
            if stat(parent, &above) == 0, above.st_mode & 0o002 != 0, above.st_mode & S_ISVTX == 0 {
                throw PlatformError(
                    .setup,
                    "every user can write to \(parent), and so replace \(path) in it; correct it with: chmod o-w \(parent), or choose another folder with \(option)"
                )
            }
            guard parent != "/", !parent.isEmpty else { return }
            parent = URL(filePath: parent).deletingLastPathComponent().path
        }
    }

    /// Creates a folder and its missing parents for this user only.
    private static func makeFolder(_ path: String) throws {
        if mkdir(path, 0o700) == 0 { return }
        var reason = errno
        let parent = URL(filePath: path).deletingLastPathComponent().path
        if reason == ENOENT, parent != path {
            try makeFolder(parent)
            if mkdir(path, 0o700) == 0 { return }
            reason = errno
        }
        var information = stat()
        if reason == EEXIST, stat(path, &information) == 0 {
            if information.st_mode & S_IFMT == S_IFDIR { return }
            reason = ENOTDIR
        }
        guard reason == ENOTDIR else { throw POSIXError(.init(rawValue: reason) ?? .EIO) }
        throw PlatformError(
            .setup,
            "the data directory \(path) cannot be created: a part of this path is a file; choose another with --data-dir"
        )
    }

    /// Files that grant rights: no other user may ever have been able to write them.
    private static let secrets: Set<String> = ["tokens.json", "engine.key"]
    private static let writeTest = ".write-test"

    /// Checks the content of a folder of the platform: links are not followed; files that another user owns or could
    /// have written are refused. Other files and folders of an earlier version get today's modes (contract N9). Blocks.
    ///
    /// - Parameter option: the flag that selects another folder.
    static func checkContent(_ path: String, option: String) throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: path) where name != writeTest {
            let entry = "\(path)/\(name)"
            var information = stat()
            guard lstat(entry, &information) == 0 else { continue }
            guard information.st_uid == geteuid() || information.st_uid == 0 else {
                throw PlatformError(
                    .setup,
                    "\(entry) belongs to another user (number \(information.st_uid)); move it away, or choose another \(option)"
                )
            }
            let kind = information.st_mode & S_IFMT
            guard kind != S_IFLNK else {
                throw PlatformError(
                    .setup,
                    "\(entry) is a symbolic link, and links are not followed here; replace it by its target, or choose another \(option)"
                )
            }
            let writers: mode_t = secrets.contains(name) ? 0o022 : 0o002
            if kind == S_IFREG, information.st_mode & writers != 0 {
                throw PlatformError(
                    .setup,
                    "\(entry) can be written by other users, so it may have been changed; check its content and run chmod 600 \(entry)"
                )
            }
            guard information.st_uid == geteuid(), information.st_mode & 0o077 != 0, kind == S_IFREG || kind == S_IFDIR
            else { continue }
            let descriptor = open(entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
            guard descriptor >= 0 else { continue }
            defer { close(descriptor) }
            guard fchmod(descriptor, information.st_mode & 0o700) == 0 else {
                throw POSIXError(.init(rawValue: errno) ?? .EIO)
            }
        }
    }

    /// Writes a byte into a new file: an existing file or link is removed and never written through.
    private static func writeProbe(_ path: String) throws {
        unlink(path)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        defer {
            close(descriptor)
            unlink(path)
        }
        guard write(descriptor, "x", 1) == 1 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    }

    /// Files of the previous run that are not valid any more.
    func removeStale() throws {
        for file in [addresses, gatewaySocket, operatorSocket] where FileManager.default.fileExists(atPath: file) {
            try FileManager.default.removeItem(atPath: file)
        }
    }

    private static func reason(_ error: any Error) -> String {
        if let error = error as? POSIXError { return String(cString: strerror(error.code.rawValue)).lowercased() }
        var error = error as NSError
        while let underlying = error.userInfo[NSUnderlyingErrorKey] as? NSError { error = underlying }
        if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))).lowercased() }
        var text = (error.localizedFailureReason ?? error.localizedDescription)[...]
        while text.last == "." { text.removeLast() }
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// Random lower-case letters and digits, for names that must be unique and readable.
enum RandomWord {
    static func make(length: Int) -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789")
        return String((0..<length).map { _ in alphabet[Int.random(in: alphabet.indices)] })
    }
}
