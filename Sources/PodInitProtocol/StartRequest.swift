/// Everything `PodInit` needs to start a container of a sandbox pod: the fields after `start`.
package struct StartRequest: Sendable, Equatable {
    package var name: String
    /// Files and folders of the host, absolute. Bubblewrap finds each at ``stage(_:)``.
    package var mounts: [Mount] = []
    /// Arguments of bubblewrap, without the command.
    package var bubblewrap: [String] = []
    /// The command and its arguments.
    package var command: [String] = []
    /// `NAME=value`, in order.
    package var environment: [String] = []
    /// Folder in which the command and what `exec` runs begin.
    package var workingDirectory = "/"
    /// `cgroup.procs` files that the container joins.
    package var cgroups: [String] = []
    /// File with an `oom_kill N` line; empty for none.
    package var oomFile = ""

    /// A file or folder of the host for bubblewrap to bind.
    package struct Mount: Sendable, Equatable {
        package var source: String
        /// Opened without following a link, and with owners of its own where pods have a user id of their own.
        package var isVolume: Bool

        package init(_ source: String, isVolume: Bool = false) {
            self.source = source
            self.isVolume = isVolume
        }
    }

    package init(name: String) {
        self.name = name
    }

    /// Where the mount with this number is when bubblewrap runs (`CX_STAGE`). No container sees this path.
    package static func stage(_ number: Int) -> String { "/sys/\(number)" }

    package var fields: [String] {
        ["name=" + name, "cwd=" + workingDirectory, "oom=" + oomFile]
            + mounts.map { ($0.isVolume ? "volume=" : "mount=") + $0.source } + bubblewrap.map { "bwrap=" + $0 }
            + command.map { "arg=" + $0 } + environment.map { "env=" + $0 }
            + cgroups.map { "cgroup=" + $0 }
    }

    /// `nil` when a field is not understood or the name or command is missing.
    package init?(fields: some Sequence<String>) {
        self.name = ""
        for field in fields {
            guard let mark = field.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let value = String(field[field.utf8.index(after: mark)...])
            switch field[..<mark] {
            case "name": name = value
            case "cwd": workingDirectory = value
            case "oom": oomFile = value
            case "mount": mounts.append(Mount(value))
            case "volume": mounts.append(Mount(value, isVolume: true))
            case "bwrap": bubblewrap.append(value)
            case "arg": command.append(value)
            case "env": environment.append(value)
            case "cgroup": cgroups.append(value)
            default: return nil
            }
        }
        guard !name.isEmpty, !command.isEmpty else { return nil }
    }
}
