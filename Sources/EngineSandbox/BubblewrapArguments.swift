import Core

/// A container as arguments of bubblewrap: its own process, IPC, host name, mount and user namespaces, the pod's network, no capability.
struct BubblewrapArguments: Sendable {
    /// Size of `/dev/shm` where none is asked for: what container engines give.
    static let sharedMemory: Int64 = 64 << 20

    var host: HostSystem
    var folder: PodFolder
    /// Bubblewrap can forbid further user namespaces inside, which keeps most of the kernel out of reach.
    var forbidsUserNamespaces: Bool

    func arguments(_ container: ContainerPlan) -> [String] {
        isolation + system + own(container) + proc + volumes(container.volumes)
    }

    private var isolation: [String] {
        let user = String(SystemFiles.user)
        return [
            "--unshare-user", "--uid", user, "--gid", user, "--unshare-pid", "--unshare-ipc", "--unshare-uts",
            "--hostname", SystemFiles.hostname(folder.id), "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        ] + (forbidsUserNamespaces ? ["--disable-userns"] : [])
    }

    /// The host's system, for reading.
    private var system: [String] {
        var arguments: [String] = []
        for entry in host.entries {
            switch entry {
            case .folder(let path): arguments += ["--ro-bind-try", path, path]
            case .link(let path, let target): arguments += ["--symlink", target, path]
            }
        }
        for name in ["group", "hostname", "hosts", "nsswitch.conf", "passwd"] {
            arguments += ["--ro-bind", "\(folder.system)/\(name)", "/etc/\(name)"]
        }
        return arguments
    }

    private func own(_ container: ContainerPlan) -> [String] {
        let shared = container.compute.shm?.whole ?? Self.sharedMemory
        return [
            "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", String(shared), "--tmpfs", "/dev/shm",
            "--remount-ro", "/dev", "--bind", folder.temporary(container.name), "/tmp", "--bind",
            folder.home(container.name), SystemFiles.home, "--bind", folder.shared, "/mnt", "--perms", "0755", "--dir",
            "/cortex", "--ro-bind", folder.client, "/cortex/client", "--bind-try",
            "\(folder.client)/\(PodPlan.clientScratch)", "/cortex/client/\(PodPlan.clientScratch)",
        ]
    }

    /// Bubblewrap covers parts of `/proc` itself, but only those that it may write as it stands, which a folder of mode 0555 hides.
    private var proc: [String] {
        host.writableProc.flatMap { ["--ro-bind-try", $0, $0] }
            + host.secretProc.flatMap { ["--ro-bind-try", "/dev/null", $0] }
    }

    private func volumes(_ volumes: [ContainerSpecification.Volume]) -> [String] {
        volumes.flatMap { [$0.readOnly ? "--ro-bind" : "--bind", $0.source, $0.target] }
    }

    /// What a container's environment begins with, where an image would set it.
    static let environment = [
        EnvironmentVariable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        EnvironmentVariable("HOME", SystemFiles.home), EnvironmentVariable("USER", "cortex"),
        EnvironmentVariable("LOGNAME", "cortex"), EnvironmentVariable("LANG", "C.UTF-8"),
    ]

    /// `NAME=value`, each name once: programs take the first of two, the contract says the last wins.
    static func variables(_ container: ContainerPlan) -> [String] {
        var order: [String] = []
        var values: [String: String] = [:]
        for variable in environment + container.environment {
            if values.updateValue(variable.value, forKey: variable.name) == nil { order.append(variable.name) }
        }
        return order.map { "\($0)=\(values[$0, default: ""])" }
    }
}
