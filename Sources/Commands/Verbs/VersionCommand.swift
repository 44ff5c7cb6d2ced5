import ArgumentParser
import Client
import Core
import Support
import Wire

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Print the version of the CLI and of the cluster.",
        discussion: """
            It exits with 1 when the two versions do not work together.

            Examples:
              cortex version
              cortex version -o json
            """)

    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    /// `cluster_version` is `null` where there is no environment.
    struct Document: Encodable {
        var cliVersion = CortexVersion.current
        @OrNull var clusterVersion: String?

        enum CodingKeys: String, CodingKey {
            case cliVersion = "cli_version"
            case clusterVersion = "cluster_version"
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        if format.output == .pretty { try context.console.print("cli version: \(CortexVersion.current)") }
        let cluster: Environment
        do {
            cluster = try context.resolve(environment.environment)
        } catch let error as PlatformError where error.code == .notFound && environment.environment == nil {
            if format.output != .pretty { try context.show(Document(), as: format.output) { _ in "" } }
            return
        }
        let info = try await context.withOperator(cluster) { try await $0.info() }
        let version = info.clusterConfig.apiVersion
        try context.show(Document(clusterVersion: version), as: format.output) { _ in
            "cluster version: \(version.inOneLine)"
        }
        try VersionHandshake.check(client: CortexVersion.current, server: version)
    }
}
