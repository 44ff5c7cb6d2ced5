import ArgumentParser
import Client
import Core
import NIOCore
import Support
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
        let (kind, found) = try await context.withJobs(cluster, api: target.api) { client in
            (client.kind, try await list(client))
        }
        let jobs = found.document.jobs
        try context.console.print(
            try format.output.render(found.document, text: found.text)
                ?? JobTable.render(jobs, kind: kind, now: context.clock.now(), style: context.console.style))
    }

    /// All jobs that were asked for, page by page, as one page.
    private func list(_ client: JobClient) async throws -> DocumentWithText<JobListDocument> {
        var found: [JobStatusDocument] = []
        var text = ByteBuffer(string: "{\"jobs\":[")
        var before: RequestID?
        while found.count < limit {
            let page = try await client.jobs(
                status: status, before: before, limit: min(limit - found.count, Limits.listPage))
            let slices = JSONSlices(Array(page.text.readableBytesView))
            let jobs = slices.members(of: slices.whole)?.first { $0.name == "jobs" }.flatMap {
                slices.elements(of: $0.value)
            }
            for (index, job) in (jobs ?? []).enumerated() {
                if !found.isEmpty || index > 0 { text.writeString(",") }
                text.writeBytes(slices.bytes[job])
            }
            found += page.document.jobs
            guard let next = page.document.next, next != before, !page.document.jobs.isEmpty else { break }
            before = next
        }
        text.writeString("]}")
        return DocumentWithText(document: JobListDocument(jobs: found, next: nil), text: text)
    }
}
