import ArgumentParser
import Client
import Core
import Wire

struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract: "Look at a platform as a whole, and save what is deployed on it.",
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
        commandName: "info", abstract: "Print addresses, versions, engine, and how much there is of what.",
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
            // A server of another version can be looked at, not listed.
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
