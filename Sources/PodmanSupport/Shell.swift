import Core
import Foundation
import TestSupport

/// Runs programs for tests.
enum Shell {
    /// Runs a program to its end and gives its output.
    ///
    /// - Throws: `setup` with its output when it is missing or fails.
    @discardableResult
    static func run(_ program: String, _ arguments: [String], environment: [String: String] = [:]) async throws
        -> String
    {
        let result = try await ChildProcess.run(
            program, arguments, environment: ProcessInfo.processInfo.environment.merging(environment) { $1 })
        guard result.status == 0 else {
            throw PlatformError(.setup, "\(program) failed (\(result.status)): \(result.output)\(result.errors)")
        }
        return result.output + result.errors
    }
}
