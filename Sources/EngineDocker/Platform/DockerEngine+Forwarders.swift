import Core
import Foundation
import Logging

extension DockerEngine {
    /// One of the two containers that carry the platform's names into the pods.
    struct Forwarder: Sendable {
        var role: Labels.Role
        var ports: [Int]
        var socket: String
        var address: String
    }

    func forwarders(_ platform: EngineState.Platform) -> [Forwarder] {
        [
            Forwarder(
                role: .gatewayForwarder, ports: [80], socket: configuration.gatewaySocket,
                address: platform.gatewayAddress),
            Forwarder(
                role: .operatorForwarder, ports: [80, 8888], socket: configuration.operatorSocket,
                address: platform.operatorAddress),
        ]
    }

    /// Makes both run; one that is dead or was made from something else is replaced.
    func ensureForwarders(_ platform: EngineState.Platform) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for forwarder in forwarders(platform) {
                group.addTask { try await ensure(forwarder, platform) }
            }
            try await group.waitForAll()
        }
    }

    /// The listing shows both running? If not, they are made anew. A failure is told and tried again at the next listing.
    func repairForwarders(_ listed: [DockerClient.ContainerSummary]) async {
        guard let platform = state.platform else { return }
        let running = Set(listed.filter { $0.state == "running" }.compactMap { $0.labels?[Labels.role] })
        guard forwarders(platform).contains(where: { !running.contains($0.role.rawValue) }) else { return }
        logger.warning("a forwarder of the platform's names is gone; it is made again")
        do {
            try await setUp()
        } catch {
            logger.error("a forwarder can't be started", metadata: ["error": "\(error)"])
        }
    }

    private func ensure(_ forwarder: Forwarder, _ platform: EngineState.Platform) async throws {
        let url = URL(fileURLWithPath: forwarder.socket)
        let socketFolder = url.deletingLastPathComponent().path
        try await PodFolder.offPool {
            guard !FileManager.default.fileExists(atPath: socketFolder) else { return }
            try FileManager.default.createDirectory(
                atPath: socketFolder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        let name = names.forwarder(forwarder.role)
        let facts = [
            platform.podInitImage, platform.user, forwarder.socket, forwarder.address,
            forwarder.ports.map(String.init).joined(separator: ","),
        ]
        let digest = ImageArchive.digest(Array(facts.joined(separator: "\n").utf8))
        if let existing = try await client.container(name) {
            if existing.isRunning, existing.settings?.labels?[Labels.specification] == digest { return }
            try await client.removeContainer(existing.id)
        }
        let body = body(platform).forwarder(
            forwarder.role, ports: forwarder.ports, socketFolder: socketFolder, socketName: url.lastPathComponent,
            network: names.network, address: forwarder.address, digest: digest)
        let id = try await client.createContainer(name, body: body) {
            $0.settings?.labels?[Labels.specification] == digest
        }
        do {
            try await client.startContainer(id)
        } catch {
            try await client.removeContainer(id)
            guard let refusal = error as? DockerError else { throw error }
            throw PlatformError(
                .engineUnavailable,
                "The container that carries the platform's name into the pods can't be started: \(readable(refusal))",
                cause: refusal)
        }
    }

    func body(_ platform: EngineState.Platform) -> ContainerBody {
        ContainerBody(
            configuration: configuration, isPodman: version.isPodman, user: platform.user,
            podInitImage: platform.podInitImage)
    }
}
