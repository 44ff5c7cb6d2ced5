import Core
package import Foundation

/// A file that decides what a program of this user does, or that holds a token: no other user may have written it
/// (contract N9).
///
/// A symbolic link of the user is followed, for managers of configuration files; what it points at must pass the same
/// checks. Every method blocks for a few microseconds of file work.
package struct OwnerFile: Sendable {
    package let path: String
    /// What to do when the file cannot be written, for messages.
    private let advice: String

    /// - Parameter advice: what to do when the file cannot be written, such as `name another folder`.
    package init(_ path: String, advice: String) {
        self.path = path
        self.advice = advice
    }

    /// The file's bytes, at most `limit` and one more; `nil` when there is no file.
    ///
    /// - Parameter isSecret: whether the content must not be read by others. Then other users lose the right to read
    ///   the file.
    /// - Throws: ``PlatformError`` `setup` when it cannot be read, or another user could have written it.
    package func read(limit: Int, isSecret: (Data) -> Bool = { _ in false }) throws -> Data? {
        guard let target = try target() else { return nil }
        let descriptor = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        var information = stat()
        guard descriptor >= 0, fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            let reason = descriptor >= 0 ? "it is not a file" : String(cString: strerror(errno))
            if descriptor >= 0 { close(descriptor) }
            throw PlatformError(.setup, "\(path) cannot be read (\(reason)); check its owner and mode")
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try check(information)
        let data: Data
        do {
            data = try file.read(upToCount: limit + 1) ?? Data()
        } catch {
            throw PlatformError(.setup, "\(path) cannot be read; check its owner and mode", cause: error)
        }
        // Where this fails, as on a disk that cannot be written, `cortex doctor` reports the mode.
        if information.st_mode & 0o077 != 0, information.st_uid == geteuid(), isSecret(data) {
            fchmod(descriptor, 0o600)
        }
        return data
    }

    /// Writes the file whole or not at all, readable by its owner only, and returns when it is on disk. A link is
    /// written through.
    ///
    /// - Throws: ``PlatformError`` `setup`; the file is then as it was.
    package func replace(with text: String) throws {
        let target = try target() ?? path
        let parent = target.lastIndex(of: "/").map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        let folder = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw failure("written", errno) }
        defer { close(folder) }
        if target != path { try checkLinkedFolder(folder, parent) }
        let name = target.split(separator: "/").last.map(String.init) ?? target
        let temporary = ".\(name).\(getpid())"
        unlinkat(folder, temporary, 0)
        let descriptor = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("written", errno) }
        var isComplete = false
        defer { if !isComplete { unlinkat(folder, temporary, 0) } }
        do {
            defer { close(descriptor) }
            var rest = ArraySlice(Array(text.utf8))
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw failure("written", errno) }
                rest = rest.dropFirst(count)
            }
            guard fsync(descriptor) == 0 else { throw failure("written", errno) }
        }
        guard renameat(folder, temporary, folder, name) == 0 else { throw failure("replaced", errno) }
        isComplete = true
        // Best effort: the rename itself is atomic, syncing the folder only makes it last through a power cut.
        _ = fsync(folder)
    }

    /// The path without links; `nil` when there is no file.
    private func target() throws -> String? {
        var information = stat()
        guard lstat(path, &information) == 0 else {
            // A part of the path that is a file: there is no such file, and writing it says why.
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw PlatformError(
                .setup, "\(path) cannot be read (\(String(cString: strerror(errno)))); check its owner and mode")
        }
        guard information.st_mode & S_IFMT == S_IFLNK else { return path }
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw PlatformError(.setup, "\(path) is a link that another user made, so it is not followed; remove it")
        }
        guard let resolved = realpath(path, nil) else {
            throw PlatformError(
                .setup,
                "\(path) is a link whose target cannot be used (\(String(cString: strerror(errno)))); make the target, or remove the link"
            )
        }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private func check(_ information: stat) throws {
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw PlatformError(
                .setup,
                "\(path) belongs to another user; remove it, or set CORTEX_CLI_CONFIG_DIR to a folder of your own")
        }
        guard information.st_mode & 0o022 == 0 else {
            throw PlatformError(
                .setup,
                "\(path) can be written by other users, so it may have been changed; check its content, then: chmod 600 \(path)"
            )
        }
    }

    /// The folder that a link leads to. Its mode is the user's affair, but others must not be able to put a file of
    /// theirs there.
    private func checkLinkedFolder(_ folder: CInt, _ name: String) throws {
        var information = stat()
        guard fstat(folder, &information) == 0 else { throw failure("written", errno) }
        let isOwn = information.st_uid == geteuid() || information.st_uid == 0
        guard isOwn, information.st_mode & 0o022 == 0 || information.st_mode & S_ISVTX != 0 else {
            throw PlatformError(
                .setup,
                "\(path) is a link into \(name), where other users can write; correct it with: chmod go-w \(name), or remove the link"
            )
        }
    }

    private func failure(_ verb: String, _ number: CInt) -> PlatformError {
        PlatformError(.setup, "\(path) cannot be \(verb): \(String(cString: strerror(number))); \(advice)")
    }
}
