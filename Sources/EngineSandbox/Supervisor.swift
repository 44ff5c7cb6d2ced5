import CLinux
import Core
import Foundation
import PodInitProtocol
import Subprocess
import Support

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// Starts the `PodInit` that supervises a sandbox pod, and kills it if necessary.
struct Supervisor: Sendable {
    let configuration: SandboxConfiguration
    var clock: any PlatformClock = SystemClock()

    /// Starts it in the background; returns once its socket is served.
    ///
    /// - Parameter user: the user id on the host that containers run as; `nil`: the platform's own.
    /// - Throws: `engine_unavailable` with the reason, also after ``Limits/supervisorStart``; something may be left
    ///   then, as when it is cancelled.
    func start(_ folder: PodFolder, user: UInt32?) async throws {
        let arguments =
            [
                "sandbox", "--directory", folder.path, "--bwrap", configuration.bubblewrap, "--init",
                configuration.podInit, "--gateway", configuration.gatewaySocket, "--operator",
                configuration.operatorSocket, "--log-bytes", String(configuration.logLimit),
            ] + (configuration.loopbackOnly ? ["--network", "loopback"] : [])
            + (user.map { ["--user", String($0)] } ?? [])
        let program = Task { [configuration] in
            let run = try await Subprocess.run(
                .path(FilePath(configuration.podInit)), arguments: Arguments(arguments), environment: .custom([:]),
                output: .discarded, error: .string(limit: 4096))
            return (status: run.terminationStatus, text: run.standardError)
        }
        let result: (status: TerminationStatus, text: String)
        do {
            result = try await withTimeLimit(Limits.supervisorStart, clock: clock) {
                try await withTaskCancellationHandler {
                    try await program.value
                } onCancel: {
                    program.cancel()
                }
            }
        } catch {
            // The limit does not wait for what it ends. A program that began later would not be found by the removal.
            // In another task: this one may be cancelled.
            program.cancel()
            let end = Task { [clock] in
                try await withTimeLimit(Self.killTime, clock: clock) { _ = await program.result }
            }
            _ = await end.result
            throw Self.failure(error)
        }
        guard result.status.isSuccess else {
            let text = result.text.replacingOccurrences(of: "cortex-pod-init: ", with: "")
            let reason = text.trimmingCharacters(in: .whitespacesAndNewlines)
            throw PlatformError(.engineUnavailable, "A sandbox cannot be made: \(reason).")
        }
    }

    private static func failure(_ error: any Error) -> any Error {
        switch error {
        case is CancellationError: error
        case let error as PlatformError where error.code == .timedOut:
            PlatformError(
                .engineUnavailable,
                "cortex-pod-init did not start within \(Limits.supervisorStart.components.seconds) s.",
                cause: error)
        default: PlatformError(.engineUnavailable, "cortex-pod-init cannot be run.", cause: error)
        }
    }

    /// Whether the process that wrote `init.pid` lives. Blocking.
    func isAlive(_ folder: PodFolder) -> Bool { process(folder) != nil }

    /// Kills it, and with it every container, and waits until it is gone, for a few seconds at most.
    func kill(_ folder: PodFolder) async throws {
        try await wait {
            guard let process = process(folder) else { return true }
            let descriptor = cx_process_descriptor(process)
            guard descriptor >= 0 else { return true }
            defer { close(descriptor) }
            // Looked at again: the number may have been given to another process in between.
            guard self.process(folder) == process else { return true }
            _ = cx_signal_process(descriptor, SIGKILL)
            return false
        }
    }

    /// The network namespace of a pod, the caller's to close. Blocking.
    ///
    /// - Throws: `connection_failed` when the pod is gone or its network cannot be opened.
    func network(_ folder: PodFolder) throws -> CInt {
        guard let process = process(folder) else { throw PlatformError(.connectionFailed, "The pod is gone.") }
        let network = cx_network_of(process)
        // Looked at again: the number may have been given to another process in between. Its own network the platform
        // never enters.
        guard network >= 0, self.process(folder) == process, cx_is_other_network(network) == 1 else {
            let reason = network < 0 ? String(cString: strerror(-network)) : "it has none of its own"
            if network >= 0 { close(network) }
            throw PlatformError(.connectionFailed, "The pod's network cannot be entered: \(reason).")
        }
        return network
    }

    /// The process named in `init.pid`, if it started when that says and has not ended.
    private func process(_ folder: PodFolder) -> CInt? {
        guard let text = FileManager.default.contents(atPath: folder.identity) else { return nil }
        let words = String(decoding: text, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        guard words.count == 2, let process = CInt(words[0]), process > 1,
            let stat = KernelFile.read("/proc/\(process)/stat")
        else { return nil }
        // After the name in parentheses: the state, then 18 fields, then the start time.
        let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 19, fields[19] == words[1], fields[0] != "Z", fields[0] != "X" else { return nil }
        return process
    }
}

/// Removal of what is left of pods. Waiting holds no thread, and the erasing itself has threads of its own: a pod that
/// left millions of files delays neither a start nor another pod (contract N4, N10).
extension Supervisor {
    /// Erases pods' folders, a few at a time.
    private static let erasing = BlockingPool(threads: Limits.podRemovals)
    /// How long processes and control groups may take to be gone after SIGKILL.
    private static let killTime: Duration = .seconds(5)

    /// Removes all of a pod that is left: processes, control groups, folder. Nothing to do is no failure; it may be
    /// repeated at any time.
    ///
    /// - Throws: `engine_unavailable` when something remains; `CancellationError`, and then something may remain.
    func remove(_ folder: PodFolder) async throws {
        let groups = try await blocking { folder.read()?.groups ?? [:] }
        try await kill(folder)
        // With the supervisor its containers get SIGKILL from the kernel; they may take a moment to go. Searched twice:
        // a supervisor that goes into the background changes its number.
        try await wait {
            let left = orphans(of: folder)
            for process in left { kill(orphan: process, of: folder) }
            return left.isEmpty && orphans(of: folder).isEmpty
        }
        for group in groups.values { try await wait { group.remove() } }
        // Renamed in one step, then erased file by file: a crash in between leaves work for `sweep`, and no half pod.
        let parent = folder.path.split(separator: "/").dropLast().joined(separator: "/")
        let isNamed = !folder.id.hasPrefix(".") || folder.isProbe
        let doomed = isNamed ? "/\(parent)/.\(folder.id).gone" : folder.path
        if doomed != folder.path {
            try await Self.erasing.run {
                try PodFolder.remove(doomed)
                guard rename(folder.path, doomed) == 0 || errno == ENOENT else {
                    throw PlatformError(
                        .engineUnavailable, "A pod's folder cannot be removed: \(String(cString: strerror(errno))).")
                }
            }
            // A supervisor that was still beginning may have written its number since it was looked for. From here on
            // none can: it ends when it finds its folder moved.
            try await kill(PodFolder(directory: "/" + parent, pod: ".\(folder.id).gone"))
        }
        try await Self.erasing.run { try PodFolder.remove(doomed) }
    }

    /// Removes pods that an earlier platform or a failed removal left half made or half removed.
    ///
    /// A pod with a record that cannot be read is not touched: another version of the platform may have written it.
    ///
    /// - Returns: the error of each folder that is still there.
    func sweep() async throws -> [String: any Error] {
        let scrap = try await blocking {
            try FileManager.default.contentsOfDirectory(atPath: configuration.directory)
                .map { PodFolder(directory: configuration.directory, pod: $0) }
                .filter { folder in
                    let isScrap =
                        switch folder.look() {
                        case _ where folder.id.hasPrefix("."): true
                        // Without a record, but not without a process: whatever it is, it may be at work.
                        case .missing: !isAlive(folder)
                        case .found, .unreadable: false
                        }
                    return isScrap && (folder.isProbeOfEarlierProcess || age(folder.path) > 60)
                }
        }
        var errors: [String: any Error] = [:]
        for folder in scrap {
            do {
                try await remove(folder)
            } catch let error as CancellationError {
                throw error
            } catch {
                errors[folder.id] = error
            }
        }
        return errors
    }

    /// Repeats a short blocking step until it says that it is done, for ``killTime`` at most.
    ///
    /// - Returns: whether it is done.
    @discardableResult
    func wait(_ step: @escaping @Sendable () throws -> Bool) async throws -> Bool {
        let deadline = clock.instant() + Self.killTime
        var pause = Duration.milliseconds(2)
        while true {
            if try await blocking(step) { return true }
            guard clock.instant() < deadline else { return false }
            try await clock.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(100))
        }
    }

    /// Seconds since the folder was last changed; 0 when that is not known.
    private func age(_ path: String) -> Int {
        var found = stat()
        guard lstat(path, &found) == 0 else { return 0 }
        return time(nil) - found.st_mtim.tv_sec
    }

    /// Supervisors of the pod that have not written their number yet, and bubblewrap processes that outlived theirs,
    /// found by their command lines. In a pod that an earlier version started, the pod's folder is among bubblewrap's
    /// arguments.
    private func orphans(of folder: PodFolder) -> [pid_t] {
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return numbers.compactMap { pid_t($0) }.filter { isOrphan($0, of: folder) }
    }

    private func isOrphan(_ process: pid_t, of folder: PodFolder) -> Bool {
        guard let data = KernelFile.read("/proc/\(process)/cmdline") else { return false }
        let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        let isEarlier = words.first == configuration.bubblewrap && words.contains(folder.shared)
        let isSupervisor = words.starts(with: [configuration.podInit, "sandbox", "--directory", folder.path])
        return words.first == bubblewrapName(podFolder: folder.path) || isEarlier || isSupervisor
    }

    private func kill(orphan process: pid_t, of folder: PodFolder) {
        let descriptor = cx_process_descriptor(process)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // Looked at again: the number may have been given to another process in between.
        if isOrphan(process, of: folder) { _ = cx_signal_process(descriptor, SIGKILL) }
    }
}
