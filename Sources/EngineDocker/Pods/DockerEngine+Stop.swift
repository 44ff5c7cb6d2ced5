import Core
import PodInitClient

extension DockerEngine {
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
