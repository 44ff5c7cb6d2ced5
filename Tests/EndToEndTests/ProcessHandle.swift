import Foundation
import Synchronization

struct ProcessOutput: Sendable {
    var status: Int32
    var output: String
    var errors: String
}

/// A running child process; whoever waits for its end is told once it is known.
final class ProcessHandle: Sendable {
    private struct State {
        var status: Int32?
        var waiting: [CheckedContinuation<Int32, Never>] = []
    }

    private let state: Shared
    let pid: Int32

    private final class Shared: Sendable {
        let mutex = Mutex(State())
    }

    init(
        _ program: URL, _ arguments: [String], environment: [String: String], output: URL, errors: URL
    ) throws {
        let shared = Shared()
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try Self.file(output)
        process.standardError = try Self.file(errors)
        process.terminationHandler = { ended in
            let status = ended.terminationReason == .exit ? ended.terminationStatus : 128 + ended.terminationStatus
            let waiting = shared.mutex.withLock { state in
                state.status = status
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume(returning: status) }
        }
        try process.run()
        self.state = shared
        self.pid = process.processIdentifier
    }

    private static func file(_ url: URL) throws -> FileHandle {
        _ = FileManager.default.createFile(atPath: url.path, contents: nil)
        return try FileHandle(forWritingTo: url)
    }

    var isRunning: Bool { state.mutex.withLock { $0.status == nil } }

    func send(_ signal: Int32) {
        if isRunning { kill(pid, signal) }
    }

    func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let known = state.mutex.withLock { state -> Int32? in
                if state.status == nil { state.waiting.append(continuation) }
                return state.status
            }
            if let known { continuation.resume(returning: known) }
        }
    }

    /// Runs a program to its end. Its output goes through files, so that no pipe can fill up.
    static func run(
        _ program: URL, _ arguments: [String], environment: [String: String], input: String? = nil
    ) async throws -> ProcessOutput {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cx-run-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (out, errors) = (folder.appending(path: "out"), folder.appending(path: "err"))
        let handle: ProcessHandle
        if let input {
            let file = folder.appending(path: "in")
            try Data(input.utf8).write(to: file)
            handle = try ProcessHandle(
                URL(filePath: "/bin/sh"), ["-c", "exec \"$0\" \"$@\" < \(file.path)", program.path] + arguments,
                environment: environment, output: out, errors: errors)
        } else {
            handle = try ProcessHandle(program, arguments, environment: environment, output: out, errors: errors)
        }
        let status = await handle.wait()
        return ProcessOutput(
            status: status, output: try String(contentsOf: out, encoding: .utf8),
            errors: try String(contentsOf: errors, encoding: .utf8))
    }
}
