import Core
import Foundation

/// A credential helper: a program that reads a line and prints a document. Blocking, at most half a minute.
struct HelperProgram {
    let name: String
    /// `nil`: this process's own `PATH`.
    let searchPath: String?

    /// Runs `<name> get`; `nil` when it fails, which mostly means that it knows nothing of the registry.
    func run(input: String) throws -> String? {
        var environment = ProcessInfo.processInfo.environment
        if let searchPath { environment["PATH"] = searchPath }
        // In files without names: a program that reads nothing can't break a pipe, one that leaves others behind can't
        // make us wait for them, and no secret stays on the disk.
        let source = try Self.unnamedFile()
        try source.write(contentsOf: Data(input.utf8))
        try source.seek(toOffset: 0)
        let output = try Self.unnamedFile()
        let none = FileHandle.nullDevice
        let process = try SpawnedProcess.start(
            [name, "get"], environment: environment, input: source.fileDescriptor, output: output.fileDescriptor,
            errors: none.fileDescriptor)
        guard let status = process.wait(seconds: 30) else {
            process.end()
            _ = process.wait(seconds: 5)
            throw PlatformError(.timedOut, "The credential helper \(name) did not end.")
        }
        guard status == 0 else { return nil }
        try output.seek(toOffset: 0)
        return try output.read(upToCount: 64 * 1024).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func unnamedFile() throws -> FileHandle {
        let folder = FileManager.default.temporaryDirectory.path
        var template = Array((folder + "/cortex-XXXXXX").utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw PlatformError(.setup, "No temporary file can be made.") }
        unlink(template)
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }
}
