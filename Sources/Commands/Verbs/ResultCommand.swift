import ArgumentParser
import Client
import Core
import NIOCore

struct ResultCommand: APICommand {
    static let kinds = APIKind.storing
    static let configuration = CommandConfiguration(
        commandName: "result",
        abstract: "Print a request's result, byte for byte as the container answered, or the document of a job.",
        discussion: """
            With -o json it prints the whole document instead, for every status.
            It exits with 1 when the request failed, was cancelled or has not ended, and
            when the job ended without success. The results of a Batch job's items are
            printed by: cortex results

            Examples:
              cortex result hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex result hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --wait-timeout 60
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The id of the request or job.", completion: .submissions(), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var waiting: WaitOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        try await context.withSubmissions(cluster, api: target.api) { client in
            switch client {
            case .requests(let gateway): try await printRequest(gateway, context)
            case .jobs(let jobs): try await printJob(jobs, context)
            }
        }
    }

    private func printRequest(_ client: GatewayClient, _ context: CommandContext) async throws {
        let request = try await RequestOutput.findingRequest(target.api) {
            guard waiting.isWaiting else { return try await client.read(id) }
            return try await WaitInterruption.withHint(context.console, RequestOutput.waitHint(target.api, id)) {
                try await client.wait(id, limit: waiting.limit)
            }
        }
        try RequestOutput(context: context, format: format.output, api: target.api)
            .printOutcome(request, hasWaited: waiting.isWaiting)
    }

    private func printJob(_ jobs: JobClient, _ context: CommandContext) async throws {
        let output = JobOutput(context: context, format: format.output, api: target.api)
        let snapshot = try await JobOutput.findingJob(target.api) {
            guard waiting.isWaiting else { return try await jobs.job(id) }
            return try await output.wait(id, jobs, limit: waiting.limit, isKnown: false)
        }
        try output.printVerbatim(snapshot.document) { String(buffer: snapshot.document) }
        try output.check(snapshot, hasWaited: waiting.isWaiting)
    }
}
