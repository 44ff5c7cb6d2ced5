import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Support

/// The properties of this machine, found by making a first pod on it.
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
        let folder = PodFolder.probe(in: configuration.directory)
        var machine = Machine(host: host, groups: groups, network: "veth", forbidsUserNamespaces: true)
        machine.hasPodUsers = geteuid() == 0 && PodUsers.areAvailable()
        let supervisor = Supervisor(configuration: configuration)
        let failure: (any Error)?
        do {
            machine = try await machine.probed(folder, supervisor, sockets)
            failure = nil
        } catch {
            failure = error
        }
        // In another task: a stop during the start cancels this one, and the pod must not remain (contract U4).
        let removal = await Task { try await supervisor.remove(folder) }.result
        guard let failure else {
            try removal.get()
            return machine
        }
        // What could not be removed is removed by the next start.
        if let error = failure as? PlatformError {
            throw PlatformError(.engineUnavailable, error.message, cause: error)
        }
        throw failure
    }

    /// Finds out how sockets in pods' networks are made, while no container runs that could have a part in it (contract
    /// N4).
    ///
    /// A failure is retried and then ends the start, because connections through `PodInit` would be less safe.
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
            id: folder.id, owner: .api(.init(name: "", apiID: "", podID: "", deploymentID: "")),
            createdAt: Timestamp(microseconds: 0),
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
            try await client.start(blocking { [machine] in machine.request(container, folder, record) })
        } catch let error as PlatformError where error.code == .containerFailed {
            // An older bubblewrap does not know `--disable-userns`, and some kernels refuse it.
            machine.forbidsUserNamespaces = false
            try await client.start(blocking { [machine] in machine.request(container, folder, record) })
        }
        try await client.shutdown(grace: .zero)
        return machine
    }

    /// A container as `PodInit` starts it. Blocking.
    func request(_ container: ContainerPlan, _ folder: PodFolder, _ record: PodFolder.Record) -> StartRequest {
        let group = record.groups[container.name]
        var request = StartRequest(name: container.name)
        var bubblewrap = BubblewrapArguments(
            host: host, folder: folder, forbidsUserNamespaces: forbidsUserNamespaces, stages: record.stages ?? false)
        // A record that was read does not say it: at each start of a container the folder does.
        bubblewrap.hasFiles = access(folder.spec, F_OK) == 0
        bubblewrap.hasArtifacts = access(folder.artifacts, F_OK) == 0
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
        let map = KernelFile.read("/proc/self/uid_map") ?? Data()
        let words = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        let status = KernelFile.read("/proc/self/status") ?? Data()
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let capabilities = line?.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
        let systemAdministration: UInt64 = 1 << 21
        return words == ["0", "0", "4294967295"] && capabilities & systemAdministration != 0
    }

    static func random() -> UInt32 { .random(in: PodInitLimits.podUsers) }

    /// A user id that none of these pods has.
    static func random(besides records: [PodFolder.Record]) -> UInt32 {
        let taken = Set(records.compactMap(\.user))
        var user = random()
        while taken.contains(user), taken.count < PodInitLimits.podUsers.count { user = random() }
        return user
    }
}

/// How the host's system is laid out: which of its folders exist and which are links.
struct HostSystem: Sendable, Hashable {
    enum Entry: Sendable, Hashable {
        case folder(String)
        case link(String, target: String)
    }

    /// In the order in which they are mounted into a sandbox.
    var entries: [Entry]
    /// Files and folders of `/proc` that are about the machine rather than a process, and may be written by their
    /// owner. Root's processes own them also where they have no capability: left open, one line into `core_pattern`
    /// would lead out of the sandbox.
    var writableProc: [String]
    /// Files and folders of `/proc` that describe the machine or the kernel: what Docker masks, and a few more.
    var secretProc: [String]
    var secretProcFolders: [String] = []

    /// What programs need of the system: themselves, their libraries, and how those are found.
    static let folders = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"]
    /// Of `/etc`, what every user of the machine may read and programs need. Of the folders for certificates only the
    /// public parts (Debian, Fedora and Alpine, NixOS): private keys lie beside them.
    static let configuration = [
        "alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "fonts", "ld.so.cache",
        "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "mime.types", "os-release", "pki/ca-trust",
        "pki/tls/cert.pem", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols", "python3", "python3.11", "services",
        "ssl/cert.pem", "ssl/certs", "ssl/openssl.cnf", "static/ssl/certs", "timezone",
    ].map { "/etc/" + $0 }

    /// Reads it from this machine. Blocking.
    static func present() -> HostSystem {
        let manager = FileManager.default
        var entries: [Entry] = []
        for path in folders + configuration {
            if let target = try? manager.destinationOfSymbolicLink(atPath: path) {
                entries.append(.link(path, target: target))
            } else if manager.fileExists(atPath: path) {
                entries.append(.folder(path))
            }
        }
        let files = secrets.filter(manager.fileExists(atPath:))
        let folders = secretFolders.filter(manager.fileExists(atPath:))
        return HostSystem(
            entries: entries, writableProc: writable().filter { !files.contains($0) && !folders.contains($0) },
            secretProc: files, secretProcFolders: folders)
    }

    private static let secrets = [
        "cmdline", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kmsg", "latency_stats", "sched_debug",
        "slabinfo", "timer_list", "timer_stats", "vmallocinfo",
    ].map { "/proc/" + $0 }
    private static let secretFolders = ["acpi", "asound", "scsi"].map { "/proc/" + $0 }

    private static func writable() -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.sorted().map { "/proc/" + $0 }.filter { path in
            var found = stat()
            guard Int(path.dropFirst(6)) == nil, lstat(path, &found) == 0 else { return false }
            let kind = found.st_mode & S_IFMT
            return kind == S_IFDIR || kind == S_IFREG && found.st_mode & 0o222 != 0
        }
    }
}
