import Core
import Foundation
import Logging
import PodInitClient
import Support
import SystemCallFilter

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

extension DockerEngine {
    /// The longest time that the set-up may take.
    private static let setUpLimit: Duration = .seconds(300)

    /// Makes the network and the image of `PodInit`, or finds them; puts folders that no pod has out of the way.
    package func setUp() async throws {
        try await mapping {
            _ = try await setUpOnce()
            await sweepFolders()
        }
    }

    /// Removes everything of this installation from the engine: pods and what they share.
    package func tearDown() async throws {
        try await mapping {
            for pod in try await list() { try await stop(pod: pod.id, grace: .zero) }
            for container in try await ownContainers().own { try await client.removeContainer(container.id) }
            await trash.waitUntilIdle()
            try await removeShared()
        }
    }

    /// What pods need to be started; made again if `setUp` has not run or the engine lost it.
    func platform() async throws -> EngineState.Platform {
        if let platform = state.platform { return platform }
        return try await setUpOnce()
    }

    private func setUpOnce() async throws -> EngineState.Platform {
        try await withTimeLimit(Self.setUpLimit, clock: clock) {
            try await settingUp.run {
                let platform = try await findPlatform()
                state.platform = platform
                return platform
            }
        }
    }

    private func findPlatform() async throws -> EngineState.Platform {
        let information = try await client.information()
        // In a rootless engine the user itself is root inside, and every other number is another user.
        let user = information.isRootless ? "0:0" : "\(getuid()):\(getgid())"
        try await makeSocketFolders()
        let image = try await ensurePodInitImage()
        let subnet = try await ensureNetwork()
        return EngineState.Platform(
            podInitImage: image, user: user, isRootless: information.isRootless, filter: try await systemCallFilter(),
            subnet: subnet)
    }

    /// The engines' own filters differ: Podman's lets containers make user namespaces. Docker takes the text of a
    /// profile, Podman the path of one.
    private func systemCallFilter() async throws -> String? {
        guard let architecture = SystemCallFilter.Architecture.current else { return nil }
        let profile = SystemCallFilter.profile(for: architecture)
        guard version.isPodman else { return profile }
        let path = configuration.dataDirectory + "/engine.seccomp.json"
        try await PodFolder.offPool {
            // In one step: a container may be starting with it now.
            try Data(profile.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        }
        return path
    }

    /// Podman would make a missing one as root's.
    private func makeSocketFolders() async throws {
        let sockets = [configuration.gatewaySocket, configuration.operatorSocket]
        try await PodFolder.offPool {
            for socket in sockets {
                try FileManager.default.createDirectory(
                    atPath: (socket as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700])
            }
        }
    }

    /// Loads the image made from the executable, unless the engine has it, and returns its id: a tag may belong to
    /// another image.
    private func ensurePodInitImage() async throws -> String {
        let archive = try await podInitArchive()
        let id = "sha256:" + archive.id
        if try await client.hasImage(id) { return id }
        try await client.load(archive)
        if try await client.hasImage(id) { return id }
        // An image store that counts its own digests: what was loaded a moment ago has the tag.
        guard let loaded = try await client.image(archive.tag)?.id else {
            throw PlatformError(.engineUnavailable, "The container engine does not keep the image of cortex-pod-init.")
        }
        return loaded
    }

    private func podInitArchive() async throws -> ImageArchive {
        let path = configuration.podInitExecutable
        let architecture = version.architecture
        return try await PodFolder.offPool {
            guard let data = FileManager.default.contents(atPath: path), !data.isEmpty else {
                throw PlatformError(
                    .setup, "The program cortex-pod-init is missing from this installation. Install it again.")
            }
            let executable = Array(data)
            let allowed = CortexVersion.current.map {
                $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) ? $0 : "-"
            }
            let tag = "localhost/cortex-pod-init:\(String(allowed))-\(ImageArchive.digest(executable).prefix(12))"
            var layer = TarArchive()
            try layer.addFile("cortex-pod-init", executable, mode: 0o755)
            let folders = [
                "run", "etc", "proc", "sys", "dev", "cortex", "cortex/init", "cortex/gateway", "cortex/operator",
                "cortex/folder",
            ]
            for folder in folders { try layer.addDirectory(folder) }
            return try ImageArchive(
                tag: tag, architecture: architecture, layers: [layer.finished()],
                configuration: .init(entrypoint: ["/cortex-pod-init"]))
        }
    }

    /// The platform's own bridge. An existing one keeps its addresses.
    private func ensureNetwork() async throws -> IPv4Subnet {
        if let subnet = try await ownNetwork() { return subnet }
        let table = try await PodFolder.offPool { FileManager.default.contents(atPath: "/proc/net/route") }
        var taken = IPv4Subnet.routes(in: String(decoding: table ?? Data(), as: UTF8.self))
        taken += try await client.networks().flatMap(\.subnets)
        let seed = UInt32(ImageArchive.digest(Array(configuration.installationID.utf8)).prefix(7), radix: 16) ?? 0
        let labels = ownership.labels(
            [Labels.installation: configuration.installationID, Labels.role: Labels.Role.network.rawValue],
            name: names.network)
        // Networks that neither the kernel nor this engine shows may still be in the way: then the next block is tried.
        for attempt in 1...8 {
            guard let subnet = configuration.subnet ?? IPv4Subnet.free(besides: taken, seed: seed) else {
                throw PlatformError(
                    .setup, "No private block of addresses is free for the platform's network. Set one.")
            }
            do {
                try await client.createNetwork(
                    names.network, bridge: names.bridge, subnet: subnet, labels: labels, isPodman: version.isPodman)
                return subnet
            } catch let refusal as DockerError {
                if let subnet = try await ownNetwork() { return subnet }
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

    /// - Throws: `setup` when the network of that name is not the platform's own.
    private func ownNetwork() async throws -> IPv4Subnet? {
        guard let network = try await client.network(names.network) else { return nil }
        guard ownership.holds(network.labels ?? [:], name: names.network), let subnet = network.subnets.first else {
            throw PlatformError(
                .setup,
                "A network \(names.network) exists on the engine that this platform did not make; remove it, or use another data directory"
            )
        }
        return subnet
    }

    /// Removes what pods share, if there is no pod. An engine removes neither an image nor a network that is in use.
    func removeShared() async throws {
        guard try await ownContainers().own.isEmpty else { return }
        let image = state.platform?.podInitImage
        state.platform = nil
        if let network = try await client.network(names.network),
            ownership.holds(network.labels ?? [:], name: names.network)
        {
            try await client.removeNetwork(names.network)
        }
        if let image { try await client.removeImage(image) }
    }

    /// The destinations that pods reach, and those they do not, as `PodInit` gets them.
    func networkBlocks(_ platform: EngineState.Platform) async throws -> (allowed: [String], blocked: [String]) {
        let networks = try await client.networks().flatMap(\.blocks)
        let host = try await PodFolder.offPool { PodNetworkRules.hostAddresses() }
        return configuration.podNetwork.blocks(host: host, networks: networks + [platform.subnet.description])
    }

    func body(_ platform: EngineState.Platform) -> ContainerBody {
        ContainerBody(
            configuration: configuration, isPodman: version.isPodman, platform: platform, ownership: ownership,
            names: names)
    }
}
