import ArgumentParser
import Client
import Core
import Wire

struct RetryCommand: APICommand {
    static let kinds: Set<APIKind> = [.async]
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Put a failed request back into the queue.",
        discussion: """
            Its payload must still be kept: keep_failed in cortex.yaml, one day by
            default.

            Example:
              cortex retry hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The request's id.", completion: .requests([.failed]), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let request = try await context.withOperator(cluster) { client in
            try await WrongKind.explaining(client, api: target.api) { try await client.retry(id, api: target.api) }
        }
        try context.show(request, as: format.output) { _ in "\(id) is \(request.status.rawValue)" }
    }
}
