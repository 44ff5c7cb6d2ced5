import Core
import Foundation

/// Builds the bodies of `/containers/create`.
struct ContainerBody: Sendable {
    let configuration: DockerEngineConfiguration
    let isPodman: Bool
    let platform: EngineState.Platform
    let ownership: Ownership
    let names: ResourceNames

    /// Added to the score by which the kernel chooses what ends when memory is short: containers go before the
    /// platform.
    private static let outOfMemoryScore: Int64 = 500

    /// The owner of the pod's network namespace.
    ///
    /// Its process starts as root with the capabilities that the network needs (a second namespace for the cluster's
    /// names, and the rules of what the pod reaches), gives up all of them and becomes the platform's user before it
    /// serves a request.
    func podInit(_ plan: PodPlan, folder: PodFolder, allowed: [String], blocked: [String]) -> JSONValue {
        var labels = Labels.common(plan, installation: configuration.installationID)
        labels[Labels.role] = Labels.Role.podInit.rawValue
        labels[Labels.containers] = plan.containers.map(\.name).joined(separator: ",")
        var host = hardened(network: names.network)
        host["CapAdd"] = ["NET_ADMIN", "SYS_ADMIN", "NET_BIND_SERVICE", "SETUID", "SETGID", "SETPCAP"]
        host["ReadonlyRootfs"] = true
        let sockets = [configuration.gatewaySocket, configuration.operatorSocket].map(URL.init(fileURLWithPath:))
        host["Mounts"] = [
            mount(folder.initFolder, "/cortex/init"),
            mount(sockets[0].deletingLastPathComponent().path, "/cortex/gateway", readOnly: true),
            mount(sockets[1].deletingLastPathComponent().path, "/cortex/operator", readOnly: true),
        ]
        // A user's server may listen on port 80 though it has no capability.
        host["Sysctls"] = ["net.ipv4.ip_unprivileged_port_start": "0"]
        let command =
            [
                "pod", "--socket", "/cortex/init/init.sock", "--mode", "0600", "--user", platform.user, "--gateway",
                "/cortex/gateway/\(sockets[0].lastPathComponent)", "--operator",
                "/cortex/operator/\(sockets[1].lastPathComponent)",
            ] + allowed.flatMap { ["--allow", $0] } + blocked.flatMap { ["--block", $0] }
        return [
            "Image": .string(platform.podInitImage), "Cmd": .strings(command), "User": "0:0",
            "Hostname": .string(Self.hostName(plan.id)),
            "Labels": .strings(ownership.labels(labels, name: names.podInit(plan.id))), "HostConfig": host,
        ]
    }

    /// A container that empties a folder as root.
    func remover(_ folder: String, name: String) -> JSONValue {
        var host = hardened(network: "none")
        host["CapAdd"] = ["DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER"]
        host["Mounts"] = [mount(folder, "/cortex/folder")]
        let labels = [
            Labels.installation: configuration.installationID, Labels.role: Labels.Role.remover.rawValue,
        ]
        return [
            "Image": .string(platform.podInitImage), "Cmd": ["remove", "/cortex/folder"], "User": "0:0",
            "Labels": .strings(ownership.labels(labels, name: name)), "HostConfig": host,
        ]
    }

    /// A user's container, made from `image`. What the plan leaves out is the image's own.
    func member(
        _ container: ContainerPlan, of plan: PodPlan, image: String, folder: PodFolder, podInit id: String
    ) -> JSONValue {
        var labels = Labels.common(plan, installation: configuration.installationID)
        labels[Labels.role] = Labels.Role.member.rawValue
        labels[Labels.container] = container.name
        var host = hardened(network: "container:\(id)", filter: platform.filter)
        // The engine's own files would be writable, and without a limit.
        var mounts = [
            mount(folder.hosts, "/etc/hosts", readOnly: true), mount(folder.hostName, "/etc/hostname", readOnly: true),
        ]
        if resolver != nil { mounts.append(mount(folder.resolver, "/etc/resolv.conf", readOnly: true)) }
        if isPodman { mounts.append(mount(folder.empty, "/run/.containerenv", readOnly: true)) }
        mounts += [
            mount(folder.mnt, "/mnt"), mount(folder.client, "/cortex/client", readOnly: true),
            mount(folder.clientScratch, "/cortex/client/\(PodPlan.clientScratch)"),
        ]
        if !plan.files.isEmpty { mounts.append(mount(folder.spec, PodPlan.specDirectory, readOnly: true)) }
        if plan.hasArtifacts { mounts.append(mount(folder.artifacts, PodPlan.artifactsDirectory)) }
        // A volume that covers a mount of the platform replaces it.
        let covered = Set(container.volumes.map(\.target))
        mounts.removeAll { $0["Target"].map { covered.contains($0.text) } ?? false }
        host["Mounts"] = .array(mounts + container.volumes.map { mount($0.source, $0.target, readOnly: $0.readOnly) })
        if let memory = container.compute.mem {
            host["Memory"] = .integer(memory.whole)
            host["MemorySwap"] = .integer(memory.whole)
        }
        // Docker's unit: 1024 is one core. Two is the least the kernel takes.
        if let cpu = container.compute.cpu { host["CpuShares"] = .integer(max(2, cpu.milli * 1024 / 1000)) }
        if let shm = container.compute.shm { host["ShmSize"] = .integer(shm.whole) }
        var body: JSONValue = [
            "Image": .string(image),
            "Labels": .strings(ownership.labels(labels, name: names.member(plan.id, container.name))),
            "HostConfig": host,
            "Env": .strings(Self.environment(container.environment)),
        ]
        if let command = container.command, !command.isEmpty { body["Entrypoint"] = .strings(command) }
        if let args = container.args, !args.isEmpty { body["Cmd"] = .strings(args) }
        // Docker takes the name over with the namespace and refuses one here; Podman does neither.
        if isPodman { body["Hostname"] = .string(Self.hostName(plan.id)) }
        return body
    }

    /// `NAME=value`, each name once: the last one wins.
    static func environment(_ variables: [EnvironmentVariable]) -> [String] {
        var last: [String: Int] = [:]
        for (index, variable) in variables.enumerated() { last[variable.name] = index }
        return variables.enumerated().filter { last[$1.name] == $0 }.map { "\($1.name)=\($1.value)" }
    }

    /// The name a pod calls itself, within the limits of a host name.
    static func hostName(_ pod: String) -> String { String(pod.prefix(63)) }

    /// Text of `/etc/hosts` in each member. The addresses are those at which the pod's own `PodInit` serves the names.
    static func hosts(pod: String, network: String) -> String {
        let isLoopback = network == "loopback"
        return """
            127.0.0.1 localhost
            ::1 localhost ip6-localhost ip6-loopback
            127.0.1.1 \(hostName(pod))
            \(isLoopback ? "127.0.0.80" : "169.254.77.1") \(ClusterNames.gateway)
            \(isLoopback ? "127.0.0.81" : "169.254.77.2") \(ClusterNames.operatorIngress) \(ClusterNames.operatorService)

            """
    }

    /// Text of `/etc/resolv.conf` in each member; `nil` where only the engine knows it.
    var resolver: String? {
        if platform.isRootless { return nil }
        // Docker serves names inside each namespace.
        guard isPodman else { return "nameserver 127.0.0.11\noptions ndots:0\n" }
        return Self.resolver(
            of: [
                "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf",
            ].map {
                FileManager.default.contents(atPath: $0).map { String(decoding: $0.prefix(65_536), as: UTF8.self) }
            })
    }

    /// The first text that names a server outside this machine, without the servers that are the machine itself.
    static func resolver(of texts: [String?]) -> String? {
        for case let text? in texts {
            let lines = text.split(separator: "\n").map(String.init).filter { line in
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
                guard let first = words.first, !first.hasPrefix("#"), !first.hasPrefix(";") else { return false }
                return first != "nameserver"
                    || words.count > 1 && !words[1].hasPrefix("127.") && words[1] != "::1"
            }
            if lines.contains(where: { $0.hasPrefix("nameserver") }) { return lines.joined(separator: "\n") + "\n" }
        }
        return nil
    }

    /// The settings of every container. The platform restarts containers, not the engine.
    ///
    /// - Parameter filter: the system call filter; `nil`: the engine's own, which the platform's own processes need.
    private func hardened(network: String, filter: String? = nil) -> JSONValue {
        let security = securityOptions + (filter.map { ["seccomp=" + $0] } ?? [])
        var host: JSONValue = [
            "NetworkMode": .string(network), "CapDrop": ["ALL"], "SecurityOpt": .strings(security),
            "PidsLimit": .integer(configuration.pidsLimit), "RestartPolicy": ["Name": "no"],
            "OomScoreAdj": .integer(Self.outOfMemoryScore),
            "Ulimits": .array(
                configuration.ulimits.map {
                    ["Name": .string($0.name), "Soft": .integer($0.soft), "Hard": .integer($0.hard)]
                }),
            "LogConfig": [
                "Type": "json-file",
                "Config": ["max-size": .string("\(max(1, configuration.logBytes >> 10))k"), "max-file": "2"],
            ],
        ]
        // Docker takes the whole list, Podman what is added to its own.
        if !isPodman { host["MaskedPaths"] = .strings(Self.maskedByDocker + Self.maskedPaths) }
        return host
    }

    private var securityOptions: [String] {
        ["no-new-privileges"] + (isPodman ? ["mask=" + Self.maskedPaths.joined(separator: ":")] : [])
    }

    /// Files that describe the machine.
    private static let maskedPaths = ["/proc/slabinfo", "/proc/vmallocinfo", "/proc/interrupts", "/proc/cmdline"]
    private static let maskedByDocker = [
        "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
        "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ]

    private func mount(_ source: String, _ target: String, readOnly: Bool = false) -> JSONValue {
        [
            "Type": "bind", "Source": .string(source), "Target": .string(target), "ReadOnly": .bool(readOnly),
        ]
    }
}
