import Core
import Foundation

/// Runs programs for tests: blocking, on a thread of its own.
enum Shell {
    /// Runs a program to its end and gives its output.
    ///
    /// - Throws: `setup` with its output when it is missing or fails.
    @discardableResult
    static func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws
        -> String
    {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try blocking(program, arguments, environment) })
            }
        }
    }

    private static func blocking(
        _ program: String, _ arguments: [String], _ environment: [String: String]
    ) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw PlatformError(.setup, "\(program) failed (\(process.terminationStatus)): \(output)")
        }
        return output
    }
}
