import ArgumentParser
import Client
import Core
import Support
import Wire

struct CancelCommand: APICommand {
    static let kinds = APIKind.storing
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel a request, or stop a job.",
        discussion: """
            A request that waits is never run; one that runs is interrupted. A job's
            workers get the API's termination grace period; its results stay readable.

            Examples:
              cortex cancel hello 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex cancel sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab    a job
            """)

    @OptionGroup var target: APIArgument
    @Argument(
        help: "The id of the request or job.",
        completion: .submissions([.inQueue, .inProgress], jobs: JobStatus.open), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        try await context.withSubmissions(cluster, api: target.api) { client in
            switch client {
            case .requests(let gateway):
                let request = try await RequestOutput.findingRequest(target.api) { try await gateway.cancel(id) }
                try RequestOutput(context: context, format: format.output, api: target.api).printDocument(request) {
                    "\(id) is \(request.status.rawValue)"
                }
            case .jobs(let jobs):
                let answer = try await JobOutput.findingJob(target.api) { try await jobs.stop(id) }
                try context.say(answer.message.inOneLine, as: format.output)
            }
        }
    }
}
