import ArgumentParser
import Client
import Core
import Support
import Wire

struct DeleteCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Remove an API (its replicas, its queue and its results), or stop a job.",
        discussion: """
            Waiting requests are cancelled. A RealtimeAPI that a TrafficSplitter names
            is not removed. It asks first when more than two replicas are ready. The jobs
            of a Batch or Task API are stopped.

            Examples:
              cortex delete hello
              cortex delete hello --keep-cache    keep the results for a later deploy
              cortex delete sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab    stop a job
            """)

    @OptionGroup var target: APIArgument
    @Argument(
        help: "Stop this job, and keep the API.", completion: .jobs(JobStatus.open), transform: RequestID.typed)
    var job: RequestID?
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Do not ask.")
    var force = false
    @Flag(name: .shortAndLong, help: "The same as --force.")
    var yes = false
    @Flag(name: [.customShort("c"), .long], help: "Keep the requests and their results.")
    var keepCache = false
    @OptionGroup var format: OutputOption

    /// More ready replicas than this are worth a question.
    private static let replicasWithoutQuestion = 2

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        if let job {
            let answer = try await context.withJobs(cluster, api: target.api) { jobs in
                try await JobOutput.findingJob(target.api) { try await jobs.stop(job) }
            }
            return try context.say(answer.message.inOneLine, as: format.output)
        }
        let answer = try await context.withOperator(cluster) { client in
            if !force, !yes { try await ask(client, context) }
            return try await client.delete(target.api, keepCache: keepCache)
        }
        try context.show(answer, as: format.output) { _ in answer.message.inOneLine }
    }

    private func ask(_ client: OperatorClient, _ context: CommandContext) async throws {
        let ready = try await client.api(target.api).status?.ready ?? 0
        guard ready > Self.replicasWithoutQuestion else { return }
        guard context.console.canAsk else {
            throw PlatformError(
                .conflict,
                "\(target.api) has \(ready) ready replicas, and there is no terminal to ask on; delete it with:"
                    + " cortex delete \(target.api) --force")
        }
        let question = "delete \(target.api)? it has \(ready) ready replicas"
        guard Prompt.confirm(question, console: context.console) else { throw ExitCode(ExitStatus.failure) }
    }
}
