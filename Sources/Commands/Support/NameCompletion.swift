import ArgumentParser
import Client
import Core
import Support
import Wire

/// Names that only the platform or `cli.yaml` knows, for the scripts that the argument parser generates.
extension CompletionKind {
    static let environments = names { line in
        try line.context.environments.load().environments.map { ($0.name, $0.operatorEndpoint) }
    }

    /// APIs of the kinds that the line's command is for.
    static let apis = names { line in
        try await line.askOperator { client in
            try await client.apis().filter { line.kinds.contains(APITable.kind(of: $0)) }.map { api in
                (APITable.name(of: api), api.status.map { "\($0.ready)/\($0.requested) live" } ?? "")
            }
        }
    }

    /// Replicas of the line's API.
    static let replicas = names { line in
        try await line.askOperator(aboutAPI: { client, api in
            try await client.describe(api).status?.replicas?.map { ($0.id, DescribeView.title(of: $0.state)) } ?? []
        })
    }

    /// Containers of the line's API.
    static let containers = names { line in
        try await line.askOperator(aboutAPI: { client, api in
            try await client.api(api).spec?.pod?.containers.map { ($0.name, $0.image ?? "") } ?? []
        })
    }

    /// Targets of the line's TrafficSplitter, each with the sign that its weight follows.
    static let targets = names { line in
        try await line.askOperator(aboutAPI: { client, api in
            SplitterView.weights(of: try await client.api(api)).map { ("\($0.name)=", "now \($0.weight)") }
        })
    }

    /// Versions of the line's API.
    static let versions = names { line in
        let now = line.context.clock.now()
        return try await line.askOperator(aboutAPI: { client, api in
            try await client.api(api).apiVersions?.map {
                ($0.apiID, "deployed \(Age.since(seconds: $0.lastUpdated, now: now)) ago")
            } ?? []
        })
    }

    /// Versions of the line's API, and ids of its newest jobs.
    static let versionsAndJobs = names { line in
        let now = line.context.clock.now()
        return try await line.askOperator(aboutAPI: { client, api in
            let api = try await client.api(api)
            let versions = (api.apiVersions ?? []).map {
                ($0.apiID, "deployed \(Age.since(seconds: $0.lastUpdated, now: now)) ago")
            }
            return JobTable.jobs(of: api).map { ("\($0.jobID)", $0.status.words) } + versions
        })
    }

    /// Ids of the newest requests or jobs of the line's API.
    ///
    /// - Parameters:
    ///   - statuses: those of requests that the command accepts; `nil` stands for any.
    ///   - jobs: those of jobs.
    static func submissions(
        _ statuses: [RequestStatus?] = [nil], jobs: Set<JobStatus> = Set(JobStatus.allCases)
    ) -> CompletionKind {
        names { line in
            let now = line.context.clock.now()
            return try await line.askOperator(aboutAPI: { client, api in
                do {
                    var found: [CompletionLine.Candidate] = []
                    for status in statuses {
                        found += try await client.requests(api, status: status, limit: 50).requests.map {
                            (
                                $0.id.description,
                                "\($0.status.rawValue), \(Age.since(rfc3339: $0.submittedAt, now: now)) ago"
                            )
                        }
                    }
                    return found
                } catch let error as PlatformError where !error.isPassing {
                    return try await line.jobs(client, api, jobs)
                }
            })
        }
    }

    /// Ids of the newest jobs of the line's API.
    static func jobs(_ statuses: Set<JobStatus> = Set(JobStatus.allCases)) -> CompletionKind {
        names { line in
            try await line.askOperator(aboutAPI: { client, api in try await line.jobs(client, api, statuses) })
        }
    }

    /// Schedules of the line's API.
    static let schedules = names { line in
        try await line.askOperator(aboutAPI: { client, api in
            try await line.jobClient(client, api)?.schedules().schedules.map {
                ($0.name, "\($0.state.rawValue), \($0.cron ?? "every \($0.every ?? 0)s")")
            } ?? []
        })
    }

    private static func names(
        _ find: @escaping @Sendable (CompletionLine) async throws -> [CompletionLine.Candidate]
    ) -> CompletionKind {
        .custom { words, index, _ in
            let line = await CompletionLine(words: words, index: index, context: .live())
            return await line.candidates(find)
        }
    }
}

/// A command of which a name can be completed that belongs to an API.
protocol APICommand: AsyncParsableCommand {
    /// The kinds of API that it is for.
    static var kinds: Set<APIKind> { get }
    var target: APIArgument { get }
    var environment: EnvironmentOption { get }
}

extension APICommand {
    static var kinds: Set<APIKind> { Set(APIKind.allCases) }
}

/// A command line in which a name is being completed.
struct CompletionLine: Sendable {
    typealias Candidate = (name: String, description: String)

    let context: CommandContext
    /// The value of `--env`.
    private(set) var environment: String?
    private(set) var api: String?
    /// The kinds of API that the line's command is for.
    private(set) var kinds = Set(APIKind.allCases)

    /// Reads the line with the argument parser itself. A line that it does not accept names nothing.
    ///
    /// - Parameters:
    ///   - words: all words as they were typed, the program's name first.
    ///   - index: the word to complete.
    init(words: [String], index: Int, context: CommandContext) async {
        self.context = context
        guard words.indices.contains(index), index > 0 else { return }
        // Stands for the word that is not complete yet; every argument that takes a name accepts this text.
        let placeholder = "00000000-0000-7000-8000-000000000000"
        let word = words[index]
        let option = word.hasPrefix("--") ? word.firstIndex(of: "=").map { String(word[...$0]) } : nil
        let typed = words[1..<index].map(Self.unquoted) + [(option ?? "") + placeholder]
        guard let expanded = try? CommandAbbreviation.expand(typed, root: CortexCommand.self),
            let command = try? await CortexCommand.asyncParseAsRoot(expanded)
        else { return }
        if let command = command as? any APICommand {
            (environment, api) = (command.environment.environment, command.target.api)
            kinds = type(of: command).kinds
        } else if let command = command as? GetCommand {
            (environment, api) = (command.environment.environment, command.api)
        }
    }

    /// A word without its quotes and backslashes; nothing is expanded.
    static func unquoted(_ word: String) -> String {
        var text = ""
        var quote: Character?
        var isEscaped = false
        for character in word {
            if isEscaped {
                text.append(character)
                isEscaped = false
            } else if character == "\\", quote != "'" {
                isEscaped = true
            } else if character == quote {
                quote = nil
            } else if quote == nil, character == "'" || character == "\"" {
                quote = character
            } else {
                text.append(character)
            }
        }
        return text
    }

    /// The names that `find` returns, in the shell's format. An error or a late answer gives no name, because a message
    /// would end up in the line that the user types.
    func candidates(_ find: @escaping @Sendable (CompletionLine) async throws -> [Candidate]) async -> [String] {
        let found = await withTaskGroup(of: [Candidate].self) { group in
            group.addTask { (try? await find(self)) ?? [] }
            group.addTask {
                // Cancelled once there are names.
                try? await context.clock.sleep(for: timeout)
                return []
            }
            let first = await group.next() ?? []
            group.cancelAll()
            return first
        }
        return found.filter { Self.isPlain($0.name) }.map { name, description in
            let description = description.inOneLine
            switch CompletionShell.requesting {
            case .zsh? where !description.isEmpty: return "\(name.replacing(":", with: "\\:")):\(description)"
            case .fish? where !description.isEmpty: return "\(name)\t\(description)"
            default: return name
            }
        }
    }

    /// Longest time that a key press may take. `CORTEX_COMPLETION_TIMEOUT` sets another, in seconds, for a platform
    /// far away.
    private var timeout: Duration {
        let seconds = context.variables["CORTEX_COMPLETION_TIMEOUT"].flatMap(Int.init).map { max(0, min($0, 600)) }
        return seconds.map { .seconds($0) } ?? .milliseconds(1500)
    }

    /// Whether a shell takes the name literally. Others are not offered: bash expands what it is given, and a server
    /// must not be able to run a command (contract N9).
    static func isPlain(_ name: String) -> Bool {
        // A target of a splitter ends with the sign that its weight follows.
        let name = name.hasSuffix("=") ? name.dropLast() : name[...]
        return !name.isEmpty
            && name.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "-_.:@/+,".utf8.contains(byte)
            }
    }

    func askOperator(_ find: @Sendable (OperatorClient) async throws -> [Candidate]) async throws -> [Candidate] {
        try await context.withOperator(try context.environments.load().resolve(environment), find)
    }

    /// `nil` for an API without jobs.
    func jobClient(_ client: OperatorClient, _ api: String) async throws -> JobClient? {
        JobClient(client, api: api, kind: APITable.kind(of: try await client.api(api)), clock: context.clock)
    }

    func jobs(_ client: OperatorClient, _ api: String, _ statuses: Set<JobStatus>) async throws -> [Candidate] {
        let jobs = try await jobClient(client, api)?.jobs(limit: 50).document.jobs ?? []
        return jobs.filter { statuses.contains($0.status) }.map { ("\($0.jobID)", $0.status.words) }
    }

    /// Empty where the line names no API.
    func askOperator(
        aboutAPI find: @Sendable (_ client: OperatorClient, _ api: String) async throws -> [Candidate]
    ) async throws -> [Candidate] {
        guard let api else { return [] }
        return try await askOperator { try await find($0, api) }
    }
}
