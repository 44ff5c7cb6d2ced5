import Core
import PodInitProtocol

/// A container as arguments of bubblewrap: its own process, IPC, host name, mount and user namespaces, the pod's
/// network, no capability.
struct BubblewrapArguments: Sendable {
    /// The default size of `/dev/shm`, the same as that of container engines.
    private static let sharedMemory: Int64 = 64 << 20

    var host: HostSystem
    var folder: PodFolder
    /// Bubblewrap can forbid further user namespaces inside, which keeps most of the kernel out of reach.
    var forbidsUserNamespaces: Bool
    /// Whether the pod's supervisor stages mounts; one of an earlier version gets the paths of the host instead.
    var stages: Bool
    /// The host's files and folders that the arguments so far name by ``StartRequest/stage(_:)``.
    private(set) var mounts: [StartRequest.Mount] = []
    /// Whether the pod has files in ``PodPlan/specDirectory``, and a folder at ``PodPlan/artifactsDirectory``.
    var hasFiles = false
    var hasArtifacts = false

    init(host: HostSystem, folder: PodFolder, forbidsUserNamespaces: Bool, stages: Bool = true) {
        self.host = host
        self.folder = folder
        self.forbidsUserNamespaces = forbidsUserNamespaces
        self.stages = stages
    }

    /// The arguments for one container; ``mounts`` is complete afterwards.
    mutating func arguments(_ container: ContainerPlan) -> [String] {
        isolation + system() + own(container) + proc + volumes(container.volumes)
    }

    /// Where bubblewrap finds a file or folder of the host.
    private mutating func stage(_ path: String, isVolume: Bool = false) -> String {
        guard stages else { return path }
        mounts.append(StartRequest.Mount(path, isVolume: isVolume))
        return StartRequest.stage(mounts.count - 1)
    }

    private var isolation: [String] {
        let user = String(SystemFiles.user)
        return [
            "--unshare-user", "--uid", user, "--gid", user, "--unshare-pid", "--unshare-ipc", "--unshare-uts",
            "--hostname", SystemFiles.hostname(folder.id), "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        ] + (forbidsUserNamespaces ? ["--disable-userns"] : [])
    }

    /// The host's system, read-only.
    private mutating func system() -> [String] {
        var arguments: [String] = []
        for entry in host.entries {
            switch entry {
            case .folder(let path): arguments += ["--ro-bind-try", path, path]
            case .link(let path, let target): arguments += ["--symlink", target, path]
            }
        }
        for name in ["group", "hostname", "hosts", "nsswitch.conf", "passwd"] {
            arguments += ["--ro-bind", stage("\(folder.system)/\(name)"), "/etc/\(name)"]
        }
        return arguments
    }

    private mutating func own(_ container: ContainerPlan) -> [String] {
        let shared = container.compute.shm?.whole ?? Self.sharedMemory
        return [
            "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", String(shared), "--tmpfs", "/dev/shm",
            "--remount-ro", "/dev", "--bind", stage(folder.temporary(container.name)), "/tmp", "--bind",
            stage(folder.home(container.name)), SystemFiles.home, "--bind", stage(folder.shared), "/mnt", "--perms",
            "0755", "--dir", "/cortex", "--ro-bind", stage(folder.client), "/cortex/client", "--bind-try",
            stage("\(folder.client)/\(PodPlan.clientScratch)"), "/cortex/client/\(PodPlan.clientScratch)",
        ] + ofWorker()
    }

    /// What a worker of a job has besides.
    private mutating func ofWorker() -> [String] {
        var arguments: [String] = []
        if hasFiles { arguments += ["--ro-bind", stage(folder.spec), PodPlan.specDirectory] }
        if hasArtifacts { arguments += ["--bind", stage(folder.artifacts), PodPlan.artifactsDirectory] }
        return arguments
    }

    /// Bubblewrap covers parts of `/proc` itself, but only those that it may write as it stands, which a folder of mode
    /// 0555 hides.
    private var proc: [String] {
        host.writableProc.flatMap { ["--ro-bind-try", $0, $0] }
            + host.secretProc.flatMap { ["--ro-bind-try", "/dev/null", $0] }
            + host.secretProcFolders.flatMap { ["--tmpfs", $0, "--remount-ro", $0] }
    }

    private mutating func volumes(_ volumes: [ContainerSpecification.Volume]) -> [String] {
        var arguments: [String] = []
        for volume in volumes {
            arguments += [
                volume.readOnly ? "--ro-bind" : "--bind", stage(volume.source, isVolume: true), volume.target,
            ]
        }
        return arguments
    }

    /// The variables that an image would set; a container's environment begins with them.
    static let environment = [
        EnvironmentVariable("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        EnvironmentVariable("HOME", SystemFiles.home), EnvironmentVariable("USER", "cortex"),
        EnvironmentVariable("LOGNAME", "cortex"), EnvironmentVariable("LANG", "C.UTF-8"),
        // Python buffers output that is no terminal: lines would reach the log late, or never.
        EnvironmentVariable("PYTHONUNBUFFERED", "1"),
    ]

    /// `NAME=value`, each name once. Programs take the first of two equal names; by the contract the last one wins.
    static func variables(_ container: ContainerPlan) -> [String] {
        var order: [String] = []
        var values: [String: String] = [:]
        for variable in environment + container.environment {
            if values.updateValue(variable.value, forKey: variable.name) == nil { order.append(variable.name) }
        }
        return order.map { "\($0)=\(values[$0, default: ""])" }
    }
}
