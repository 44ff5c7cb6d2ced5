package import Core
import Foundation
import Logging
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension DockerEngine {
    package func exec(
        _ command: [String], container: String, pod: String, timeout: Duration
    ) async throws -> ExecResult {
        try await mapping {
            guard !command.isEmpty else { throw PlatformError(.containerFailed, "The command is empty.") }
            guard let member = try await client.container(names.member(pod, container)), member.isRunning else {
                throw PlatformError(.containerFailed, "Container \(container) does not run.")
            }
            let id: String
            do {
                id = try await client.createExec(member.id, command: command)
            } catch let refusal as DockerError {
                throw PlatformError(
                    .containerFailed, "The command can't be run in container \(container): \(refusal.message)",
                    cause: refusal)
            }
            // As a task of its own, so that stopping the pod can end it.
            let work = Task { try await run(id, timeout: timeout) }
            let key = state.addCommand(pod: pod) { work.cancel() }
            defer { state.removeCommand(pod: pod, key) }
            return try await withTaskCancellationHandler {
                do {
                    return try await work.value
                } catch let error where error is CancellationError || (error as? PlatformError)?.code == .timedOut {
                    // Cancelling the stream alone leaves the command running. The caller may be cancelled, this must not be.
                    await Task { await kill(exec: id, in: member.id) }.value
                    guard error is CancellationError, !Task.isCancelled else { throw error }
                    throw PlatformError(.containerFailed, "The pod was stopped while the command ran.", cause: error)
                } catch let refusal as DockerError {
                    throw PlatformError(
                        .containerFailed, "The command can't be run in container \(container): \(refusal.message)",
                        cause: refusal)
                }
            } onCancel: {
                work.cancel()
            }
        }
    }

    private func run(_ id: String, timeout: Duration) async throws -> ExecResult {
        do {
            return try await withDeadline(timeout, clock: clock) {
                var frames = LogFrames()
                var output: [UInt8] = []
                for try await chunk in try await client.startExec(id) {
                    for piece in frames.append(chunk) {
                        output.append(contentsOf: piece.bytes.prefix(Limits.failureBody - output.count))
                    }
                }
                return try await result(id, String(decoding: output, as: UTF8.self))
            }
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.timedOut, "The command did not end in time.", cause: error)
        }
    }

    /// The output may end a moment before the engine knows the exit code.
    private func result(_ id: String, _ output: String) async throws -> ExecResult {
        for attempt in 0... {
            let details = try await client.exec(id)
            if details.running == true, attempt < 200 {
                try await clock.sleep(for: .milliseconds(25))
                continue
            }
            let code = details.exitCode ?? 0
            // Neither engine has a field for "could not be run"; both put the runtime's own words into the output.
            if code == 126 || code == 127, output.contains("OCI runtime") || output.contains("exec failed") {
                let reason = output.split(separator: "\n").first.map(String.init) ?? "unknown command"
                throw PlatformError(.containerFailed, "The command can't be run: \(reason)")
            }
            return ExecResult(exitCode: code, output: output)
        }
        return ExecResult(exitCode: 0, output: output)
    }

    /// Ends a command by its process id, after making sure that the process is one of that container; else from inside, if there is a `kill`.
    private func kill(exec id: String, in container: String) async {
        do {
            guard let process = try await processID(exec: id) else { return }
            let inside = try await PodFolder.offPool { () -> Int? in
                let root = "/proc/\(process)"
                guard let groups = FileManager.default.contents(atPath: root + "/cgroup"),
                    String(decoding: groups, as: UTF8.self).contains(container),
                    let status = FileManager.default.contents(atPath: root + "/status")
                else { return nil }
                if Self.killTree(pid_t(process)) { return nil }
                let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first {
                    $0.hasPrefix("NSpid:")
                }
                return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).last.flatMap { Int($0) }
            }
            guard let inside, inside > 1 else { return }
            let killer = try await client.createExec(container, command: ["kill", "-9", String(inside)])
            for try await _ in try await client.startExec(killer) {}
        } catch {
            logger.warning("a command that took too long can't be ended", metadata: ["error": "\(error)"])
        }
    }

    /// The command's process id; `nil` when it has ended. One that was cut off while it was being started may begin yet: it is waited for.
    private func processID(exec id: String) async throws -> Int? {
        for _ in 0..<40 {
            let details = try await client.exec(id)
            if let process = details.processID, process > 1 { return process }
            // Only Docker tells "has ended" from "has not begun".
            if details.running != true, details.exitCode != nil, !version.isPodman { return nil }
            try await clock.sleep(for: .milliseconds(50))
        }
        return nil
    }

    /// The command and what it started. `false` where the system does not let us.
    private static func killTree(_ process: pid_t) -> Bool {
        let path = "/proc/\(process)/task/\(process)/children"
        let children = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard sendKill(process) else { return false }
        for child in children.split(separator: " ") { if let child = pid_t(child) { _ = killTree(child) } }
        return true
    }

    private static func sendKill(_ process: pid_t) -> Bool {
        #if canImport(Glibc)
            Glibc.kill(process, SIGKILL) == 0
        #elseif canImport(Musl)
            Musl.kill(process, SIGKILL) == 0
        #else
            Darwin.kill(process, SIGKILL) == 0
        #endif
    }
}
