import Core
package import EngineDocker
package import Foundation
import Logging
import Support
import Synchronization
import TestSupport

/// A Podman of the tests' own, beside whatever engine the machine has: own storage, own networks, own socket. Needs
/// root and the packages `podman runc conmon iptables`.
///
/// It goes away with the test process, however that ends: a shell that waits for the end of a pipe removes everything.
package final class PrivatePodman: Sendable {
    private static let starting = Task { try await launch() }

    /// The one instance of this process; started by the first caller.
    package static func shared() async throws -> PrivatePodman { try await starting.value }

    /// One more, for a test that stops it. Starting it takes about a second.
    package static func separate() async throws -> PrivatePodman { try await launch() }

    private let folder: PodmanFolder
    private let service = Mutex<ChildProcess?>(nil)
    private let loaded = Mutex<Set<String>>([])

    /// The engine's unix socket.
    package var socketPath: String { folder.socket }
    /// A port at which the engine takes a registry without TLS.
    package var registryPort: Int { folder.registryPort }
    /// A folder for the tests' own files; it goes with the engine.
    package var scratch: URL { URL(fileURLWithPath: folder.path + "/scratch") }

    private init(folder: PodmanFolder) {
        self.folder = folder
    }

    private static func launch() async throws -> PrivatePodman {
        try await PodmanFolder.removeAbandoned()
        do {
            try await Shell.run("podman", ["--version"])
        } catch {
            throw PlatformError(
                .setup, "These tests need podman: apt-get install --no-install-recommends podman runc conmon iptables",
                cause: error)
        }
        let folder = try PodmanFolder.make(registryPort: Int.random(in: 20_000..<30_000))
        try watch(folder)
        // Overlay where the kernel and the file system can, else plain copies.
        var failure: (any Error)?
        for driver in ["overlay", "vfs"] {
            try folder.use(driver: driver)
            let podman = PrivatePodman(folder: folder)
            do {
                try await Shell.run("podman", folder.arguments + ["info"], environment: folder.environment)
                try await podman.chooseRuntime()
                try await podman.startService()
                return podman
            } catch {
                failure = error
                try? FileManager.default.removeItem(atPath: folder.path + "/root")
            }
        }
        throw PlatformError(.setup, "A private Podman can't be started here (root is needed).", cause: failure)
    }

    /// Takes the first program that runs a container here: what Podman is configured for, then `crun`, then `runc`.
    /// Which one works depends on the machine's control groups. Prints its name.
    private func chooseRuntime() async throws {
        let configuration = try String(contentsOfFile: folder.path + "/containers.conf", encoding: .utf8)
        let root = folder.path + "/scratch/runtime"
        try await Shell.run(
            "sh",
            [
                "-c",
                "mkdir -p '\(root)/bin' '\(root)/etc' '\(root)/proc' '\(root)/sys' '\(root)/dev' && cp \"$(command -v busybox)\" '\(root)/bin/busybox'",
            ])
        var failures: [String] = []
        for runtime in [nil, "crun", "runc"] as [String?] {
            try configuration.write(toFile: folder.path + "/containers.conf", atomically: true, encoding: .utf8)
            if let runtime { try folder.use(runtime: runtime) }
            do {
                try await command(["run", "--rm", "--network", "none", "--rootfs", root, "/bin/busybox", "true"])
                FileHandle.standardError.write(
                    Data("the tests' Podman runs containers with \(runtime ?? "its configured runtime")\n".utf8))
                return
            } catch {
                failures.append("\(runtime ?? "as configured"): \((error as? PlatformError)?.message ?? "\(error)")")
            }
        }
        throw PlatformError(
            .setup,
            "No program runs containers here; install crun or runc: \(failures.joined(separator: "; ").suffix(2000))")
    }

    /// Starts the service and waits until it answers. Containers live on without it.
    package func startService() async throws {
        let process = try ChildProcess(
            folder.program[0],
            folder.program.dropFirst() + folder.arguments
                + ["system", "service", "--time", "0", "unix://" + folder.socket],
            environment: ProcessInfo.processInfo.environment.merging(folder.environment) { $1 },
            output: .appending(folder.log), errors: .appending(folder.log))
        service.withLock { $0 = process }
        let socket = folder.socket
        let answers = try await eventually(within: .seconds(30)) {
            await DockerEngine.answers(socketPath: socket, clock: SystemClock())
        }
        guard answers else {
            let text = (try? String(contentsOfFile: folder.log, encoding: .utf8)) ?? ""
            throw PlatformError(.setup, "podman does not answer: \(text.suffix(2000))")
        }
    }

    /// Ends the service with SIGKILL and waits until it is gone.
    ///
    /// - Parameter removingSocket: a crash leaves the socket's file; the next service replaces it.
    package func killService(removingSocket: Bool = true) async {
        guard let process = service.withLock({ $0 }) else { return }
        process.send(SIGKILL)
        _ = try? await withTimeLimit(.seconds(10)) { await process.wait() }
        if removingSocket { try? FileManager.default.removeItem(atPath: folder.socket) }
    }

    /// Takes away what a machine loses when its power is cut: every process, mounts, network interfaces and namespaces,
    /// and what lies in memory. What is on disk stays. The service is to be started again.
    package func cutPower() async throws {
        await killService(removingSocket: true)
        try await Shell.run("sh", ["-c", PodmanFolder.powerCut], environment: ["CX": folder.path])
    }

    /// Runs the command `podman` on this engine, for what no API has.
    @discardableResult
    package func command(_ arguments: [String]) async throws -> String {
        let program = folder.program
        return try await Shell.run(
            program[0], program.dropFirst() + folder.arguments + arguments, environment: folder.environment)
    }

    /// Runs a line of shell on this machine.
    package func shell(_ script: String) async throws {
        try await Shell.run("sh", ["-c", script])
    }

    /// Loads an image, once per process.
    package func load(_ image: ImageArchive) async throws {
        guard !loaded.withLock({ $0.contains(image.tag) }) else { return }
        let client = DockerClient(socketPath: socketPath, clock: SystemClock())
        do {
            try await client.load(image)
        } catch {
            await client.shutDown()
            throw error
        }
        await client.shutDown()
        loaded.withLock { _ = $0.insert(image.tag) }
    }

    /// Starts the shell that cleans up when this process ends: the other end of its standard input is ours alone.
    private static func watch(_ folder: PodmanFolder) throws {
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { throw PlatformError(.setup, "no pipe can be made") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // The other end, `ends[1]`, stays open until this process ends, however it does.
        _ = try ChildProcess(
            "setsid", ["sh", "-c", "trap '' INT TERM HUP; cat >/dev/null; " + PodmanFolder.cleanUp],
            environment: ProcessInfo.processInfo.environment.merging(["CX": folder.path]) { $1 },
            input: .descriptor(ends[0]))
        close(ends[0])
    }
}
