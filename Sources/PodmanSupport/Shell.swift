import Core
import EngineDocker
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
        try await onThread {
            let path = FileManager.default.temporaryDirectory.path + "/cx-output-\(UInt64.random(in: .min ... .max))"
            try Data().write(to: URL(fileURLWithPath: path))
            let output = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            unlink(path)
            let process = try SpawnedProcess.start(
                [program] + arguments,
                environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
                input: FileHandle.nullDevice.fileDescriptor, output: output.fileDescriptor,
                errors: output.fileDescriptor)
            let status = process.wait(seconds: 300)
            if status == nil { process.end() }
            try output.seek(toOffset: 0)
            let text = String(decoding: try output.readToEnd() ?? Data(), as: UTF8.self)
            guard status == 0 else {
                throw PlatformError(.setup, "\(program) failed (\(status ?? -1)): \(text)")
            }
            return text
        }
    }

    static func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try body() })
            }
        }
    }
}
