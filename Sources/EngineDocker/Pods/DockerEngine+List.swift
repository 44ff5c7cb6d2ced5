package import Core

extension DockerEngine {
    /// One of our containers as the listing shows it.
    struct Listed: Sendable {
        var id: String
        var role: Labels.Role
        var labels: [String: String]
        /// The engine's word, in lower case.
        var state: String

        /// `nil` for what carries no role of ours.
        init?(_ summary: DockerClient.ContainerSummary) {
            guard let labels = summary.labels, let role = labels[Labels.role].flatMap(Labels.Role.init(rawValue:))
            else { return nil }
            self.id = summary.id
            self.role = role
            self.labels = labels
            self.state = summary.state?.lowercased() ?? ""
        }

        /// Whether it has processes.
        var isLive: Bool { ["running", "paused", "restarting", "stopping"].contains(state) }
        /// Made, and never started. (`configured` and `initialized` are Podman's.)
        var isCreated: Bool { ["created", "configured", "initialized"].contains(state) }
    }

    func containers(of pod: String) async throws -> [Listed] {
        try await client.containers(labels: [names.filter, "\(Labels.pod)=\(pod)"]).compactMap(Listed.init)
    }

    package func list() async throws -> [ObservedPod] {
        try await mapping {
            let listed = try await client.containers(labels: [names.filter])
            await repairForwarders(listed)
            let pods = Dictionary(grouping: listed.compactMap(Listed.init)) { $0.labels[Labels.pod] ?? "" }
            return try await withThrowingTaskGroup(of: ObservedPod?.self) { group in
                for (id, containers) in pods where !id.isEmpty {
                    group.addTask { try await observe(id, containers) }
                }
                var observed: [ObservedPod] = []
                for try await pod in group { if let pod { observed.append(pod) } }
                return observed.sorted { $0.id < $1.id }
            }
        }
    }

    private func observe(_ id: String, _ containers: [Listed]) async throws -> ObservedPod? {
        guard let labels = containers.first?.labels else { return nil }
        let owner = containers.first { $0.role == .podInit }
        var observed: [String: ObservedContainer.State] = [:]
        for name in owner?.labels[Labels.containers]?.split(separator: ",") ?? [] { observed[String(name)] = .created }
        for member in containers where member.role == .member {
            guard let name = member.labels[Labels.container] else { continue }
            observed[name] = try await observe(member)
        }
        let order = owner?.labels[Labels.containers]?.split(separator: ",").map(String.init) ?? []
        let sorted = observed.sorted {
            (order.firstIndex(of: $0.key) ?? .max, $0.key) < (order.firstIndex(of: $1.key) ?? .max, $1.key)
        }
        return ObservedPod(
            id: id, api: labels[Labels.api] ?? "", apiID: labels[Labels.apiID] ?? "",
            podID: labels[Labels.podID] ?? "", deploymentID: labels[Labels.deploymentID] ?? "",
            createdAt: Timestamp(microseconds: labels[Labels.createdAt].flatMap { Int64($0) } ?? 0),
            isAlive: owner?.state == "running",
            containers: sorted.map { ObservedContainer(name: $0.key, state: $0.value) })
    }

    /// The list tells no exit code, so what has ended is looked at.
    private func observe(_ member: Listed) async throws -> ObservedContainer.State {
        if member.isLive { return .running }
        if member.isCreated { return .created }
        guard let details = try await client.container(member.id) else { return .exited(ContainerExit(code: 137)) }
        if details.isRunning { return .running }
        return .exited(exit(of: details))
    }

    /// Docker tells what ran out of memory; Podman never does. There, SIGKILL that we did not send, under a limit of memory, is taken for it.
    func exit(of details: DockerClient.ContainerDetails) -> ContainerExit {
        let code = details.state?.exitCode ?? 0
        // A child that was killed for memory while the main process went on is no reason for this exit.
        guard code == 137 else { return ContainerExit(code: code) }
        if details.state?.outOfMemory == true { return ContainerExit(code: code, outOfMemory: true) }
        let isLikely = version.isPodman && (details.host?.memory ?? 0) > 0 && !state.wasStopped(details.id)
        return ContainerExit(code: code, outOfMemory: isLikely)
    }
}
