import ArgumentParser
import Client
import Core

struct CancelCommand: APICommand {
    static let kinds: Set<APIKind> = [.async]
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel a request.",
        discussion: """
            A request that waits is never run; one that runs is interrupted.

            Example:
              cortex cancel hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The request's id.", completion: .requests([.inQueue, .inProgress]), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let (id, api) = (id, target.api)
        let request = try await context.withGateway(cluster, api: api) { client in
            try await RequestOutput.findingRequest(api) { try await client.cancel(id) }
        }
        try RequestOutput(context: context, format: format.output, api: target.api).printDocument(request) {
            "\(id) is \(request.status.rawValue)"
        }
    }
}
