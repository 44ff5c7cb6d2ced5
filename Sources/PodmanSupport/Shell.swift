import Core
import Foundation
import Support
import TestSupport

/// Runs programs for tests, for five minutes at most.
enum Shell {
    /// Runs a program to its end and returns its standard output and error, in the order in which they were written.
    ///
    /// - Throws: `setup` with the output when the program is missing or fails; `timed_out` when it does not end.
    @discardableResult
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> String {
        try await withTemporaryDirectory { folder in
            let output = folder.appending(path: "output")
            let process = try ChildProcess(
                program, arguments, environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
                output: .appending(output.path), errors: .appending(output.path))
            let status: Int32
            do {
                status = try await withTimeLimit(.seconds(300)) { await process.wait() }
            } catch {
                process.send(SIGKILL)
                throw error
            }
            let text = String(decoding: try Data(contentsOf: output), as: UTF8.self)
            guard status == 0 else { throw PlatformError(.setup, "\(program) failed (\(status)): \(text)") }
            return text
        }
    }
}
