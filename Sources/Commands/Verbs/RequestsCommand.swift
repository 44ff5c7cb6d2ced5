import ArgumentParser
import Client
import Core
import Wire

struct RequestsCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "requests",
        abstract: "List an API's requests, newest first.",
        discussion: """
            Examples:
              cortex requests hello
              cortex requests hello --status failed --limit 20
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Option(help: "Only requests with this status: in_queue, in_progress, completed, failed or cancelled.")
    var status: RequestStatus?
    @Option(help: ArgumentHelp("At most this many.", valueName: "count"))
    var limit = 100
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard (1...1_000_000).contains(limit) else { throw ValidationError("--limit must be 1 to 1000000.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let requests = try await context.withOperator(cluster) { client in
            var found: [RequestDocument] = []
            var before: RequestID?
            while found.count < limit {
                let page = try await client.requests(
                    target.api, status: status, before: before, limit: min(limit - found.count, Limits.listPage))
                found += page.requests
                guard let next = page.next, next != before, !page.requests.isEmpty else { break }
                before = next
            }
            return found
        }
        try context.show(requests, as: format.output) {
            RequestsView.render(requests, now: context.clock.now(), style: $0)
        }
    }
}
