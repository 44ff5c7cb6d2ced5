import Core
import Foundation

/// `cli.yaml` on disk: read whole, written whole under a temporary name with mode 0600, then renamed, with a lock over reading and writing together.
///
/// A few microseconds of blocking file work; two programs that change the file at once do not lose each other's change.
package struct EnvironmentStore: Sendable {
    /// The folder of `cli.yaml`.
    package let directory: String

    package init(directory: String) {
        self.directory = directory
    }

    /// The folder that `CORTEX_CLI_CONFIG_DIR` names, else `~/.cortex`.
    package init(environment: [String: String]) {
        if let folder = environment["CORTEX_CLI_CONFIG_DIR"], !folder.isEmpty {
            self.directory = folder
        } else {
            let home = environment["HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? NSHomeDirectory()
            self.directory = "\(home)/.cortex"
        }
    }

    package var path: String { "\(directory)/cli.yaml" }

    /// The file's content; empty when there is none.
    ///
    /// - Throws: ``PlatformError`` `setup` when it cannot be read or understood.
    package func load() throws -> EnvironmentFile {
        guard let data = try read() else { return EnvironmentFile() }
        guard data.count <= Limits.configuration, let text = String(data: data, encoding: .utf8) else {
            throw PlatformError(.setup, "\(path) is not a text of at most 1 MiB; move it away and configure again")
        }
        do {
            return try EnvironmentFile(yaml: text)
        } catch let error as PlatformError {
            throw PlatformError(.setup, "\(path): \(error.message)", cause: error.cause)
        }
    }

    /// The file's bytes, unless another user may have written them; `nil` when there is no file.
    private func read() throws -> Data? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0, errno == ENOENT { return nil }
        var information = stat()
        guard descriptor >= 0, fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            let reason = String(cString: strerror(errno))
            if descriptor >= 0 { close(descriptor) }
            throw PlatformError(.setup, "\(path) cannot be read (\(reason)); check its owner and mode")
        }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        // In a pod the platform wrote it, whatever the container's user is.
        if directory != PodPlan.clientDirectory {
            guard information.st_uid == geteuid() || information.st_uid == 0 else {
                throw PlatformError(
                    .setup,
                    "\(path) belongs to another user; remove it, or set CORTEX_CLI_CONFIG_DIR to a folder of your own")
            }
            if information.st_mode & 0o022 != 0, fchmod(descriptor, information.st_mode & 0o755) != 0 {
                throw PlatformError(.setup, "\(path) can be written by other users; correct it with: chmod 600 \(path)")
            }
        }
        do {
            return try file.read(upToCount: Limits.configuration + 1) ?? Data()
        } catch {
            throw PlatformError(.setup, "\(path) cannot be read; check its owner and mode", cause: error)
        }
    }

    /// The folder holds tokens: it must be this user's, or root's, and no other user may write to it.
    private func secure(_ folder: CInt) throws {
        var information = stat()
        guard fstat(folder, &information) == 0 else { throw writeError("opened") }
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw PlatformError(
                .setup,
                "the folder \(directory) belongs to another user, so no token is written there; set CORTEX_CLI_CONFIG_DIR to a folder of your own"
            )
        }
        // Where everybody may write but only to files of their own, as in /tmp, the file's owner is what counts.
        guard information.st_mode & 0o022 != 0, information.st_mode & S_ISVTX == 0 else { return }
        guard fchmod(folder, information.st_mode & 0o755) == 0 else {
            throw PlatformError(
                .setup, "the folder \(directory) can be written by other users; correct it with: chmod 700 \(directory)"
            )
        }
    }

    /// Reads, changes and writes the file while no other program can.
    ///
    /// - Throws: what `change` throws, or ``PlatformError`` `setup` when the folder cannot be written; the file is then as it was.
    @discardableResult
    package func update<Result>(_ change: (inout EnvironmentFile) throws -> Result) throws -> Result {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw PlatformError(
                .setup,
                "the folder \(directory) cannot be made; set CORTEX_CLI_CONFIG_DIR to a folder you can write to",
                cause: error)
        }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw writeError("opened") }
        defer { close(folder) }
        try secure(folder)
        guard flock(folder, LOCK_EX) == 0 else { throw writeError("locked") }
        var file = try load()
        let before = file
        let result = try change(&file)
        if file != before { try write(try file.yaml(), folder: folder) }
        return result
    }

    private func write(_ text: String, folder: CInt) throws {
        let temporary = "\(directory)/.cli.yaml.\(getpid())"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw writeError("written") }
        var isComplete = false
        defer { if !isComplete { unlink(temporary) } }
        do {
            defer { close(descriptor) }
            var rest = ArraySlice(Array(text.utf8))
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw writeError("written") }
                rest = rest.dropFirst(count)
            }
            guard fsync(descriptor) == 0 else { throw writeError("written") }
        }
        guard rename(temporary, path) == 0 else { throw writeError("replaced") }
        isComplete = true
        // Best effort: the rename itself is atomic, syncing the folder only makes it last through a power cut.
        _ = fsync(folder)
    }

    private func writeError(_ verb: String) -> PlatformError {
        let reason = String(cString: strerror(errno))
        return PlatformError(
            .setup, "\(path) cannot be \(verb): \(reason); set CORTEX_CLI_CONFIG_DIR to a folder you can write to")
    }
}
