import ArgumentParser
import Client
import Core

struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version",
        abstract: "Print the version of the CLI and of the cluster.",
        discussion: """
            Example:
              cortex version
            """)

    @OptionGroup var environment: EnvironmentOption

    func run() async throws {
        let context = CommandContext.live()
        try context.console.print("cli version: \(CortexVersion.current)")
        let cluster: Environment
        do {
            cluster = try context.resolve(environment.environment)
        } catch let error as PlatformError where error.code == .notFound && environment.environment == nil {
            return
        }
        let info = try await context.withOperator(cluster) { try await $0.info() }
        try context.console.print("cluster version: \(info.clusterConfig.apiVersion.inOneLine)")
    }
}
