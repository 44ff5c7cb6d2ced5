import ArgumentParser
import Client
import Core

struct DescribeCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "describe",
        abstract: "Show the state of an API's replicas and requests, and the reasons.",
        discussion: """
            Examples:
              cortex describe hello
              cortex describe hello --watch
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var watch: WatchOption
    @OptionGroup var format: OutputOption

    func validate() throws {
        try watch.validate(with: format.output)
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(
            environment.environment, announce: format.output == .pretty && !watch.watch)
        @Sendable func text() async throws -> String {
            let (api, deployed) = try await context.withOperator(cluster) { client in
                let api = try await client.describeWithText(target.api)
                return (api, format.output == .pretty ? try await client.apis(for: api.document) : [])
            }
            return try format.output.render([api.document], text: api.text)
                ?? DescribeView.render(
                    api.document, deployed: deployed, environment: cluster.name,
                    showsEnvironment: environment.environment == nil,
                    now: context.clock.now(), style: context.console.style)
        }
        if watch.watch {
            try await Watch(console: context.console, clock: context.clock, title: "cortex describe \(target.api)")
                .run(text)
        } else {
            try context.console.print(try await text())
        }
    }
}
