import Core
import Foundation
import Support

/// The settings of a ``DockerEngine``.
package struct DockerEngineConfiguration: Sendable {
    /// A limit on a resource of each process, for `HostConfig.Ulimits`.
    package struct Ulimit: Sendable, Hashable {
        package var name: String
        package var soft: Int64
        package var hard: Int64

        package init(_ name: String, soft: Int64, hard: Int64) {
            self.name = name
            self.soft = soft
            self.hard = hard
        }
    }

    /// The engine's unix socket.
    package var socketPath: String
    /// Distinguishes this platform's containers from those of another one on the same engine: 1…12 lower-case letters
    /// and digits.
    package var installationID: String
    /// Folder for what pods need on the host; made when missing, private to this user.
    package var dataDirectory: String
    /// The static executable `cortex-pod-init`.
    package var podInitExecutable: String
    /// Unix sockets on which gateway and operator listen. Their *folders* are mounted into each pod's own process, for
    /// reading only, so that a socket may be created again: keep nothing else in them.
    package var gatewaySocket: String
    package var operatorSocket: String
    /// The platform network's addresses; `nil`: a free private block of 4096 is chosen when the network is made.
    package var subnet: IPv4Subnet?
    /// Always sent, all of them: Podman fills a missing one with a number that an unprivileged engine can't set.
    package var ulimits: [Ulimit]
    /// Processes and threads in one container.
    package var pidsLimit: Int64
    /// Bytes of a container's log that are kept, where the engine can limit it.
    package var logBytes: Int64
    /// The folder of Docker's `config.json`.
    package var dockerConfigDirectory: String
    /// How long one image may take to pull.
    package var pullTimeout: Duration
    /// What pods may reach besides the platform and networks outside this machine.
    package var podNetwork: PodNetworkRules

    package init(
        socketPath: String, installationID: String, dataDirectory: String, podInitExecutable: String,
        gatewaySocket: String, operatorSocket: String, subnet: IPv4Subnet? = nil,
        ulimits: [Ulimit] = DockerEngineConfiguration.usualUlimits(), pidsLimit: Int64 = 4096,
        logBytes: Int64 = 16 << 20,
        dockerConfigDirectory: String = DockerEngineConfiguration.usualConfigDirectory(
            environment: ProcessInfo.processInfo.environment),
        pullTimeout: Duration = .seconds(3600), podNetwork: PodNetworkRules = .init()
    ) {
        self.socketPath = socketPath
        self.installationID = installationID
        self.dataDirectory = dataDirectory
        self.podInitExecutable = podInitExecutable
        self.gatewaySocket = gatewaySocket
        self.operatorSocket = operatorSocket
        self.subnet = subnet
        self.ulimits = ulimits
        self.pidsLimit = pidsLimit
        self.logBytes = logBytes
        self.dockerConfigDirectory = dockerConfigDirectory
        self.pullTimeout = pullTimeout
        self.podNetwork = podNetwork
    }

    /// An ``installationID`` for a data directory: the same one for the same folder.
    package static func installationID(dataDirectory: String) -> String {
        let path = URL(fileURLWithPath: dataDirectory).resolvingSymlinksInPath().standardizedFileURL.path
        return String(ImageArchive.digest(Array(path.utf8)).prefix(12))
    }

    /// `$DOCKER_CONFIG`, else `~/.docker`.
    package static func usualConfigDirectory(environment: [String: String]) -> String {
        if let directory = environment["DOCKER_CONFIG"], !directory.isEmpty { return directory }
        return (environment["HOME"] ?? "/root") + "/.docker"
    }

    /// The socket that `DOCKER_HOST` or `CONTAINER_HOST` names, and which of them does; `nil` when neither is set.
    ///
    /// - Throws: `setup` when the first that is set is no unix socket: it is never skipped. The message repeats no more
    ///   of the value than its scheme, since the rest may hold a credential.
    package static func namedSocket(environment: [String: String]) throws -> (path: String, origin: String)? {
        for name in ["DOCKER_HOST", "CONTAINER_HOST"] {
            guard let value = environment[name], !value.isEmpty else { continue }
            if value.hasPrefix("unix:///") { return (String(value.dropFirst("unix://".count)), name) }
            let scheme = value.firstRange(of: "://").map { String(value[..<$0.upperBound].prefix(16)) + "…" }
            throw PlatformError(
                .setup,
                "\(name) is \(scheme ?? "no address of a unix socket"), and an engine is reached by a unix socket only (unix:///path); unset \(name), or name the socket with --engine-socket"
            )
        }
        return nil
    }

    /// Sockets at which an engine usually listens, the likeliest first.
    package static func usualSockets(environment: [String: String]) -> [String] {
        var sockets = ["/var/run/docker.sock"]
        let runtime = environment["XDG_RUNTIME_DIR"].flatMap { $0.isEmpty ? nil : $0 }
        if let runtime { sockets += [runtime + "/docker.sock", runtime + "/podman/podman.sock"] }
        sockets.append("/run/podman/podman.sock")
        if let home = environment["HOME"] { sockets.append(home + "/.docker/run/docker.sock") }
        return sockets
    }

    /// As much as this process itself may have, up to a limit: an engine started in the same way can give that.
    ///
    /// Podman limits itself to 32768 processes, and an engine without the right to raise limits can give no more than
    /// it has.
    package static func usualUlimits() -> [Ulimit] {
        let limits = KernelFile.read("/proc/self/limits").map {
            String(decoding: $0, as: UTF8.self)
        }
        let files = min(hardLimit("Max open files", in: limits ?? ""), 1 << 20)
        let processes = min(hardLimit("Max processes", in: limits ?? ""), 32_768)
        return [
            Ulimit("nofile", soft: min(files, 65_536), hard: files),
            Ulimit("nproc", soft: processes, hard: processes),
        ]
    }

    /// From the text of `/proc/self/limits`: name, soft, hard, unit. Unlimited is the largest number, a missing line a
    /// modest one.
    static func hardLimit(_ name: String, in text: String) -> Int64 {
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name) }) else { return 4096 }
        let fields = line.dropFirst(name.count).split(separator: " ")
        guard fields.count > 1 else { return 4096 }
        return fields[1] == "unlimited" ? .max : Int64(fields[1]) ?? 4096
    }
}
