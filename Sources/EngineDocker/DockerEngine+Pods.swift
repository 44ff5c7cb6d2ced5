package import Core
import Foundation
import Logging
import PodInitClient
import PodInitProtocol
import Support

extension DockerEngine {
    /// The longest time that a start may take.
    private static let startLimit: Duration = .seconds(300)
    /// How long a start that failed waits for its pod's removal, which continues afterwards.
    private static let cleanUpLimit: Duration = .seconds(20)

    package func start(_ plan: PodPlan) async throws {
        try await mapping {
            _ = try folder(plan.id)
            let platform = try await platform()
            state.beginStart(plan.id)
            do {
                try await removeEarlierStart(plan)
            } catch {
                state.endStart(plan.id)
                throw error
            }
            let work = Task { try await launch(plan, platform) }
            do {
                try await withTaskCancellationHandler {
                    try await withTimeLimit(Self.startLimit, clock: clock) { try await work.value }
                } onCancel: {
                    work.cancel()
                }
                state.endStart(plan.id)
            } catch {
                work.cancel()
                if let failure = await cleanUp(plan.id, after: work), let first = error as? PlatformError {
                    throw PlatformError(first.code, first.message, cause: failure)
                }
                throw error
            }
        }
    }

    /// Removes what an earlier start of the same pod left. It runs before the steps that a failure undoes, because that
    /// would remove a pod that runs.
    private func removeEarlierStart(_ plan: PodPlan) async throws {
        let left = try await containers(of: plan.id)
        if left.isEmpty { return }
        guard !left.allSatisfy(\.isLive) || left.count <= plan.containers.count else {
            throw PlatformError(.conflict, "Pod \(plan.id) exists already.")
        }
        logger.info("removing what an earlier start of this pod left", metadata: ["replica": "\(plan.id)"])
        try await remove(pod: plan.id)
    }

    /// Removes what a failed start left, also when this task was cancelled: in a task of its own, since nothing may
    /// stay.
    ///
    /// - Returns: why the removal failed; the next start of this id, or its stop, removes the rest.
    private func cleanUp(_ pod: String, after work: Task<Void, any Error>) async -> (any Error)? {
        let removal = Task { () -> (any Error)? in
            defer { state.endStart(pod) }
            _ = await work.result
            // Objects that the engine is still making can only be found once they exist.
            await client.settle()
            do {
                try await remove(pod: pod)
                return nil
            } catch {
                logger.error(
                    "a pod that did not start can't be removed; it is tried again",
                    metadata: ["replica": "\(pod)", "error": "\(error)"])
                return error
            }
        }
        let limit = Task { try await withTimeLimit(Self.cleanUpLimit, clock: clock) { await removal.value } }
        // Do not wait for an engine that takes longer.
        switch await limit.result {
        case .success(let failure): return failure
        case .failure(let error): return error
        }
    }

    package func restart(container name: String, of pod: PodPlan) async throws {
        try await mapping {
            guard let plan = pod.containers.first(where: { $0.name == name }) else {
                throw PlatformError(.notFound, "The pod has no container \(name).")
            }
            let platform = try await platform()
            let containers = try await containers(of: pod.id)
            guard let owner = containers.first(where: { $0.role == .podInit }), owner.state == "running" else {
                throw PlatformError(.containerFailed, "The pod is gone, so its container \(name) can't be started.")
            }
            let member = containers.first { $0.role == .member && $0.labels[Labels.container] == name }
            if let member, member.isLive { return }
            try await checkSources(plan)
            let id: String
            if let member {
                id = member.id
            } else {
                id = try await create(plan, of: pod, podInit: owner.id, platform)
            }
            try await startMember(id, plan, pod: pod.id)
        }
    }

    /// Folders, the owner of the namespace, then all members at once. They are made while the owner starts, and started
    /// when it runs.
    private func launch(_ plan: PodPlan, _ platform: EngineState.Platform) async throws {
        for container in plan.containers { try await checkSources(container) }
        let folder = try folder(plan.id)
        let blocks = try await networkBlocks(platform)
        await discard(folder)
        let resolver = try await PodFolder.offPool { [body = body(platform)] in body.resolver }
        try await folder.make(
            PodFolder.Files(
                client: plan.clientFiles, spec: plan.files, hasArtifacts: plan.hasArtifacts,
                hosts: ContainerBody.hosts(pod: plan.id, network: "veth"),
                hostName: ContainerBody.hostName(plan.id), resolver: resolver,
                containers: plan.containers.map(\.name)))
        let owner = try await ofPodInit(plan) {
            let body = body(platform).podInit(
                plan, folder: folder, allowed: blocks.allowed, blocked: blocks.blocked)
            let name = names.podInit(plan.id)
            return try await client.createContainer(name, body: body) {
                ownership.holds($0.settings?.labels ?? [:], name: name)
            }
        }
        let members = try await withThrowingTaskGroup(of: (ContainerPlan, String)?.self) { group in
            group.addTask {
                try await ofPodInit(plan) { try await client.startContainer(owner) }
                return nil
            }
            for container in plan.containers {
                group.addTask { (container, try await create(container, of: plan, podInit: owner, platform)) }
            }
            var members: [(ContainerPlan, String)] = []
            for try await member in group { if let member { members.append(member) } }
            return members
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                let network = try await awaitPodInit(owner, folder)
                guard network == "loopback" else { return }
                // In place: the file is mounted already.
                let hosts = ContainerBody.hosts(pod: plan.id, network: network)
                try await PodFolder.offPool { try Data(hosts.utf8).write(to: URL(fileURLWithPath: folder.hosts)) }
            }
            for (container, id) in members { group.addTask { try await startMember(id, container, pod: plan.id) } }
            try await group.waitForAll()
        }
    }

    /// A step of making the owner of the namespace; what the engine refuses there is about the network or our own
    /// image.
    private func ofPodInit<Value>(_ plan: PodPlan, _ step: () async throws -> Value) async throws -> Value {
        do {
            return try await step()
        } catch let refusal as DockerError {
            // The network or the image may have been removed by another program: the next start checks again.
            state.platform = nil
            throw PlatformError(
                .containerFailed, "The pod's network can't be made: \(readable(refusal, pod: plan.id))", cause: refusal)
        }
    }

    /// Waits until `PodInit` serves its socket, so that a pod that was started can be connected to.
    private func awaitPodInit(_ owner: String, _ folder: PodFolder) async throws -> String {
        let podInit = PodInitClient(socketPath: folder.initSocket)
        for attempt in 1... {
            do {
                try await podInit.ping()
                return try await podInit.status().network
            } catch let error as PlatformError where error.code == .connectionFailed && attempt < 1000 {
                if attempt % 50 == 0, try await client.container(owner)?.isRunning != true {
                    throw PlatformError(
                        .containerFailed, "The pod's own process ended at once: \(await lastWords(of: owner))",
                        cause: error)
                }
                try await clock.sleep(for: .milliseconds(10))
            }
        }
        throw CancellationError()
    }

    /// The last line that the pod's own process wrote: why it could not go on.
    private func lastWords(of owner: String) async -> String {
        let text = try? await withTimeLimit(.seconds(5), clock: clock) { () -> String in
            var frames = LogFrames()
            var bytes: [UInt8] = []
            for try await chunk in try await client.logs(owner, follow: false, tail: 1, since: nil) {
                for piece in frames.append(chunk) { bytes = (bytes + piece.bytes).suffix(500) }
            }
            return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        }
        return text.flatMap { $0.isEmpty ? nil : $0 } ?? "it gave no reason"
    }

    private func create(
        _ container: ContainerPlan, of plan: PodPlan, podInit: String, _ platform: EngineState.Platform
    ) async throws -> String {
        let body = body(platform).member(
            container, of: plan, image: state.image(container.image ?? ""), folder: try folder(plan.id),
            podInit: podInit)
        let name = names.member(plan.id, container.name)
        do {
            return try await client.createContainer(name, body: body) {
                ownership.holds($0.settings?.labels ?? [:], name: name)
            }
        } catch let refusal as DockerError where refusal.status == 404 {
            throw PlatformError(
                .imageUnavailable,
                "The image \(container.image ?? "") of container \(container.name) is not on this machine.",
                cause: refusal)
        } catch let refusal as DockerError {
            throw PlatformError(
                .containerFailed, "Container \(container.name) can't be made: \(readable(refusal, pod: plan.id))",
                cause: refusal)
        }
    }

    private func startMember(_ id: String, _ container: ContainerPlan, pod: String) async throws {
        state.noteStarted(id)
        do {
            try await client.startContainer(id)
        } catch let refusal as DockerError {
            throw PlatformError(
                .containerFailed, "Container \(container.name) can't be started: \(readable(refusal, pod: pod))",
                cause: refusal)
        }
    }

    /// Refuses a volume whose source is missing, which an engine would make as an empty folder of root, or is reached
    /// through a link, which may lead elsewhere than at deploy: then it is not what was allowed.
    private func checkSources(_ container: ContainerPlan) async throws {
        for volume in container.volumes {
            let fault = try await BlockingPool.checks.run { Self.fault(ofSource: volume.source) }
            guard let fault else { continue }
            throw PlatformError(
                .containerFailed,
                "Container \(container.name): the source \(volume.source) of the volume at \(volume.target) \(fault).")
        }
    }

    static func fault(ofSource source: String) -> String? {
        guard let resolved = realpath(source, nil) else {
            return errno == ENOENT ? "does not exist" : "cannot be used: \(String(cString: strerror(errno)))"
        }
        defer { free(resolved) }
        let plain = "/" + source.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
        guard String(cString: resolved) == plain else {
            return "is or lies behind a symbolic link; name the real folder, or deploy again"
        }
        return nil
    }

    /// The engine's words without our folders in them, and with advice where it is known.
    private func readable(_ refusal: DockerError, pod: String? = nil) -> String {
        var text = refusal.message
        for path in [pod.flatMap { try? folder($0).path }, configuration.dataDirectory] {
            if let path { text = text.replacing(path, with: "…") }
        }
        if text.count > 500 { text = text.prefix(500) + "…" }
        if text.contains("rlimit") { text += " (Set smaller ulimits: the engine may not raise its own.)" }
        return text
    }
}

extension DockerEngine {
    package func artifactsFolder(pod: String) async throws -> String? {
        let path = try folder(pod).artifacts
        return try await PodFolder.exists(path) ? path : nil
    }

    package func stop(container: String, of pod: String, grace: Duration) async throws {
        try await mapping {
            let member = try await containers(of: pod).first { $0.labels[Labels.container] == container }
            guard let member else { return }
            state.noteStopped(member.id)
            try await client.stopContainer(member.id, grace: grace)
        }
    }

    package func stop(pod: String, grace: Duration) async throws {
        try await mapping {
            let members = try await containers(of: pod).filter { $0.role == .member && $0.isLive }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for member in members {
                    state.noteStopped(member.id)
                    group.addTask { try await client.stopContainer(member.id, grace: grace) }
                }
                try await group.waitForAll()
            }
            try await remove(pod: pod)
        }
    }

    /// Removes what is left of a pod at once: members, then the owner of their namespace (Podman refuses the other
    /// order), then the folder.
    func remove(pod: String) async throws {
        try await endCommands(pod)
        let all = try await containers(of: pod)
        for isMember in [true, false] {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for container in all where (container.role == .member) == isMember {
                    group.addTask { try await client.removeContainer(container.id) }
                }
                try await group.waitForAll()
            }
        }
        for container in all { state.noteStarted(container.id) }
        sockets.forget(pod)
        await discard(try folder(pod))
    }

    /// Podman leaves a process behind for each command that runs while its container is removed.
    private func endCommands(_ pod: String) async throws {
        state.cancelCommands(pod: pod)
        for _ in 0..<100 where state.hasCommands(pod: pod) { try await clock.sleep(for: .milliseconds(10)) }
    }
}

extension DockerEngine {
    package func problems(with specification: APISpecification) async -> [String] {
        var problems: [String] = []
        let information = try? await client.information()
        var milli: Int64 = 0
        var memory: Int64 = 0
        for (index, container) in specification.pod.containers.enumerated() {
            let field = "pod.containers[\(index)]"
            problems += imageProblems(container, field)
            for (number, volume) in container.volumes.enumerated()
            where (try? await PodFolder.exists(volume.source)) != true {
                problems.append("\(field).volumes[\(number)]: \(volume.source) does not exist on this machine")
            }
            if container.compute.gpu > 0 {
                let has = information?.runtimes.contains("nvidia") ?? false
                problems.append(
                    "\(field).compute.gpu: "
                        + (has ? "GPUs are not handed out to containers yet" : "this \(name) has no GPU runtime"))
            }
            if container.compute.disk != nil {
                problems.append(
                    "\(field).compute.disk: the \(name) engine cannot limit it; leave it out, or use the sandbox engine"
                )
            }
            // The least that Docker takes; less would not hold a process either.
            if let mem = container.compute.mem, mem.whole < 6 << 20 {
                problems.append("\(field).compute.mem: \(mem) is too little, at least 6Mi are needed")
            }
            milli += container.compute.cpu?.milli ?? 0
            memory += container.compute.mem?.whole ?? 0
        }
        if let information {
            if information.cores > 0, milli > Int64(information.cores) * 1000 {
                problems.append(
                    "pod.containers: together they need \(milli)m of cpu, this machine has \(information.cores * 1000)m"
                )
            }
            if information.memory > 0, memory > information.memory {
                problems.append(
                    "pod.containers: together they need \(memory >> 20)Mi of mem, this machine has \(information.memory >> 20)Mi"
                )
            }
        }
        return problems
    }

    private func imageProblems(_ container: ContainerSpecification, _ field: String) -> [String] {
        guard let image = container.image, !image.isEmpty else {
            return ["\(field).image: is required by the \(name) engine"]
        }
        guard ImageReference(image) != nil else {
            return ["\(field).image: \"\(image)\" is no image reference (registry/name:tag, in lower case)"]
        }
        return []
    }
}
