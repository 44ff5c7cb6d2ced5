import Core

/// Builds the bodies of `/containers/create`.
struct ContainerBody: Sendable {
    let configuration: DockerEngineConfiguration
    let isPodman: Bool
    /// `uid:gid` under which our own process in a container reaches our folders.
    let user: String
    let podInitImage: String

    /// The owner of the pod's network namespace.
    func podInit(_ plan: PodPlan, folder: PodFolder, network: String) -> JSONValue {
        var labels = Labels.common(plan, installation: configuration.installationID)
        labels[Labels.role] = Labels.Role.podInit.rawValue
        labels[Labels.containers] = plan.containers.map(\.name).joined(separator: ",")
        var host = hardened(network: network)
        host["Mounts"] = [mount(folder.initFolder, "/run/cortex")]
        // A user's server may listen on port 80 though it has no capability.
        host["Sysctls"] = ["net.ipv4.ip_unprivileged_port_start": "0"]
        return [
            "Image": .string(podInitImage), "Cmd": ["pod", "--socket", "/run/cortex/init.sock", "--mode", "0600"],
            "User": .string(user), "Hostname": .string(Self.hostName(plan.id)), "Labels": .strings(labels),
            "HostConfig": host,
        ]
    }

    /// A user's container. What the plan leaves out is the image's own.
    func member(_ container: ContainerPlan, of plan: PodPlan, folder: PodFolder, podInit id: String) -> JSONValue {
        var labels = Labels.common(plan, installation: configuration.installationID)
        labels[Labels.role] = Labels.Role.member.rawValue
        labels[Labels.container] = container.name
        var host = hardened(network: "container:\(id)")
        host["Mounts"] = .array(
            [
                mount(folder.hosts, "/etc/hosts", readOnly: true), mount(folder.mnt, "/mnt"),
                mount(folder.client, "/cortex/client", readOnly: true),
                mount(folder.clientScratch, "/cortex/client/\(PodPlan.clientScratch)"),
            ] + container.volumes.map { mount($0.source, $0.target, readOnly: $0.readOnly) })
        if let memory = container.compute.mem {
            host["Memory"] = .number(memory.whole)
            host["MemorySwap"] = .number(memory.whole)
        }
        // Docker's unit: 1024 is one core. Two is the least the kernel takes.
        if let cpu = container.compute.cpu { host["CpuShares"] = .number(max(2, cpu.milli * 1024 / 1000)) }
        if let shm = container.compute.shm { host["ShmSize"] = .number(shm.whole) }
        var body: JSONValue = [
            "Image": .string(container.image ?? ""), "Labels": .strings(labels), "HostConfig": host,
            "Env": .strings(Self.environment(container.environment)),
        ]
        if let command = container.command, !command.isEmpty { body["Entrypoint"] = .strings(command) }
        if let args = container.args, !args.isEmpty { body["Cmd"] = .strings(args) }
        // Docker takes the name over with the namespace and refuses one here; Podman does neither.
        if isPodman { body["Hostname"] = .string(Self.hostName(plan.id)) }
        return body
    }

    /// A forwarder of the platform's names, at a fixed address.
    func forwarder(
        _ role: Labels.Role, ports: [Int], socketFolder: String, socketName: String, network: String, address: String,
        digest: String
    ) -> JSONValue {
        var host = hardened(network: network)
        host["Mounts"] = [mount(socketFolder, "/run/cortex")]
        host["Sysctls"] = ["net.ipv4.ip_unprivileged_port_start": "0"]
        let listeners = ports.flatMap { ["--listen", "0.0.0.0:\($0)=unix:/run/cortex/\(socketName)"] }
        return [
            "Image": .string(podInitImage), "Cmd": .strings(["forward"] + listeners), "User": .string(user),
            "Labels": [
                Labels.installation: .string(configuration.installationID), Labels.role: .string(role.rawValue),
                Labels.specification: .string(digest),
            ],
            "HostConfig": host,
            "NetworkingConfig": ["EndpointsConfig": [network: ["IPAMConfig": ["IPv4Address": .string(address)]]]],
        ]
    }

    /// `NAME=value`, each name once: the last one wins.
    static func environment(_ variables: [EnvironmentVariable]) -> [String] {
        var last: [String: Int] = [:]
        for (index, variable) in variables.enumerated() { last[variable.name] = index }
        return variables.enumerated().filter { last[$1.name] == $0 }.map { "\($1.name)=\($1.value)" }
    }

    /// The name a pod calls itself, within the limits of a host name.
    static func hostName(_ pod: String) -> String { String(pod.prefix(63)) }

    /// Text of `/etc/hosts` in each member.
    static func hosts(pod: String, gateway: String, operator operatorAddress: String) -> String {
        """
        127.0.0.1 localhost
        ::1 localhost ip6-localhost ip6-loopback
        127.0.1.1 \(hostName(pod))
        \(gateway) \(ClusterNames.gateway)
        \(operatorAddress) \(ClusterNames.operatorIngress) \(ClusterNames.operatorService)

        """
    }

    /// What no container of ours goes without. Restarting is the platform's business, not the engine's.
    private func hardened(network: String) -> JSONValue {
        [
            "NetworkMode": .string(network), "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": .number(configuration.pidsLimit), "RestartPolicy": ["Name": "no"],
            "Ulimits": .array(
                configuration.ulimits.map {
                    ["Name": .string($0.name), "Soft": .number($0.soft), "Hard": .number($0.hard)]
                }),
            "LogConfig": [
                "Type": "json-file",
                "Config": ["max-size": .string("\(max(1, configuration.logBytes >> 10))k"), "max-file": "2"],
            ],
        ]
    }

    private func mount(_ source: String, _ target: String, readOnly: Bool = false) -> JSONValue {
        [
            "Type": "bind", "Source": .string(source), "Target": .string(target), "ReadOnly": .bool(readOnly),
        ]
    }
}
