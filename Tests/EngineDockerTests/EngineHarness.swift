import Core
import EngineConformance
import EngineDocker
import Foundation
import Logging
import PodmanSupport
import Support
import TestSupport

/// An engine on the private Podman with a data directory of its own.
struct EngineHarness: Sendable {
    let podman: PrivatePodman
    let engine: DockerEngine
    let folder: URL

    /// Runs `body` with a new installation, and removes everything of it afterwards.
    static func with<Result>(
        change: (inout DockerEngineConfiguration) -> Void = { _ in }, _ body: (EngineHarness) async throws -> Result
    ) async throws -> Result {
        let podman = try await PrivatePodman.shared()
        try await podman.load(try TestImages.busybox())
        let harness = try await make(podman, change)
        do {
            let result = try await body(harness)
            try await harness.tearDown()
            return result
        } catch {
            try? await harness.tearDown()
            throw error
        }
    }

    static func make(
        _ podman: PrivatePodman, _ change: (inout DockerEngineConfiguration) -> Void = { _ in }
    ) async throws -> EngineHarness {
        let id = String(UInt32.random(in: .min ... .max), radix: 16)
        let folder = podman.scratch.appendingPathComponent(id)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var configuration = DockerEngineConfiguration(
            socketPath: podman.socketPath, installationID: id, dataDirectory: folder.path,
            podInitExecutable: try podInit(), gatewaySocket: folder.path + "/gateway/gateway.sock",
            operatorSocket: folder.path + "/operator/operator.sock", dockerConfigDirectory: folder.path + "/docker")
        change(&configuration)
        let engine = try await DockerEngine.connect(configuration, clock: SystemClock(), logger: Self.logger)
        return EngineHarness(podman: podman, engine: engine, folder: folder)
    }

    static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .warning
        return logger
    }

    /// Another engine on the same data.
    func another() async throws -> DockerEngine {
        try await DockerEngine.connect(engine.configuration, clock: SystemClock(), logger: Self.logger)
    }

    func tearDown() async throws {
        try await engine.tearDown()
        await engine.shutDown()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Mounts a file system in memory on a folder; what a container's mount would be.
    func mount(_ path: String) async throws {
        try await podman.shell("mount -t tmpfs none '\(path)'")
    }

    /// Removes all mounts below the data directory.
    func unmountAll() async throws {
        try await podman.shell("grep -F '\(folder.path)/' /proc/mounts | cut -d' ' -f2 | xargs -r umount -l")
    }

    var id: String { engine.configuration.installationID }

    /// A container of the busybox image.
    func shell(_ name: String, _ script: String) -> ContainerPlan {
        ContainerPlan(name: name, image: "localhost/cortex-test-busybox:1", command: ["sh", "-c", script])
    }

    func plan(_ containers: [ContainerPlan]) -> PodPlan {
        PodPlan(
            id: "hello-\(String(UInt64.random(in: .min ... .max), radix: 36))",
            owner: .api(.init(name: "hello", apiID: "api-1", podID: "pod-1", deploymentID: "deployment-1")),
            createdAt: Timestamp(seconds: 1_800_000_000),
            containers: containers, clientConfiguration: "environments: []\n")
    }

    /// The one container's details, as the engine's command shows them.
    func inspect(_ pod: String, _ container: String, _ format: String) async throws -> String {
        try await podman.command(["inspect", "--format", format, "cortex-\(id)-\(pod).\(container)"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func state(_ container: String, of pod: String) async throws -> ObservedContainer.State? {
        try await engine.list().first { $0.id == pod }?.containers.first { $0.name == container }?.state
    }

    func exit(_ container: String, of pod: String) async throws -> ContainerExit? {
        guard case .exited(let exit) = try await state(container, of: pod) else { return nil }
        return exit
    }

    func lines(_ container: String, of pod: String, tail: Int? = nil) async throws -> [String] {
        var lines: [String] = []
        for try await line in try await engine.logs(container: container, pod: pod, follow: false, tail: tail).lines {
            lines.append(line)
        }
        return lines
    }

    /// The executable that was built beside the tests.
    static func podInit() throws -> String {
        let start = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
        let work = URL(fileURLWithPath: FileManager.default.currentDirectoryPath + "/.build/debug")
        for folder in [start, work] {
            let path = folder.appendingPathComponent("cortex-pod-init").path
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        throw PlatformError(.setup, "cortex-pod-init is not built: swift build --product cortex-pod-init")
    }
}
