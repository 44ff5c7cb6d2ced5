import Core
import Foundation
import Logging
import PodInitClient

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension DockerEngine {
    /// Makes the network, the image of `PodInit` and the two forwarders, or finds them; removes folders that no pod has.
    package func setUp() async throws {
        _ = try await mapping { try await settingUp.run { try await findAll() } }
    }

    /// Removes everything of this installation from the engine: pods, forwarders, network. Images stay.
    package func tearDown() async throws {
        try await mapping {
            state.platform = nil
            for pod in try await list() { try await stop(pod: pod.id, grace: .zero) }
            for container in try await client.containers(labels: [names.filter]) {
                try await client.removeContainer(container.id)
            }
            try await client.removeNetwork(names.network)
        }
    }

    /// What pods need to be started; made again if `setUp` has not run or the engine lost it.
    func platform() async throws -> EngineState.Platform {
        if let platform = state.platform { return platform }
        return try await settingUp.run { try await findAll() }
    }

    private func findAll() async throws -> EngineState.Platform {
        let platform = try await findPlatform()
        try await ensureForwarders(platform)
        state.platform = platform
        try await sweepFolders()
        return platform
    }

    private func findPlatform() async throws -> EngineState.Platform {
        let information = try await client.information()
        // In a rootless engine the user itself is root inside, and every other number is somebody else.
        let user = information.isRootless ? "0:0" : "\(getuid()):\(getgid())"
        let image = try await ensurePodInitImage()
        let subnet = try await ensureNetwork()
        return EngineState.Platform(
            podInitImage: image, user: user, gatewayAddress: subnet.address(2), operatorAddress: subnet.address(3))
    }

    /// Loads the image made from the executable, unless the engine has it. Its tag tells version and content.
    private func ensurePodInitImage() async throws -> String {
        let path = configuration.podInitExecutable
        let executable = try await PodFolder.offPool { () -> [UInt8] in
            guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else {
                throw PlatformError(
                    .setup, "The program cortex-pod-init is missing from this installation. Install it again.")
            }
            return Array(data)
        }
        let allowed = CortexVersion.current.map {
            $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) ? $0 : "-"
        }
        let tag = "localhost/cortex-pod-init:\(String(allowed))-\(ImageArchive.digest(executable).prefix(12))"
        if try await client.hasImage(tag) { return tag }
        var layer = TarArchive()
        try layer.addFile("cortex-pod-init", executable, mode: 0o755)
        for folder in ["run", "run/cortex", "etc", "proc", "sys", "dev"] { try layer.addDirectory(folder) }
        let archive = try ImageArchive(
            tag: tag, architecture: version.architecture, layers: [layer.finished()],
            configuration: .init(entrypoint: ["/cortex-pod-init"]))
        try await client.load(archive)
        return tag
    }

    /// The platform's own bridge. An existing one keeps its addresses: running pods have them in their hosts files.
    private func ensureNetwork() async throws -> IPv4Subnet {
        if let existing = try await client.network(names.network)?.subnets.first { return existing }
        let table = try await PodFolder.offPool { FileManager.default.contents(atPath: "/proc/net/route") }
        var taken = IPv4Subnet.routes(in: String(decoding: table ?? Data(), as: UTF8.self))
        taken += try await client.networks().flatMap(\.subnets)
        let seed = UInt32(ImageArchive.digest(Array(configuration.installationID.utf8)).prefix(7), radix: 16) ?? 0
        // Networks that neither the kernel nor this engine shows may still be in the way: then the next block is tried.
        for attempt in 1...8 {
            guard let subnet = configuration.subnet ?? IPv4Subnet.free(besides: taken, seed: seed) else {
                throw PlatformError(
                    .setup, "No private block of addresses is free for the platform's network. Set one.")
            }
            do {
                try await client.createNetwork(
                    names.network, bridge: names.bridge, subnet: subnet,
                    labels: [Labels.installation: configuration.installationID])
                return subnet
            } catch let refusal as DockerError {
                if let existing = try await client.network(names.network)?.subnets.first { return existing }
                guard attempt < 8, configuration.subnet == nil else {
                    throw PlatformError(
                        .setup, "The container engine can't make the network \(subnet). Choose another subnet.",
                        cause: refusal)
                }
                taken.append(subnet)
            }
        }
        throw PlatformError(.setup, "The container engine can't make a network.")
    }

    /// A crash may leave a folder behind whose containers are gone, or were never made.
    private func sweepFolders() async throws {
        // In this order: a pod that is being started has its folder before its containers.
        let names = try await PodFolder.names(in: podsFolder)
        let known = Set(try await client.containers(labels: [self.names.filter]).compactMap { $0.labels?[Labels.pod] })
        for name in names where !known.contains(name) && !state.isStarting(name) {
            logger.info("removing the folder of a pod that is gone", metadata: ["replica": "\(name)"])
            try await folder(name).remove()
        }
    }
}
