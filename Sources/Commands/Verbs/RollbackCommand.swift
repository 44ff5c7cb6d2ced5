import ArgumentParser
import Client
import Core
import Support
import Wire

struct RollbackCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Deploy an earlier version of an API again.",
        discussion: """
            Without a version it deploys the previous one. The last ten versions are
            kept; cortex get API lists them. No request is lost, and replicas are
            restarted only if the pod differs.

            Examples:
              cortex rollback hello
              cortex rollback hello 68d7f2a90c1b3e55
            """)

    @OptionGroup var target: APIArgument
    @Argument(
        help: ArgumentHelp("Id of the version, or its first characters.", valueName: "version"), completion: .versions)
    var version: String?
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Continue also while the API is updating.")
    var force = false
    @Flag(name: .long, help: "Wait until all replicas are ready, or print why they cannot be.")
    var wait = false
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        try await context.withOperator(cluster) { client in
            let answer = try await client.rollback(target.api, to: version, force: force)
            try context.show(answer, as: format.output) { _ in answer.message.inOneLine }
            if wait {
                try await DeployWatcher(client: client, context: context, limit: .seconds(1800)).run([target.api])
            }
        }
    }
}
