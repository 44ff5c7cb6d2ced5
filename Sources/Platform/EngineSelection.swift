import Core
import EngineDocker
import EngineSandbox
import Foundation
import Logging

/// Selects the engine that runs the pods (contract U1): the named one, or with `auto` the first Docker or Podman that
/// answers, otherwise the sandbox.
struct EngineSelection: Sendable {
    var settings: PlatformSettings
    var directory: PlatformDirectory
    var environment: [String: String]
    var clock: any PlatformClock
    var logger: Logger

    /// - Throws: ``PlatformError`` `setup`: one line that says what is missing and what to do.
    func select() async throws -> any Engine {
        guard settings.engine != .sandbox else { return try sandbox() }
        // A named socket is used or refused, and never silently replaced.
        let named = try namedSocket()
        let candidates = named.map { [$0.path] } ?? DockerEngineConfiguration.usualSockets(environment: environment)
        if let engine = try await firstDocker(of: candidates) { return engine }
        if let named {
            throw PlatformError(
                .setup,
                "no Docker or Podman answers at \(named.path), which \(named.origin) names; start it, or omit \(named.origin)"
            )
        }
        guard settings.engine == .docker else { return try sandbox() }
        throw PlatformError(
            .setup,
            "no Docker or Podman answers at \(candidates.joined(separator: ", ")); start one (for Podman: systemctl start podman.socket), name its socket with --engine-socket, or use --engine sandbox"
        )
    }

    private func namedSocket() throws -> (path: String, origin: String)? {
        if let socket = settings.engineSocket { return (socket, "--engine-socket") }
        return try DockerEngineConfiguration.namedSocket(environment: environment)
    }

    private func firstDocker(of sockets: [String]) async throws -> (any Engine)? {
        let podInit = try PodInitProgram.path()
        for socket in sockets where FileManager.default.fileExists(atPath: socket) {
            guard await DockerEngine.answers(socketPath: socket, clock: clock) else {
                logger.info("no container engine answers", metadata: ["socket": "\(socket)"])
                continue
            }
            return try await DockerEngine.connect(
                DockerEngineConfiguration(
                    socketPath: socket,
                    installationID: DockerEngineConfiguration.installationID(dataDirectory: directory.path),
                    dataDirectory: directory.path, podInitExecutable: podInit,
                    gatewaySocket: directory.gatewaySocket, operatorSocket: directory.operatorSocket,
                    podNetwork: settings.podNetwork),
                clock: clock, logger: logger)
        }
        return nil
    }

    private func sandbox() throws -> any Engine {
        var closed = PodNetworkRules()
        closed.isClosed = true
        guard settings.podNetwork == .init() || settings.podNetwork == closed else {
            throw PlatformError(
                .setup,
                "--pod-network needs Docker or Podman, because a sandbox pod reaches only the platform; omit it, or start an engine"
            )
        }
        guard let bubblewrap = Self.program("bwrap", environment: environment) else {
            throw PlatformError(
                .setup,
                "bubblewrap is not installed, which the sandbox engine needs; install it (apt-get install bubblewrap) or start Docker or Podman"
            )
        }
        return SandboxEngine(
            configuration: SandboxConfiguration(
                directory: directory.pods, gatewaySocket: directory.gatewaySocket,
                operatorSocket: directory.operatorSocket, podInit: try PodInitProgram.path(), bubblewrap: bubblewrap),
            clock: clock, logger: logger)
    }

    /// Finds a program as a shell does.
    static func program(_ name: String, environment: [String: String]) -> String? {
        (environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }
}

/// The program in every pod, which is beside `cortex`.
enum PodInitProgram {
    static let name = "cortex-pod-init"

    static func path() throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(filePath: program).deletingLastPathComponent().appending(path: name).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw PlatformError(
                .setup, "\(name) is missing; it belongs beside the cortex program: install both from the same build")
        }
        return path
    }
}
