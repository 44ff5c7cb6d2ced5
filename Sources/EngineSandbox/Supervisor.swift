import CPodInit
import Core
import Foundation
import Subprocess
import Support

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// Starts and, if need be, kills the `PodInit` that keeps a sandbox pod.
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
        let result: (status: TerminationStatus, text: String)
        do {
            result = try await withTimeLimit(Limits.supervisorStart, clock: clock) {
                let run = try await Subprocess.run(
                    .path(FilePath(configuration.podInit)), arguments: Arguments(arguments), environment: .custom([:]),
                    output: .discarded, error: .string(limit: 4096))
                return (run.terminationStatus, run.standardError)
            }
        } catch let error as CancellationError {
            throw error
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(
                .engineUnavailable,
                "cortex-pod-init did not start within \(Limits.supervisorStart.components.seconds) s.",
                cause: error)
        } catch {
            throw PlatformError(.engineUnavailable, "cortex-pod-init cannot be run.", cause: error)
        }
        guard result.status.isSuccess else {
            let text = result.text.replacingOccurrences(of: "cortex-pod-init: ", with: "")
            let reason = text.trimmingCharacters(in: .whitespacesAndNewlines)
            throw PlatformError(.engineUnavailable, "A sandbox cannot be made: \(reason).")
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
    /// - Throws: `connection_failed` when the pod is gone or cannot be looked into.
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
            let stat = FileManager.default.contents(atPath: "/proc/\(process)/stat")
        else { return nil }
        // After the name in parentheses: the state, then 18 fields, then the start time.
        let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        guard fields.count > 19, fields[19] == words[1], fields[0] != "Z", fields[0] != "X" else { return nil }
        return process
    }
}
