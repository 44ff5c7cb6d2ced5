import APIConfiguration
import Client
import Core
import Platform
import Support

/// The problems of a file: on a terminal with the lines of the file, else one line for each problem.
///
/// The server decides and the CLI prints: with any versions, what is shown is what the server found, and the file is
/// the one that was sent.
struct ProblemReport: Sendable {
    /// The name of standard input in reports.
    static let standardInput = "standard input"

    /// The file as it was named on the command line.
    var path: String
    var content: [UInt8]
    var console: Console

    /// Runs a call that sends the file; when the server refuses it, the problems are shown and the command ends with
    /// status 1.
    func explaining<Result: Sendable>(_ call: () async throws -> Result) async throws -> Result {
        do {
            return try await call()
        } catch let error as PlatformError {
            guard let problems = (error.cause as? RejectedFile)?.problems else { throw error }
            throw explain(problems, consequence: "nothing was deployed")
        }
    }

    /// Shows problems.
    ///
    /// - Returns: the error that is left to throw.
    func explain(_ problems: [ReportedProblem], consequence: String?) -> PlatformError {
        console.note(Self.text(of: problems, path: path, content: content, style: console.errorStyle))
        let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        return PlatformError(
            .configurationInvalid, "\(path.inOneLine) has \(count)" + (consequence.map { "; \($0)" } ?? ""))
    }

    static func text(
        of problems: [ReportedProblem], path: String, content: [UInt8], style: TextStyle
    ) -> String {
        guard style.isTerminal else {
            return problems.map { $0.inOneLine(file: path).inOneLine }.joined(separator: "\n")
        }
        return ProblemRenderer(
            file: path, source: SourceText(content), columns: style.size?.columns ?? 80, hasColor: style.hasColor
        ).render(problems) + "\n"
    }
}

/// `deploy --check`: the problems that this version finds in a file, without a platform.
struct FileCheck: Encodable {
    struct API: Encodable {
        var name: String
        var kind: String
        /// `nil` without schedules.
        var schedules: [Schedule]?
    }

    struct Schedule: Encodable {
        var name: String
        var suspended: Bool
        /// The next planned times, RFC 3339.
        var next: [String]
    }

    /// The number of planned times that are shown of each schedule (contract J14).
    private static let plannedTimes = 3

    var file: String
    /// Empty when there is any problem.
    var apis: [API]
    var problems: [ReportedProblem]

    /// - Parameters:
    ///   - file: the file's name in the report.
    ///   - now: schedules are shown with the planned times after it.
    /// - Throws: `not_supported` if this machine lacks the data of a time zone.
    init(_ upload: ConfigurationUpload, file: String, now: Timestamp) throws {
        let result = ConfigurationFile.parse(
            upload.content, fileName: upload.fileName, baseDirectory: upload.directory,
            submissions: ScheduleCheck.problems)
        self.file = file
        self.problems = result.obstacles.map { ReportedProblem($0) }
        self.apis =
            try problems.isEmpty
            ? result.specifications.map { api in
                let schedules = try api.jobs?.schedules.map { schedule in
                    Schedule(
                        name: schedule.name, suspended: schedule.isSuspended,
                        next: try ScheduleCheck.plannedTimes(Self.plannedTimes, of: schedule, after: now))
                }
                return API(
                    name: api.name, kind: api.kind.name.rawValue,
                    schedules: schedules?.isEmpty == true ? nil : schedules)
            } : []
    }

    /// What is printed of a file without problems.
    func text(path: String) -> String {
        var lines = ["\(path) is good: \(apis.map { "\($0.name) (\($0.kind))" }.joined(separator: ", "))"]
        for api in apis {
            for schedule in api.schedules ?? [] {
                lines.append(
                    "schedule \(schedule.name) of \(api.name)\(schedule.suspended ? " (suspended)" : ""): next times")
                lines += schedule.next.map { "  \($0)" }
            }
        }
        return lines.joined(separator: "\n")
    }

    /// - Throws: when there are problems, after they have been shown.
    func show(_ report: ProblemReport, _ context: CommandContext, as format: OutputFormat) throws {
        if format != .pretty || problems.isEmpty {
            try context.show(self, as: format) { _ in text(path: report.path) }
        }
        guard !problems.isEmpty else { return }
        throw report.explain(problems, consequence: nil)
    }
}
