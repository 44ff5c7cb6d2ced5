package import Core
import Foundation
import Logging
import PodInitClient

extension DockerEngine {
    package func start(_ plan: PodPlan) async throws {
        try await mapping {
            let platform = try await platform()
            state.beginStart(plan.id)
            defer { state.endStart(plan.id) }
            // Before anything that would be undone on failure: what would be undone is the pod that runs.
            let left = try await containers(of: plan.id)
            guard left.isEmpty || !left.allSatisfy(\.isLive) || left.count <= plan.containers.count else {
                throw PlatformError(.conflict, "Pod \(plan.id) exists already.")
            }
            if !left.isEmpty {
                logger.info("removing what an earlier start of this pod left", metadata: ["replica": "\(plan.id)"])
                try await remove(pod: plan.id)
            }
            do {
                try await launch(plan, platform)
            } catch {
                // Also when this task was cancelled: what was begun must not stay, so the clean-up runs in a task of its own.
                let cleanUp = await Task { try await remove(pod: plan.id) }.result
                if case .failure(let failure) = cleanUp {
                    // The next start of this id, or its stop, removes the rest.
                    logger.error(
                        "a pod that did not start can't be removed; it is tried again",
                        metadata: ["replica": "\(plan.id)", "error": "\(failure)"])
                    if let first = error as? PlatformError {
                        throw PlatformError(first.code, first.message, cause: failure)
                    }
                }
                throw error
            }
        }
    }

    package func restart(container name: String, of pod: PodPlan) async throws {
        try await mapping {
            guard let plan = pod.containers.first(where: { $0.name == name }) else {
                throw PlatformError(.notFound, "The pod has no container \(name).")
            }
            let platform = try await platform()
            guard let owner = try await client.container(names.podInit(pod.id)), owner.isRunning else {
                throw PlatformError(.containerFailed, "The pod is gone, so its container \(name) can't be started.")
            }
            let member = try await client.container(names.member(pod.id, name))
            if let member, member.isRunning { return }
            let id: String
            if let member {
                id = member.id
            } else {
                id = try await create(plan, of: pod, podInit: owner.id, platform)
            }
            try await startMember(id, plan, pod: pod.id)
        }
    }

    /// Folders, the owner of the namespace, then all members at once. They are made while the owner starts, and started when it runs.
    private func launch(_ plan: PodPlan, _ platform: EngineState.Platform) async throws {
        for container in plan.containers { try await checkSources(container) }
        let folder = folder(plan.id)
        try await folder.make(
            clientFiles: plan.clientFiles,
            hosts: ContainerBody.hosts(
                pod: plan.id, gateway: platform.gatewayAddress, operator: platform.operatorAddress))
        let owner = try await ofPodInit(plan) {
            let body = body(platform).podInit(plan, folder: folder, network: names.network)
            return try await client.createContainer(names.podInit(plan.id), body: body) {
                $0.settings?.labels?[Labels.pod] == plan.id
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
            group.addTask { try await awaitPodInit(owner, folder) }
            for (container, id) in members { group.addTask { try await startMember(id, container, pod: plan.id) } }
            try await group.waitForAll()
        }
    }

    /// A step of making the owner of the namespace; what the engine refuses there is about the network or our own image.
    private func ofPodInit<Value>(_ plan: PodPlan, _ step: () async throws -> Value) async throws -> Value {
        do {
            return try await step()
        } catch let refusal as DockerError {
            // The network or the image may have been removed behind our back: the next start looks again.
            state.platform = nil
            throw PlatformError(
                .containerFailed, "The pod's network can't be made: \(readable(refusal, pod: plan.id))", cause: refusal)
        }
    }

    /// Waits until `PodInit` serves its socket, so that a pod that was started can be connected to.
    private func awaitPodInit(_ owner: String, _ folder: PodFolder) async throws {
        let podInit = PodInitClient(socketPath: folder.initSocket)
        for attempt in 1... {
            do {
                return try await podInit.ping()
            } catch let error as PlatformError where error.code == .connectionFailed && attempt < 1000 {
                if attempt % 50 == 0, try await client.container(owner)?.isRunning != true {
                    throw PlatformError(.containerFailed, "The pod's own process ended at once.", cause: error)
                }
                try await clock.sleep(for: .milliseconds(10))
            }
        }
    }

    private func create(
        _ container: ContainerPlan, of plan: PodPlan, podInit: String, _ platform: EngineState.Platform
    ) async throws -> String {
        let body = body(platform).member(container, of: plan, folder: folder(plan.id), podInit: podInit)
        do {
            return try await client.createContainer(names.member(plan.id, container.name), body: body) {
                $0.settings?.labels?[Labels.pod] == plan.id
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

    /// An engine would make a missing source as an empty folder, without a word.
    private func checkSources(_ container: ContainerPlan) async throws {
        for volume in container.volumes where try await !PodFolder.exists(volume.source) {
            throw PlatformError(
                .containerFailed,
                "Container \(container.name): the source \(volume.source) of the volume at \(volume.target) does not exist."
            )
        }
    }

    /// The engine's words without our folders in them, and with advice where it is known.
    func readable(_ refusal: DockerError, pod: String? = nil) -> String {
        var text = refusal.message
        for path in [pod.map { folder($0).path }, configuration.dataDirectory] {
            if let path { text = text.replacing(path, with: "…") }
        }
        if text.count > 500 { text = text.prefix(500) + "…" }
        if text.contains("rlimit") { text += " (Set smaller ulimits: the engine may not raise its own.)" }
        return text
    }
}
