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
    /// Pods run under user ids of their own rather than as the platform's user.
    var hasPodUsers = false

    /// Makes a pod that runs `true`, and removes it.
    ///
    /// - Throws: `engine_unavailable` with what to do when no sandbox can be made here.
    static func inspect(_ configuration: SandboxConfiguration, sockets: PodSockets) async throws -> Machine {
        let (host, groups) = try await blocking { (HostSystem.present(), ControlGroups.present()) }
        let pod = ".probe-\(UInt64.random(in: .min ... .max))"
        let folder = PodFolder(directory: configuration.directory, pod: pod)
        var machine = Machine(host: host, groups: groups, network: "veth", forbidsUserNamespaces: true)
        machine.hasPodUsers = geteuid() == 0 && PodUsers.areAvailable()
        let supervisor = Supervisor(configuration: configuration)
        do {
            machine = try await machine.probed(folder, supervisor, sockets)
        } catch {
            try await supervisor.remove(folder)
            if let error = error as? PlatformError {
                throw PlatformError(.engineUnavailable, error.message, cause: error)
            }
            throw error
        }
        try await supervisor.remove(folder)
        return machine
    }

    /// Finds out how sockets in pods' networks are made, while no container runs that could have a part in it (contract
    /// N4).
    ///
    /// A failure is tried again, and ends the start: to ask `PodInit` for connections instead would be less safe.
    private static func findWay(_ sockets: PodSockets, _ folder: PodFolder, _ supervisor: Supervisor) async throws {
        for attempt in 1... {
            do {
                _ = try await sockets.findWay(in: try await blocking { try supervisor.network(folder) })
                return
            } catch let error as PlatformError where attempt < 3 && error.code == .connectionFailed {
                try await supervisor.clock.sleep(for: .milliseconds(200))
            }
        }
    }

    private func probed(
        _ folder: PodFolder, _ supervisor: Supervisor, _ sockets: PodSockets
    ) async throws -> Machine {
        var machine = self
        let container = ContainerPlan(name: "probe", command: ["true"])
        let plan = PodPlan(
            id: folder.id, api: "", apiID: "", podID: "", deploymentID: "", createdAt: Timestamp(microseconds: 0),
            containers: [container], clientConfiguration: "")
        let user = hasPodUsers ? PodUsers.random() : nil
        let record = PodFolder.Record(plan: plan, groups: [:], user: user, stages: true)
        try await blocking {
            try folder.create(record)
            try folder.renew(container.name, user: user)
        }
        try await supervisor.start(folder, user: user)
        try await Self.findWay(sockets, folder, supervisor)
        let client = PodInitClient(socketPath: folder.socket)
        machine.network = try await client.status().network
        let network = machine.network
        try await blocking { try SystemFiles.write(folder, network: network) }
        do {
            try await client.start(machine.request(container, folder, record))
        } catch let error as PlatformError where error.code == .containerFailed {
            // An older bubblewrap does not know `--disable-userns`, and some kernels refuse it.
            machine.forbidsUserNamespaces = false
            try await client.start(machine.request(container, folder, record))
        }
        try await client.shutdown(grace: .zero)
        return machine
    }

    /// A container as `PodInit` starts it.
    func request(_ container: ContainerPlan, _ folder: PodFolder, _ record: PodFolder.Record) -> StartRequest {
        let group = record.groups[container.name]
        var request = StartRequest(name: container.name)
        var bubblewrap = BubblewrapArguments(
            host: host, folder: folder, forbidsUserNamespaces: forbidsUserNamespaces, stages: record.stages ?? false)
        request.bubblewrap = bubblewrap.arguments(container)
        request.mounts = bubblewrap.mounts
        request.command = (container.command ?? []) + (container.args ?? [])
        request.environment = BubblewrapArguments.variables(container)
        request.workingDirectory = "/mnt"
        request.cgroups = group?.members ?? []
        request.oomFile = group?.oomFile ?? ""
        return request
    }
}

/// User ids on the host that belong to one pod each and own nothing else. Only a platform that runs as root can use
/// them.
package enum PodUsers {
    /// Which user pods of this process would run as, in words for `cortex doctor`. Blocking.
    package static func summary() -> String {
        guard geteuid() == 0 else { return "they run as this user" }
        return areAvailable()
            ? "each runs under a user id of its own (from \(PodInitLimits.podUsers.lowerBound)), files in volumes belong to \(PodInitLimits.volumeUser)"
            : "they run as root of this container, because it cannot use other user ids"
    }

    /// Whether this root is the machine's: inside a container it may be neither able to take other ids nor own anything
    /// outside. Blocking.
    static func areAvailable() -> Bool {
        let map = FileManager.default.contents(atPath: "/proc/self/uid_map") ?? Data()
        let words = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        let status = FileManager.default.contents(atPath: "/proc/self/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let capabilities = line?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
        let systemAdministration: UInt64 = 1 << 21
        return words == ["0", "0", "4294967295"] && capabilities & systemAdministration != 0
    }

    static func random() -> UInt32 { .random(in: PodInitLimits.podUsers) }

    /// One that none of these pods has.
    static func random(besides records: [PodFolder.Record]) -> UInt32 {
        let taken = Set(records.compactMap(\.user))
        var user = random()
        while taken.contains(user), taken.count < PodInitLimits.podUsers.count { user = random() }
        return user
    }
}
