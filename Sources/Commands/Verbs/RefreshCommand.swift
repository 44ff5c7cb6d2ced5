import ArgumentParser
import Client
import Core
import Support
import Wire

struct RefreshCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "refresh",
        abstract: "Restart all replicas of an API, one after the other.",
        discussion: """
            No request is lost: requests inside a replica finish before it stops.

            Example:
              cortex refresh hello
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Continue also while the API is updating.")
    var force = false
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let answer = try await context.withOperator(cluster) { try await $0.refresh(target.api, force: force) }
        try context.show(answer, as: format.output) { _ in answer.message.inOneLine }
    }
}
