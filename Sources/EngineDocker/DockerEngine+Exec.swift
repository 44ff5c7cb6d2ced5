import CLinux
package import Core
import Foundation
import Logging
import Support
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
            return try await outcome(of: id, in: member.id, container: container, pod: pod, timeout: timeout)
        }
    }

    /// What ends the wait for a command.
    private enum ExecEvent: Sendable {
        case ended(Result<ExecResult, any Error>)
        case late
        case stopped
    }

    /// Waits for the command's end, its time, the stop of its pod or the caller's cancellation, whatever comes first.
    ///
    /// The command's stream is never closed while the command may run: Podman loses track of a command whose caller
    /// disconnects too early.
    private func outcome(
        of id: String, in member: String, container: String, pod: String, timeout: Duration
    ) async throws -> ExecResult {
        let (events, sender) = AsyncStream.makeStream(of: ExecEvent.self, bufferingPolicy: .bufferingOldest(4))
        let work = Task {
            do {
                sender.yield(.ended(.success(try await collect(id, in: member))))
            } catch {
                sender.yield(.ended(.failure(error)))
            }
        }
        let timer = Task {
            try await clock.sleep(for: timeout)
            sender.yield(.late)
        }
        defer { timer.cancel() }
        let key = state.addCommand(pod: pod) { sender.yield(.stopped) }
        defer { state.removeCommand(pod: pod, key) }
        let first = await events.first { _ in true }
        switch first {
        case .ended(.success(let result)): return result
        case .ended(.failure(let refusal as DockerError)):
            throw PlatformError(
                .containerFailed, "The command can't be run in container \(container): \(refusal.message)",
                cause: refusal)
        case .ended(.failure(let error)): throw error
        case .late:
            await abandon(exec: id, in: member, work)
            throw PlatformError(.timedOut, "The command did not end in time.")
        case .stopped:
            await abandon(exec: id, in: member, work)
            throw PlatformError(.containerFailed, "The pod was stopped while the command ran.")
        case nil:
            await abandon(exec: id, in: member, work)
            throw CancellationError()
        }
    }

    /// - Throws: `container_failed` when the command wrote more than ``Limits/execOutput``; it is ended then.
    private func collect(_ id: String, in member: String) async throws -> ExecResult {
        var frames = LogFrames()
        var output: [UInt8] = []
        var length = 0
        for try await chunk in try await client.startExec(id) {
            let before = length
            length += chunk.count
            if before <= Limits.execOutput, length > Limits.execOutput { _ = await kill(exec: id, in: member) }
            guard output.count < Limits.failureBody else { continue }
            for piece in frames.append(chunk) {
                output.append(contentsOf: piece.bytes.prefix(Limits.failureBody - output.count))
            }
        }
        guard length <= Limits.execOutput else {
            throw PlatformError(
                .containerFailed,
                "The command was ended because it wrote more than \(Limits.execOutput >> 20) MiB. Let it write less.")
        }
        return try await result(id, String(decoding: output, as: UTF8.self))
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

    /// Ends a command whose caller is gone; its stream ends with it, or is cut off when half a minute has passed.
    ///
    /// In tasks of their own, since the caller may be cancelled. An engine under load may have yet to start the
    /// command; that is not waited for here, but it is ended then.
    private func abandon(exec id: String, in container: String, _ work: Task<Void, Never>) async {
        let isOver = await Task { await kill(exec: id, in: container) }.value
        Task {
            var isOver = isOver
            for _ in 0..<120 where !work.isCancelled {
                do { try await clock.sleep(for: .milliseconds(250)) } catch { break }
                if !isOver { isOver = await kill(exec: id, in: container) }
            }
            work.cancel()
        }
    }

    /// Ends a command by its process id, after making sure that the process is one of that container; else from inside,
    /// if there is a `kill`.
    ///
    /// - Returns: whether it is over; `false` when it may begin yet.
    private func kill(exec id: String, in container: String) async -> Bool {
        do {
            let details = try await client.exec(id)
            guard let process = details.processID, process > 1 else {
                // Docker has no exit code before the end; Podman has one, and says by `CanRemove` that it holds.
                return version.isPodman ? details.canRemove == true : details.running != true && details.exitCode != nil
            }
            let inside = try await PodFolder.offPool { try Self.killOutside(process, of: container) }
            guard let inside else { return true }
            let killer = try await client.createExec(container, command: ["kill", "-9", String(inside)])
            try await withDeadline(.seconds(10), clock: clock) {
                for try await _ in try await client.startExec(killer) {}
            }
        } catch {
            logger.warning("a command that took too long can't be ended", metadata: ["error": "\(error)"])
        }
        return true
    }

    /// Sends SIGKILL to a process of this machine that belongs to the container.
    ///
    /// - Returns: its id inside the container when the system does not let us; `nil` when there is nothing more to do.
    private static func killOutside(_ process: Int, of container: String) throws -> Int? {
        // Read before: a process that has ended has no such file.
        let status = KernelFile.read("/proc/\(process)/status")
        guard killTree(pid_t(process), of: container) == -EPERM, let status else { return nil }
        let lines = String(decoding: status, as: UTF8.self).split(separator: "\n")
        let ids = lines.first { $0.hasPrefix("NSpid:") }?.split(whereSeparator: { $0 == "\t" || $0 == " " })
        return ids?.last.flatMap { Int($0) }.flatMap { $0 > 1 ? $0 : nil }
    }

    /// The command and what it started, each only if it is a process of the container.
    ///
    /// - Returns: 0, or the negative error number of the first.
    private static func killTree(_ process: pid_t, of container: String) -> CInt {
        let path = "/proc/\(process)/task/\(process)/children"
        let children = KernelFile.read(path).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let result = cx_kill_in_group(process, container)
        guard result == 0 else { return result }
        for child in children.split(separator: " ") {
            // A process that has ended, or left the container, is not the platform's.
            if let child = pid_t(child) { _ = killTree(child, of: container) }
        }
        return 0
    }
}
