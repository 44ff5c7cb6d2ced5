import CLinux
package import Core
import Foundation
package import Logging
import PodInitClient
import Support

/// Pods through the Docker Engine API: Docker and Podman by one client.
///
/// A pod is a container that runs `PodInit` and owns the network namespace, and the user's containers in that
/// namespace. What runs is read back from the engine, so a platform that starts again adopts it. Only what carries this
/// platform's proof (``Ownership``) is believed; everything else on the engine is left alone. Safe to use from many
/// tasks at once; two calls about one pod should not overlap, but for reading.
package struct DockerEngine: Engine {
    package let name: String
    /// The engine's own version and architecture.
    package let version: DockerClient.Version
    package let configuration: DockerEngineConfiguration
    let client: DockerClient
    let clock: any PlatformClock
    let logger: Logger
    let state = EngineState()
    let settingUp = SingleFlight<EngineState.Platform>()
    let ownership: Ownership
    let trash = Trash()
    let sockets: PodSockets

    /// Connects to the engine at the configured socket and asks what it is.
    ///
    /// - Throws: `engine_unavailable` when nothing answers, `not_supported` when it is too old.
    package static func connect(
        _ configuration: DockerEngineConfiguration, clock: any PlatformClock, logger: Logger
    ) async throws -> DockerEngine {
        let id = configuration.installationID
        guard (1...12).contains(id.utf8.count),
            id.utf8.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) })
        else { throw PlatformError(.internal, "The installation's id is malformed.") }
        let ownership = try await PodFolder.offPool { try Ownership.open(dataDirectory: configuration.dataDirectory) }
        var client = DockerClient(socketPath: configuration.socketPath, clock: clock)
        do {
            let version = try await client.version()
            guard version.api >= DockerClient.oldestAPI else {
                throw PlatformError(
                    .notSupported,
                    "The container engine speaks API \(version.api); \(DockerClient.oldestAPI) or newer is needed. Update it."
                )
            }
            // A newer Docker may refuse the API that we know; the next one it takes has all of it.
            client.api = max(DockerClient.oldestAPI, version.minimumAPI)
            return DockerEngine(
                version: version, configuration: configuration, client: client, ownership: ownership, clock: clock,
                logger: logger)
        } catch {
            await client.shutDown()
            throw Self.platformError(error)
        }
    }

    private init(
        version: DockerClient.Version, configuration: DockerEngineConfiguration, client: DockerClient,
        ownership: Ownership, clock: any PlatformClock, logger: Logger
    ) {
        self.name = version.isPodman ? "podman" : "docker"
        self.version = version
        self.configuration = configuration
        self.client = client
        self.ownership = ownership
        self.clock = clock
        self.logger = logger
        self.sockets = PodSockets(helper: configuration.podInitExecutable, clock: clock) { way in
            guard way == .podInit else {
                return logger.info("the platform makes its connections into pods", metadata: ["by": "\(way.rawValue)"])
            }
            logger.warning(
                "the platform cannot enter the networks of pods, so PodInit makes its connections; a pod that takes its PodInit over can delay requests of other APIs"
            )
        }
    }

    /// Whether an engine answers at the socket. Never longer than ten seconds.
    package static func answers(socketPath: String, clock: any PlatformClock) async -> Bool {
        let client = DockerClient(socketPath: socketPath, clock: clock)
        let answer: Void? = try? await client.ping()
        await client.shutDown()
        return answer != nil
    }

    /// Releases the engine: streams end, calls fail. Pods continue. When none is left, the network and the image of
    /// `PodInit` are removed, for at most five seconds. To be called once, last.
    package func shutDown() async {
        do {
            try await withTimeLimit(.seconds(5), clock: clock) { try await removeShared() }
        } catch {
            logger.debug("the platform's network stays on the engine", metadata: ["error": "\(error)"])
        }
        await client.shutDown()
    }

    var names: ResourceNames { ResourceNames(installationID: configuration.installationID) }
    var podsFolder: String { configuration.dataDirectory + "/pods" }

    /// A pod's folder. Its name is short, since socket paths are.
    ///
    /// - Throws: `not_found` when `pod` does not have the form of a pod's id.
    func folder(_ pod: String) throws -> PodFolder {
        guard let folder = PodFolder(pods: podsFolder, id: pod) else {
            throw PlatformError(.notFound, "There is no such replica.")
        }
        return folder
    }

    package func connector(pod: String) -> any Connector {
        // A name that no folder has: connecting fails as it does for a pod that is gone.
        let socket = (try? folder(pod).initSocket) ?? podsFolder + "/.none/init.sock"
        let own = PodInitConnector.Own(sockets: sockets, pod: pod) { [self] in try await network(of: pod) }
        return PodInitConnector(client: PodInitClient(socketPath: socket), own: own)
    }

    /// Opens the network namespace of a pod, which the caller closes.
    ///
    /// - Returns: `nil` where the platform may not open it, or does not see the engine's processes: the engine is
    ///   another user's, or runs in another process namespace.
    /// - Throws: `connection_failed` when the pod is gone, and for every failure that may pass.
    func network(of pod: String) async throws -> CInt? {
        try await mapping {
            let (container, process) = try await podInitProcess(of: pod)
            let network = try await PodFolder.offPool { try Self.network(of: process, in: container) }
            if case .opened(let descriptor) = network { return descriptor }
            if case .forbidden = network { return nil }
            // The process is not there, or another one has its number: the container ended, or the engine counts
            // processes otherwise.
            guard try await podInitProcess(of: pod) == (container, process) else {
                throw PlatformError(.connectionFailed, "The pod is being restarted.")
            }
            return nil
        }
    }

    private func podInitProcess(of pod: String) async throws -> (container: String, process: CInt) {
        guard let container = try await client.container(names.podInit(pod)), container.isRunning,
            let process = container.state?.processID, process > 1,
            ownership.holds(container.settings?.labels ?? [:], name: names.podInit(pod))
        else { throw PlatformError(.connectionFailed, "The pod is gone.") }
        return (container.id, CInt(clamping: process))
    }

    private enum NetworkLook: Sendable {
        case opened(CInt)
        case forbidden
        case notThere
    }

    /// Blocking.
    private static func network(of process: CInt, in container: String) throws -> NetworkLook {
        let network = cx_network_of(process)
        switch -network {
        case EACCES, EPERM: return .forbidden
        case ENOENT, ESRCH: return .notThere
        case let error where error > 0:
            throw PlatformError(.connectionFailed, "The pod's network cannot be opened (error \(error)).")
        default: break
        }
        // Read afterwards: if the process belongs to the container now, it is the one that was meant.
        guard let groups = KernelFile.read("/proc/\(process)/cgroup") else {
            close(network)
            throw PlatformError(.connectionFailed, "The pod's process cannot be looked at.")
        }
        if String(decoding: groups, as: UTF8.self).contains(container), cx_is_other_network(network) == 1 {
            return .opened(network)
        }
        close(network)
        return .notThere
    }

    /// What leaves this module: a ``PlatformError`` or a `CancellationError`.
    static func platformError(_ error: any Error) -> any Error {
        if let refusal = error as? DockerError { return refusal.platformError }
        if error is PlatformError || error is CancellationError { return error }
        return PlatformError(.internal, "The container engine could not be used.", cause: error)
    }

    /// Runs `body` so that only errors of the platform leave it.
    func mapping<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch {
            throw Self.platformError(error)
        }
    }
}

extension DockerEngine {
    /// What the engine's machine has; GPUs are not handed out yet.
    package func capacity() async -> ComputeAmount? {
        guard let information = try? await client.information(), information.cores > 0, information.memory > 0
        else { return nil }
        return ComputeAmount(cpu: Int64(information.cores) * 1000, memory: information.memory)
    }
}
