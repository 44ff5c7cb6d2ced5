import ArgumentParser
import Client
import Core
import Wire

struct RetryCommand: APICommand {
    static let kinds = APIKind.storing
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Put a failed request back into the queue, or repeat the rest of a job.",
        discussion: """
            The payload of a request, and the items of a Batch job, must still be kept:
            keep_failed in cortex.yaml, one day by default. For a job that has ended it
            makes a new one of the items or workers without success, and prints its id.
            Both jobs' results as one: cortex results API NEW-JOB --merged

            Examples:
              cortex retry hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex retry sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab    a job
            """)

    @OptionGroup var target: APIArgument
    @Argument(
        help: "The id of the request or job.",
        completion: .submissions(
            [.failed], jobs: Set(JobStatus.allCases).subtracting(JobStatus.open.union([.succeeded]))),
        transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        try await context.withOperator(cluster) { client in
            do {
                let request = try await client.retry(id, api: target.api)
                try context.show(request, as: format.output) { _ in "\(id) is \(request.status.rawValue)" }
            } catch let error as PlatformError where !error.isPassing {
                guard let api = try? await client.api(target.api) else { throw error }
                guard let jobs = JobClient(client, api: target.api, kind: APITable.kind(of: api), clock: context.clock)
                else {
                    try WrongKind.expect(Self.kinds, api, name: target.api)
                    throw error
                }
                let receipt = try await JobOutput.findingJob(target.api) { try await jobs.retry(id) }
                try JobOutput(context: context, format: format.output, api: target.api).printReceipt(receipt)
            }
        }
    }
}
