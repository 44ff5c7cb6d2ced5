package import Core
import Foundation
import Logging
import PodInitClient
import Support
import Synchronization
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

    /// Makes the network and the image of `PodInit`, or finds them, and removes folders that belong to no pod.
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

    /// Podman would make a missing folder as root.
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
        let table = try await PodFolder.offPool { KernelFile.read("/proc/net/route") }
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

extension DockerEngine {
    package func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {
        try await mapping {
            var seen: Set<String> = []
            for container in plan.containers {
                guard let image = container.image, !image.isEmpty else {
                    throw PlatformError(.imageUnavailable, "Container \(container.name) has no image.")
                }
                if seen.insert(image).inserted { try await ensureImage(image, progress: progress) }
            }
        }
    }

    private func ensureImage(_ text: String, progress: @escaping @Sendable (String) -> Void) async throws {
        guard let reference = ImageReference(text) else {
            throw PlatformError(
                .imageUnavailable, "\"\(text)\" is no image reference (registry/name:tag, in lower case).")
        }
        // First the name as it is written: images that were built on this machine have a short name. Only a pull needs
        // the full one.
        for name in [text, reference.fullName] {
            if let image = try await client.image(name) { return try accept(image, text) }
        }
        if reference.isLocal {
            throw PlatformError(
                .imageUnavailable,
                "The image \(text) is not on this machine, and localhost/ names are never pulled. Build or load it first."
            )
        }
        let store = CredentialStore(directory: configuration.dockerConfigDirectory, logger: logger)
        let credentials = await store.credentials(for: reference.registry)
        progress("Pulling \(text)")
        do {
            let (client, clock) = (client, clock)
            try await withDeadline(configuration.pullTimeout, clock: clock) {
                var lines = PullProgress(image: text, now: clock.now())
                try await client.pull(reference, credentials: credentials) { event in
                    if let line = lines.note(event, now: clock.now()) { progress(line) }
                }
            }
        } catch let refusal as DockerError {
            throw Self.unavailable(reference, refusal, hadCredentials: credentials != nil)
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.imageUnavailable, "The image \(text) was not pulled in time.", cause: error)
        }
        guard let image = try await client.image(reference.fullName) else {
            throw PlatformError(.imageUnavailable, "The engine says it pulled the image \(text), but does not have it.")
        }
        try accept(image, text)
        progress("Pulled \(text)")
    }

    /// The largest labels of an image, in bytes. The engine repeats them in each list of containers.
    private static let labelLimit = 64 << 10

    /// Stores the image's id, from which containers are made.
    private func accept(_ image: DockerClient.Image, _ text: String) throws {
        guard image.labelBytes <= Self.labelLimit else {
            throw PlatformError(
                .imageUnavailable,
                "The image \(text) has \(image.labelBytes >> 10) KiB of labels; at most \(Self.labelLimit >> 10) KiB are accepted. Build it with fewer."
            )
        }
        if let id = image.id { state.noteImage(text, id: id) }
    }

    /// The registry's reason, and what to do about it. The text only chooses the advice; it is shown as it is.
    private static func unavailable(
        _ reference: ImageReference, _ refusal: DockerError, hadCredentials: Bool
    ) -> PlatformError {
        let reason = refusal.message.count > 500 ? refusal.message.prefix(500) + "…" : refusal.message[...]
        let text = reason.lowercased()
        var advice = ""
        if ["unauthorized", "denied", "authentication required", "no basic auth"].contains(where: text.contains) {
            advice =
                hadCredentials
                ? " The credentials for \(reference.registry) were refused: run docker login \(reference.registry) again."
                : " If the image is private, run docker login \(reference.registry)."
        } else if ["manifest unknown", "not found", "name unknown", "does not exist"].contains(where: text.contains) {
            advice = " Check its name and tag."
        }
        return PlatformError(
            .imageUnavailable, "The image \(reference) can't be pulled: \(reason).\(advice)", cause: refusal)
    }
}
