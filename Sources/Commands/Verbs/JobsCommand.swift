import ArgumentParser
import Client
import Core
import Wire

struct JobsCommand: APICommand {
    static let kinds = APIKind.withJobs
    static let configuration = CommandConfiguration(
        commandName: "jobs",
        abstract: "List the jobs of a Batch or Task API, newest first.",
        discussion: """
            Submit a job with: cortex submit. Show one with: cortex get API JOB

            Examples:
              cortex jobs sum
              cortex jobs sum --status completed_with_failures --limit 20
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Option(help: "Only jobs with this status.")
    var status: JobStatus?
    @Option(help: ArgumentHelp("Print at most this many.", valueName: "count"))
    var limit = 100
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard (1...1_000_000).contains(limit) else { throw ValidationError("--limit must be 1 to 1000000.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let (kind, jobs) = try await context.withJobs(cluster, api: target.api) { client in
            (client.kind, try await list(client))
        }
        try context.show(JobListDocument(jobs: jobs, next: nil), as: format.output) {
            JobTable.render(jobs, kind: kind, now: context.clock.now(), style: $0)
        }
    }

    /// All jobs that were asked for, page by page.
    private func list(_ client: JobClient) async throws -> [JobStatusDocument] {
        var found: [JobStatusDocument] = []
        var before: RequestID?
        while found.count < limit {
            let page = try await client.jobs(
                status: status, before: before, limit: min(limit - found.count, Limits.listPage))
            found += page.jobs
            guard let next = page.next, next != before, !page.jobs.isEmpty else { break }
            before = next
        }
        return found
    }
}
