import Core
import Foundation

/// `cli.yaml` on disk: an ``OwnerFile``, with a lock over reading and writing together.
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

    /// The file's bytes; `nil` when there is no file.
    private func read() throws -> Data? {
        // In a pod the platform wrote it, for any user of the container.
        if directory == PodPlan.clientDirectory, let data = FileManager.default.contents(atPath: path) { return data }
        return try file.read(limit: Limits.configuration) { $0.range(of: Data("token".utf8)) != nil }
    }

    private var file: OwnerFile {
        OwnerFile(path, advice: "set CORTEX_CLI_CONFIG_DIR to a folder you can write to")
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
        // Where every user may write but only to files of their own, as in /tmp, the file's owner is what counts.
        guard information.st_mode & 0o022 != 0, information.st_mode & S_ISVTX == 0 else { return }
        guard fchmod(folder, information.st_mode & 0o755) == 0 else {
            throw PlatformError(
                .setup, "the folder \(directory) can be written by other users; correct it with: chmod 700 \(directory)"
            )
        }
    }

    /// Reads, changes and writes the file while no other program can.
    ///
    /// - Throws: what `change` throws, or ``PlatformError`` `setup` when the folder cannot be written; the file is then
    ///   as it was.
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
        var content = try load()
        let before = content
        let result = try change(&content)
        if content != before { try file.replace(with: try content.yaml()) }
        return result
    }

    private func writeError(_ verb: String) -> PlatformError {
        let reason = String(cString: strerror(errno))
        return PlatformError(
            .setup, "\(path) cannot be \(verb): \(reason); set CORTEX_CLI_CONFIG_DIR to a folder you can write to")
    }
}
