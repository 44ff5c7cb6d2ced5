import ArgumentParser
import Client
import Core

struct ResultCommand: APICommand {
    static let kinds: Set<APIKind> = [.async]
    static let configuration = CommandConfiguration(
        commandName: "result",
        abstract: "Print a request's result, byte for byte as the container answered.",
        discussion: """
            With -o json it prints the whole document instead, for every status.
            It exits with 1 when the request failed, was cancelled or has not ended.

            Examples:
              cortex result hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex result hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --wait-timeout 60
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The request's id.", completion: .requests(), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var waiting: WaitOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let (waiting, id, api, console) = (waiting, id, target.api, context.console)
        let request = try await context.withGateway(cluster, api: api) { client in
            try await RequestOutput.findingRequest(api) {
                guard waiting.isWaiting else { return try await client.read(id) }
                return try await WaitInterruption.withHint(console, RequestOutput.waitHint(api, id)) {
                    try await client.wait(id, limit: waiting.limit)
                }
            }
        }
        try RequestOutput(context: context, format: format.output, api: target.api)
            .printOutcome(request, hasWaited: waiting.isWaiting)
    }
}
