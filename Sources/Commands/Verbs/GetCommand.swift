import ArgumentParser
import Client
import Core
import NIOCore
import Wire

struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "List deployed APIs, or show one, or one of its jobs.",
        discussion: """
            Without a name it lists the APIs of all environments.

            Examples:
              cortex get
              cortex get hello --verbose
              cortex get hello 5c3f… -o yaml     one of its versions
              cortex get hello -o json
              cortex get sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab    one of its jobs
            """)

    @Argument(help: ArgumentHelp("Name of an API.", valueName: "api"), completion: .apis)
    var api: String?
    @Argument(
        help: ArgumentHelp(
            "One of its versions, as its history lists them, or the id of a job.", valueName: "version"),
        completion: .versionsAndJobs)
    var version: String?
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var watch: WatchOption
    @OptionGroup var format: OutputOption
    @Flag(name: .shortAndLong, help: "Also show the whole specification.")
    var verbose = false

    func validate() throws {
        try watch.validate(with: format.output)
    }

    func run() async throws {
        let context = CommandContext.live()
        if watch.watch {
            let title = "cortex get\(api.map { " \($0)" } ?? "")"
            try await Watch(console: context.console, clock: context.clock, title: title).run {
                try await text(context, isQuiet: true)
            }
        } else {
            try context.console.print(try await text(context, isQuiet: false))
        }
    }

    private func text(_ context: CommandContext, isQuiet: Bool) async throws -> String {
        if let api { return try await one(api, context, isQuiet: isQuiet) }
        if environment.environment != nil { return try await list(context) }
        return try await listEverywhere(context, isQuiet: isQuiet)
    }

    private func one(_ name: String, _ context: CommandContext, isQuiet: Bool) async throws -> String {
        let target = try context.resolve(
            environment.environment, announce: format.output == .pretty && !isQuiet)
        // No id of a version has the form of a job's id.
        if let job = version.flatMap({ RequestID($0) }) { return try await self.job(job, of: name, target, context) }
        let version = version
        let (api, deployed) = try await context.withOperator(target) { client in
            let api = try await client.apiWithText(name, version: version)
            let isView = version == nil && format.output == .pretty
            return (api, isView ? try await client.apis(for: api.document) : [])
        }
        return try format.output.render([api.document], text: api.text)
            ?? APIView.render(
                api.document, deployed: deployed, environment: target.name,
                showsEnvironment: environment.environment == nil,
                verbose: verbose || version != nil,
                now: context.clock.now(), style: context.console.style)
    }

    private func job(
        _ id: RequestID, of name: String, _ target: Environment, _ context: CommandContext
    ) async throws -> String {
        let snapshot = try await context.withJobs(target, api: name) { jobs in
            try await JobOutput.findingJob(name) { try await jobs.job(id) }
        }
        return try JobOutput(context: context, format: format.output, api: name).text(of: snapshot.document) {
            try JobView.render(
                snapshot.job, config: snapshot.config, now: context.clock.now(), style: context.console.style)
        }
    }

    private func list(_ context: CommandContext) async throws -> String {
        let target = try context.resolve(environment.environment)
        let apis = try await context.withOperator(target) { try await $0.apisWithText() }
        if let text = try format.output.render(apis.document, text: apis.text) { return text }
        let rows = apis.document.map { APITable.Row(environment: target.name, api: $0) }
        return try draw(rows, showsEnvironment: false, context)
    }

    private func listEverywhere(_ context: CommandContext, isQuiet: Bool) async throws -> String {
        let environments = try context.environments.load().environments
        // Fails with the next step if there is none.
        if environments.isEmpty { _ = try context.resolve(nil) }
        let answers = await EnvironmentAnswer.gather(from: environments, context: context)
        if let text = try format.output.render(answers.map(\.document), text: EnvironmentAnswer.text(answers)) {
            return text
        }
        let failures = answers.compactMap(\.error)
        let rows = answers.flatMap { answer in
            answer.apis.map { APITable.Row(environment: answer.environment, api: $0) }
        }
        if rows.isEmpty, let first = failures.first { throw first }
        if !isQuiet {
            for answer in answers where answer.error != nil {
                context.console.note("error: environment \(answer.environment): \(answer.error?.message ?? "")")
            }
        }
        return try draw(rows, showsEnvironment: true, context)
    }

    private func draw(_ rows: [APITable.Row], showsEnvironment: Bool, _ context: CommandContext) throws -> String {
        guard !rows.isEmpty else {
            let hint = context.console.style.isTerminal ? "; deploy one with: cortex deploy cortex.yaml" : ""
            return "no apis are deployed\(hint)"
        }
        var text = APITable.render(
            rows, showsEnvironment: showsEnvironment, now: context.clock.now(), style: context.console.style)
        if verbose {
            for row in rows {
                guard let spec = row.api.spec else { continue }
                text += "\n\n" + context.console.style.bold(APITable.name(of: row.api)) + "\n"
                text += try DocumentText.value(of: spec).yaml().trimmedEnd
            }
        }
        return text
    }
}

/// The answer of one environment to `get`.
struct EnvironmentAnswer: Sendable {
    var environment: String
    var apis: [APIDocument]
    /// The operator's text of them.
    var text: ByteBuffer
    var error: PlatformError?

    /// The original's shape: `error` is an empty text where there is none.
    struct Document: Encodable {
        var envName: String
        var apis: [APIDocument]
        var error: String

        enum CodingKeys: String, CodingKey {
            case apis, error
            case envName = "env_name"
        }
    }

    var document: Document { Document(envName: environment, apis: apis, error: error?.message ?? "") }

    /// The same documents with the operators' own text of the APIs.
    static func text(_ answers: [EnvironmentAnswer]) -> ByteBuffer {
        var text = ByteBuffer()
        for answer in answers {
            text.writeString(text.readableBytes == 0 ? "[{\"apis\":" : ",{\"apis\":")
            text.writeImmutableBuffer(answer.text)
            text.writeString(",\"env_name\":\(JSONText.quoted(answer.environment))")
            text.writeString(",\"error\":\(JSONText.quoted(answer.error?.message ?? ""))}")
        }
        text.writeString(text.readableBytes == 0 ? "[]" : "]")
        return text
    }

    /// Asks all environments at the same time; in their order.
    static func gather(from environments: [Environment], context: CommandContext) async -> [EnvironmentAnswer] {
        await withTaskGroup(of: (Int, EnvironmentAnswer).self) { group in
            for (index, environment) in environments.enumerated() {
                group.addTask { (index, await ask(environment, context: context)) }
            }
            var answers: [(Int, EnvironmentAnswer)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func ask(_ environment: Environment, context: CommandContext) async -> EnvironmentAnswer {
        do {
            let apis = try await context.withOperator(environment) { try await $0.apisWithText(timeout: .seconds(10)) }
            return EnvironmentAnswer(environment: environment.name, apis: apis.document, text: apis.text)
        } catch {
            let error = error as? PlatformError ?? PlatformError(.internal, "\(error)", cause: error)
            return EnvironmentAnswer(
                environment: environment.name, apis: [], text: ByteBuffer(string: "[]"), error: error)
        }
    }
}
