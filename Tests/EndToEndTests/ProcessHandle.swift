import Core
import Foundation
import Synchronization

struct ProcessOutput: Sendable {
    var status: Int32
    var output: String
    var errors: String
}

/// A running child process; whoever waits for its end is told once it is known.
///
/// Made with `posix_spawn`, as Foundation's `Process` keeps descriptors of children that have ended (Swift 6.3 on Linux).
final class ProcessHandle: Sendable {
    private struct State {
        var status: Int32?
        var waiting: [CheckedContinuation<Int32, Never>] = []
    }

    private let state = Mutex(State())
    let pid: pid_t

    /// - Parameters:
    ///   - input: a file for standard input; nothing without it.
    ///   - output: a file for standard output, made anew.
    ///   - errors: a file for standard error, made anew.
    init(
        _ program: URL, _ arguments: [String], environment: [String: String], input: URL? = nil, output: URL, errors: URL
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input?.path ?? "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        let words = ([program.path] + arguments).map { strdup($0) } + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program.path, &actions, nil, words, variables)
        guard code == 0 else {
            throw PlatformError(.internal, "cannot start \(program.path): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        let child = pid
        DispatchQueue(label: "wait \(pid)").async { [self] in
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            ended(status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F)
        }
    }

    private func ended(_ status: Int32) {
        let waiting = state.withLock { state in
            state.status = status
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume(returning: status) }
    }

    var isRunning: Bool { state.withLock { $0.status == nil } }

    func send(_ signal: Int32) {
        if isRunning { kill(pid, signal) }
    }

    func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let known = state.withLock { state -> Int32? in
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
        let (out, errors, file) = (folder.appending(path: "out"), folder.appending(path: "err"), folder.appending(path: "in"))
        if let input { try Data(input.utf8).write(to: file) }
        let handle = try ProcessHandle(
            program, arguments, environment: environment, input: input == nil ? nil : file, output: out, errors: errors)
        let status = await handle.wait()
        return ProcessOutput(
            status: status, output: try String(contentsOf: out, encoding: .utf8),
            errors: try String(contentsOf: errors, encoding: .utf8))
    }
}
