import ArgumentParser
import Client
import Core
import Foundation
import Logging
import Platform
import Support
import Synchronization

/// `cortex up`: the whole platform in this process.
struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Run the platform on this machine, in the foreground.",
        discussion: """
            It accepts requests on the gateway's port and keeps them in the data directory.
            Pods run on Docker or Podman if one answers, else in a sandbox (bubblewrap).
            Ctrl-C drains and stops; a second Ctrl-C exits at once.

            Each option can also be a variable (CORTEX_DATA_DIR, CORTEX_HOST,
            CORTEX_OPERATOR_HOST, CORTEX_GATEWAY_PORT, CORTEX_OPERATOR_PORT,
            CORTEX_ENGINE, CORTEX_ENGINE_SOCKET, CORTEX_POD_NETWORK, CORTEX_STORE,
            CORTEX_DURABILITY, CORTEX_DISK_RESERVE, CORTEX_TRUSTED_PROXY,
            CORTEX_ALLOW_VOLUME, CORTEX_ALLOW_POD_OPERATOR_ACCESS) or a line of up.yaml
            beside cli.yaml (data_dir: …). The option wins, then the variable, then the
            file.

            Examples:
              cortex up
              cortex up --data-dir ~/trial --engine sandbox --port 0 --operator-port 0
            """)

    @Option(
        help: ArgumentHelp(
            "Where requests, results and pods are kept (default: ~/.cortex/local).", valueName: "directory"),
        completion: .directory)
    var dataDir: String?

    @Option(
        help: ArgumentHelp(
            "Address the gateway listens on (default: 127.0.0.1, this machine only).", valueName: "address"))
    var host: String?

    @Option(
        help: ArgumentHelp(
            "Address the operator listens on, independent of --host (default: 127.0.0.1, this machine only).",
            valueName: "address"))
    var operatorHost: String?

    @Option(help: ArgumentHelp("The gateway's port (default: 8889; 0: any free one).", valueName: "number"))
    var port: String?

    @Option(help: ArgumentHelp("The operator's port (default: 8888; 0: any free one).", valueName: "number"))
    var operatorPort: String?

    @Option(
        help: ArgumentHelp(
            "The engine that runs the pods: auto, docker (also Podman) or sandbox (default: auto).", valueName: "engine"
        ),
        completion: .list(PlatformSettings.EngineChoice.allCases.map(\.rawValue)))
    var engine: String?

    @Option(
        help: ArgumentHelp("The socket of Docker or Podman (default: the well-known places).", valueName: "path"),
        completion: .file())
    var engineSocket: String?

    @Option(
        help: ArgumentHelp(
            "What pods on Docker and Podman reach besides the platform and networks outside this machine: host, link-local, or addresses such as 10.0.0.0/8. With none they reach only the platform. Can be repeated.",
            valueName: "network"))
    var podNetwork: [String] = []

    @Option(
        help: ArgumentHelp(
            "The store: sqlite, or sqlite:DIRECTORY (default: sqlite in the data directory).", valueName: "url"))
    var store: String?

    @Option(
        help: ArgumentHelp(
            "full: a request survives a power cut once its id was returned. normal: it survives a crash of the platform, but a power cut may lose the newest (default: full).",
            valueName: "level"), completion: .list(PlatformSettings.Durability.allCases.map(\.rawValue)))
    var durability: String?

    @Option(
        help: ArgumentHelp(
            "Free space below which requests are refused while results are still stored: a size such as 2Gi or a part such as 10% (default: 1Gi or 5%, whichever is more).",
            valueName: "size"))
    var diskReserve: String?

    @Option(
        help: ArgumentHelp(
            "Address or range (10.0.0.0/8) of a proxy, which may hold more than a quarter of all connections. Can be repeated.",
            valueName: "address"))
    var trustedProxy: [String] = []

    @Option(
        help: ArgumentHelp(
            "A folder that APIs deployed by a pod with pod.operator_access full may mount, or parts of it (default: none). Can be repeated.",
            valueName: "directory"), completion: .directory)
    var allowVolume: [String] = []

    @Option(
        help: ArgumentHelp(
            "A folder whose files BatchAPI jobs may be made from, as file:// URLs (default: none). Can be repeated.",
            valueName: "directory"), completion: .directory)
    var batchFiles: [String] = []

    @Option(
        help: ArgumentHelp(
            "The URL of the S3-compatible server that BatchAPI jobs read s3:// URLs from (default: AWS).",
            valueName: "url"))
    var s3Endpoint: String?

    @Option(
        help: ArgumentHelp(
            "The most that pod.operator_access may be: none, read, own or full (default: own).", valueName: "access"),
        completion: .list(OperatorAccess.allCases.map(\.rawValue)))
    var allowPodOperatorAccess: String?

    @OptionGroup var format: OutputOption

    private static let signals = Mutex<ShutdownThread?>(nil)

    /// Takes the process's signals before its arguments are read, if they are those of this command: a platform that is
    /// stopped in the first moment of its life exits with 0 as well (contract U4).
    static func takeSignals(_ arguments: [String]) {
        guard let word = arguments.first, !word.isEmpty, "up".hasPrefix(word) else { return }
        // Where it fails, `run` tries again and reports why.
        guard let thread = try? ShutdownThread.start() else { return }
        signals.withLock { $0 = thread }
    }

    func run() async throws {
        LoggingSystem.bootstrap { StandardErrorLog(label: $0) }
        let shutdown = try Self.signals.withLock { $0 } ?? ShutdownThread.start()
        let work = Task { try await start(shutdown) }
        // Until the services run, a signal cancels the start. They take over in ``ShutdownService``.
        shutdown.onStop { work.cancel() }
        var status = ExitStatus.success
        do {
            try await work.value
        } catch  where work.isCancelled {
            // Stopped while it started: the interrupted step may fail in any way.
        } catch {
            let failure = ExitStatus(error)
            status = failure.code
            if let message = failure.message, !message.isEmpty { BoundedWriter.standardError.write(message + "\n") }
        }
        // Neither a reader of standard error that does not read nor code that runs at the end of a process delays the
        // exit.
        BoundedWriter.standardError.flush(milliseconds: 1000)
        _exit(status)
    }

    private func start(_ shutdown: ShutdownThread) async throws {
        let environment = ProcessInfo.processInfo.environment
        let flags: [PlatformSettings.Key: String?] = [
            .dataDirectory: dataDir, .host: host, .operatorHost: operatorHost, .gatewayPort: port,
            .operatorPort: operatorPort, .engine: engine,
            .engineSocket: engineSocket,
            .podNetwork: podNetwork.isEmpty ? nil : podNetwork.joined(separator: ","), .store: store,
            .durability: durability, .diskReserve: diskReserve,
            .trustedProxies: trustedProxy.isEmpty ? nil : trustedProxy.joined(separator: ","),
            .podAccess: allowPodOperatorAccess, .s3Endpoint: s3Endpoint,
        ]
        let file = EnvironmentStore(environment: environment).directory + "/up.yaml"
        let settings = try PlatformSettings(
            flags: flags.compactMapValues { $0 }, lists: [.allowedVolumes: allowVolume, .batchFolders: batchFiles],
            environment: environment,
            file: try Self.text(of: file),
            // As `cli.yaml` is found.
            home: environment["HOME"].flatMap { $0.isEmpty ? nil : $0 }
                ?? FileManager.default.homeDirectoryForCurrentUser.path)
        try await Assembly(
            settings: settings, environment: environment,
            announcer: StartReport(
                environments: EnvironmentStore(environment: environment), console: Console(environment: environment),
                format: format.output),
            logger: Logger(label: "cortex")
        ).run(shutdown)
    }
}

extension UpCommand {
    /// The text of `up.yaml`, which no other user may have written: it decides what pods may do; `nil` when there is
    /// none.
    private static func text(of path: String) throws -> String? {
        guard let data = try OwnerFile(path, advice: "correct its owner and mode").read(limit: Limits.configuration)
        else {
            return nil
        }
        guard data.count <= Limits.configuration, let text = String(data: data, encoding: .utf8) else {
            throw PlatformError(.setup, "\(path) is not a text of at most 1 MiB; correct it or move it away")
        }
        return text
    }
}

/// Prints where the platform listens, and writes the CLI's environment for it.
private struct StartReport: PlatformAnnouncer {
    let environments: EnvironmentStore
    let console: Console
    let format: OutputFormat

    /// It becomes the default environment if there is none.
    func register(_ platform: RunningPlatform) throws -> String {
        try environments.update { file in
            file.register(
                dataDirectory: platform.dataDirectory, socket: platform.operatorSocket,
                operatorEndpoint: platform.operator, token: platform.token.revealed)
        }
    }

    func report(_ platform: RunningPlatform, environment: String) async {
        // The platform runs also if the reader closed the pipe or does not read it.
        try? await withTimeLimit(.seconds(5)) {
            try await BlockingPool.checks.run { try console.print(try text(platform, environment)) }
        }
    }

    private func text(_ platform: RunningPlatform, _ environment: String) throws -> String {
        let document = [
            "gateway": platform.gateway, "operator": platform.operator, "engine": platform.engine,
            "data": platform.dataDirectory, "environment": environment,
        ]
        let isDefault = try environments.load().defaultEnvironment == environment
        return try format.render(document)
            ?? """
            gateway   \(platform.gateway)  (callers POST here)
            operator  \(platform.operator)
            engine    \(platform.engine)
            data      \(platform.dataDirectory)\(environment == "local" ? "" : "\ncli       environment \(environment)")
            ready     deploy an API with: cortex deploy cortex.yaml\(isDefault ? "" : " -e \(environment)")
            """
    }
}
