import Core
package import Foundation
import Synchronization

/// A program that a test runs; those that wait for its end are resumed once it is known.
///
/// Made with `posix_spawn`: Foundation's `Process` crashes now and then while other threads open descriptors (Swift 6.3
/// on Linux).
package final class ChildProcess: Sendable {
    /// Where a standard stream comes from or goes to.
    package enum Stream: Sendable {
        case nothing
        /// Read from its beginning; overwritten.
        case file(String)
        case appending(String)
        /// Stays the caller's to close.
        case descriptor(CInt)
    }

    package struct Output: Sendable {
        package var status: Int32
        package var output: String
        package var errors: String
    }

    private struct State {
        var status: Int32?
        var waiting: [CheckedContinuation<Int32, Never>] = []
    }

    private let state = Mutex(State())
    package let pid: pid_t

    /// - Parameter program: a path, or a name that is looked up in the `PATH` of `environment`.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String], directory: String? = nil,
        input: Stream = .nothing, output: Stream = .nothing, errors: Stream = .nothing
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, stream) in [input, output, errors].enumerated() {
            let flags = number == 0 ? O_RDONLY : O_WRONLY | O_CREAT
            switch stream {
            case .nothing: posix_spawn_file_actions_addopen(&actions, CInt(number), "/dev/null", O_RDWR, 0)
            case .file(let path):
                posix_spawn_file_actions_addopen(
                    &actions, CInt(number), path, number == 0 ? flags : flags | O_TRUNC, 0o600)
            case .appending(let path):
                posix_spawn_file_actions_addopen(&actions, CInt(number), path, flags | O_APPEND, 0o600)
            case .descriptor(let descriptor): posix_spawn_file_actions_adddup2(&actions, descriptor, CInt(number))
            }
        }
        // Descriptors of the test that are not marked to be closed: a program that stays would keep them open.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
            guard let descriptor = CInt(name), descriptor > 2, fcntl(descriptor, F_GETFD) == 0 else { continue }
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        let prefix = directory.map { ["--chdir=\($0)"] } ?? []
        let words = (["env"] + prefix + [program] + arguments).map { strdup($0) } + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, "/usr/bin/env", &actions, nil, words, variables)
        guard code == 0 else {
            throw PlatformError(.internal, "cannot start \(program): \(String(cString: strerror(code)))")
        }
        self.pid = pid
        let child = pid
        Thread.detachNewThread { [self] in
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

    /// The exit status, or 128 + signal; `nil` while it runs.
    package var status: Int32? { state.withLock { $0.status } }
    package var isRunning: Bool { status == nil }

    package func send(_ signal: Int32) {
        if isRunning { kill(pid, signal) }
    }

    /// The exit status; 128 + signal when a signal ended it.
    package func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let known = state.withLock { state -> Int32? in
                if state.status == nil { state.waiting.append(continuation) }
                return state.status
            }
            if let known { continuation.resume(returning: known) }
        }
    }

    /// Runs a program to its end. Its output goes through files, so that no pipe can fill up.
    package static func run(
        _ program: String, _ arguments: [String], environment: [String: String], directory: String? = nil,
        input: String? = nil
    ) async throws -> Output {
        try await withTemporaryDirectory { folder in
            let (out, errors) = (folder.appending(path: "out"), folder.appending(path: "err"))
            var stream = Stream.nothing
            if let input {
                let file = folder.appending(path: "in")
                try Data(input.utf8).write(to: file)
                stream = .file(file.path)
            }
            let child = try ChildProcess(
                program, arguments, environment: environment, directory: directory, input: stream,
                output: .file(out.path), errors: .file(errors.path))
            let status = await child.wait()
            return Output(
                status: status, output: String(decoding: try Data(contentsOf: out), as: UTF8.self),
                errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
        }
    }
}
