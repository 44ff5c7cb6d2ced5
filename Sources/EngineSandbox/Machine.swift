import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Support

/// What was found out about this machine, by making a first pod on it.
struct Machine: Sendable, Hashable {
    var host: HostSystem
    var groups: ControlGroups
    /// `veth` or `loopback` (StatusReport).
    var network: String
    var forbidsUserNamespaces: Bool

    /// Makes a pod that runs `true`, and removes it.
    ///
    /// - Throws: `engine_unavailable` with what to do when no sandbox can be made here.
    static func inspect(_ configuration: SandboxConfiguration) async throws -> Machine {
        let (host, groups) = try await blocking { (HostSystem.present(), ControlGroups.present()) }
        let pod = ".probe-\(UInt64.random(in: .min ... .max))"
        let folder = PodFolder(directory: configuration.directory, pod: pod)
        var machine = Machine(host: host, groups: groups, network: "veth", forbidsUserNamespaces: true)
        let supervisor = Supervisor(configuration: configuration)
        do {
            machine = try await machine.probed(folder, supervisor)
        } catch {
            try await blocking { try supervisor.remove(folder) }
            if let error = error as? PlatformError {
                throw PlatformError(.engineUnavailable, error.message, cause: error)
            }
            throw error
        }
        try await blocking { try supervisor.remove(folder) }
        return machine
    }

    private func probed(_ folder: PodFolder, _ supervisor: Supervisor) async throws -> Machine {
        var machine = self
        let container = ContainerPlan(name: "probe", command: ["true"])
        let plan = PodPlan(
            id: folder.id, api: "", apiID: "", podID: "", deploymentID: "", createdAt: Timestamp(microseconds: 0),
            containers: [container], clientConfiguration: "")
        try await blocking {
            try folder.create(PodFolder.Record(plan: plan, groups: [:]))
            try folder.renew(container.name)
        }
        try await supervisor.start(folder)
        let client = PodInitClient(socketPath: folder.socket)
        machine.network = try await client.status().network
        let network = machine.network
        try await blocking { try SystemFiles.write(folder, network: network) }
        do {
            try await client.start(machine.request(container, folder, group: nil))
        } catch let error as PlatformError where error.code == .containerFailed {
            // An older bubblewrap does not know `--disable-userns`, and some kernels refuse it.
            machine.forbidsUserNamespaces = false
            try await client.start(machine.request(container, folder, group: nil))
        }
        try await client.shutdown(grace: .zero)
        return machine
    }

    /// A container as `PodInit` starts it.
    func request(_ container: ContainerPlan, _ folder: PodFolder, group: ControlGroup?) -> StartRequest {
        var request = StartRequest(name: container.name)
        let bubblewrap = BubblewrapArguments(
            host: host, folder: folder, forbidsUserNamespaces: forbidsUserNamespaces)
        request.bubblewrap = bubblewrap.arguments(container)
        request.command = (container.command ?? []) + (container.args ?? [])
        request.environment = BubblewrapArguments.variables(container)
        request.workingDirectory = "/mnt"
        request.cgroups = group?.members ?? []
        request.oomFile = group?.oomFile ?? ""
        return request
    }
}
