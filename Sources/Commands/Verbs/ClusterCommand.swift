import ArgumentParser
import Client
import Core
import Platform
import Support
import Wire

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "Show a platform as a whole, and export what is deployed.",
        discussion: """
            A platform on this machine is started with cortex up and stopped with Ctrl-C.

            Examples:
              cortex cluster info
              cortex cluster health
              cortex cluster export
            """,
        subcommands: [
            ClusterInfoCommand.self, ClusterHealthCommand.self, ClusterExportCommand.self, ClusterUpCommand.self,
            ClusterDownCommand.self, ClusterConfigureCommand.self,
        ])
}

struct ClusterInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Print addresses, versions, engine, and numbers of APIs and requests.",
        discussion: """
            Example:
              cortex cluster info
            """)

    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let (info, apis) = try await context.withOperator(cluster) { client in
            let info = try await client.info()
            // Of a server of another version only the facts are shown, no list.
            let isOurs =
                (try? VersionHandshake.check(client: client.version, server: info.clusterConfig.apiVersion)) != nil
            return (info, format.output == .pretty && isOurs ? try await client.apis() : [])
        }
        try context.show(info, as: format.output) {
            ClusterView.render(info, apis: apis, environment: cluster, style: $0)
        }
    }
}

struct ClusterHealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Check each part of the platform; exit with 1 when one is unhealthy.",
        discussion: """
            Example:
              cortex cluster health && echo fine
            """)

    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let health = try await context.withOperator(cluster) { client in
            var health = try await client.health()
            health.components.insert(.init("operator", .healthy, "answers at \(cluster.operatorEndpoint)"), at: 0)
            return health
        }
        try context.show(health, as: format.output) { ClusterView.render(health, style: $0) }
        if health.status == .unhealthy { throw ExitCode(ExitStatus.failure) }
    }
}

/// Verbs of the original that made and unmade machines in a cloud: they say what takes their place.
private enum Replaced {
    static func error(_ verb: String, _ instead: String) -> PlatformError {
        PlatformError(.usage, "there is no cortex cluster \(verb): \(instead)")
    }
}

struct ClusterUpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "up", shouldDisplay: false)
    @Argument(parsing: .captureForPassthrough) var rest: [String] = []

    func run() async throws {
        throw Replaced.error("up", "start a platform on this machine with: cortex up")
    }
}

struct ClusterDownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "down", shouldDisplay: false)
    @Argument(parsing: .captureForPassthrough) var rest: [String] = []

    func run() async throws {
        throw Replaced.error("down", "stop the platform with Ctrl-C, or SIGTERM, where cortex up runs")
    }
}

struct ClusterConfigureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "configure", shouldDisplay: false)
    @Argument(parsing: .captureForPassthrough) var rest: [String] = []

    func run() async throws {
        throw Replaced.error("configure", "flags of cortex up, or lines of up.yaml, say how a platform runs")
    }
}

/// `cortex cluster info` and `health`.
enum ClusterView {
    static func render(_ info: InfoDocument, apis: [APIDocument], environment: Environment, style: TextStyle) -> String
    {
        let cluster = info.clusterConfig
        var facts = [
            ("cluster", cluster.clusterName), ("environment", environment.name), ("version", cluster.apiVersion),
            ("operator", cluster.operatorEndpoint), ("gateway", cluster.gatewayEndpoint), ("engine", cluster.engine),
            ("store", cluster.store), ("apis", "\(info.numAPIs)"),
        ]
        let statuses = apis.compactMap(\.status)
        if !statuses.isEmpty || info.numAPIs == 0 {
            let (ready, wanted) = statuses.reduce((0, 0)) { ($0.0 + $1.ready, $0.1 + $1.requested) }
            facts.append(("replicas", "\(ready) ready, \(wanted) wanted"))
        } else {
            facts.append(("replicas", "\(info.numPendingReplicas) not ready"))
        }
        if let queue = info.queue {
            facts.append(("requests", "\(queue.inQueue) in queue, \(queue.inProgress) in progress"))
        }
        if let capacity = info.capacity {
            let (used, total) = (capacity.used, capacity.total)
            facts.append(("cpu", "\(cores(used.cpuMilli)) of \(cores(total.cpuMilli)) cores declared"))
            facts.append(
                ("memory", "\(DiskSpace.gigabytes(used.memBytes)) of \(DiskSpace.gigabytes(total.memBytes)) declared"))
            if total.gpu > 0 { facts.append(("gpu", "\(used.gpu) of \(total.gpu) taken")) }
        }
        return lines(facts.map { ("", $0.0, $0.1) }, style)
    }

    static func render(_ health: HealthDocument, style: TextStyle) -> String {
        lines(
            health.components.map { component in
                let isHealthy = component.status == .healthy
                return (
                    style.colored(isHealthy ? "✓ " : "✗ ", isHealthy ? .green : .red), component.name, component.detail
                )
            }, style)
    }

    private static func cores(_ milli: Int64) -> String { "\(milli / 1000).\(milli % 1000 / 100)" }

    private static func lines(_ facts: [(mark: String, name: String, value: String)], _ style: TextStyle) -> String {
        let width = facts.reduce(0) { max($0, $1.name.inOneLine.count) }
        return facts.map { fact in
            let name = fact.name.inOneLine
            return fact.mark + style.bold(name) + String(repeating: " ", count: width - name.count + 3)
                + style.hanging(fact.value, at: (fact.mark.isEmpty ? 0 : 2) + width + 3)
        }.joined(separator: "\n")
    }
}
