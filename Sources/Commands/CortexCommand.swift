import APIConfiguration
import ArgumentParser
import Core
import Foundation
import Support

/// `cortex`: the list of its verbs.
struct CortexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cortex",
        abstract: "Deploy containers as APIs: call them directly, or submit requests and fetch results.",
        discussion: """
            A first try:
              cortex up                             run the platform; leave it running
              cortex deploy cortex.yaml --wait      deploy the APIs of a file
              cortex submit hello -d '{}' --wait    send a request, print its result

            Names of commands may be shortened: cortex desc hello.
            """,
        version: CortexVersion.current,
        groupedSubcommands: [
            CommandGroup(name: "Platform", subcommands: [UpCommand.self, ClusterCommand.self, DoctorCommand.self]),
            CommandGroup(
                name: "API",
                subcommands: [
                    DeployCommand.self, GetCommand.self, DescribeCommand.self, LogsCommand.self, RefreshCommand.self,
                    RollbackCommand.self, SplitCommand.self, DeleteCommand.self,
                ]),
            CommandGroup(
                name: "Request",
                subcommands: [
                    CallCommand.self, SubmitCommand.self, ResultCommand.self, RequestsCommand.self,
                    CancelCommand.self, RetryCommand.self,
                ]),
            CommandGroup(
                name: "Job",
                subcommands: [
                    JobsCommand.self, ResultsCommand.self, ArtifactsCommand.self, SchedulesCommand.self,
                    ScheduleCommand.self,
                ]),
            CommandGroup(
                name: "CLI",
                subcommands: [
                    EnvironmentCommand.self, VersionCommand.self, CompletionCommand.self, SchemaCommand.self,
                ]),
        ])
}

/// The CLI's entry: parses, runs, and turns an error into a message and an exit status.
package enum CortexMain {
    /// Runs the process's command and ends the process.
    package static func run() async -> Never {
        let arguments = Array(CommandLine.arguments.dropFirst())
        UpCommand.takeSignals(arguments)
        exit(await run(arguments))
    }

    /// Runs a command.
    ///
    /// - Returns: the exit status.
    static func run(_ arguments: [String]) async -> Int32 {
        let console = Console(environment: ProcessInfo.processInfo.environment)
        do {
            let words = try CommandAbbreviation.expand(arguments, root: CortexCommand.self)
            var command = try await CortexCommand.asyncParseAsRoot(words)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return ExitStatus.success
        } catch {
            let status = ExitStatus(error)
            // A completion script of another version called: a message would end up in the line that the user types.
            if arguments.first == "---completion", status.code != ExitStatus.success { return ExitStatus.success }
            if let message = status.message, !message.isEmpty {
                switch status.channel {
                case .output: try? console.print(message)
                case .errors: console.note(message)
                }
            }
            return status.code
        }
    }
}

/// Command names may be shortened to a prefix that only one of them has: `cortex desc hello`. Contract O2 demands it
/// (reference: cortex.md §9.1), and the argument parser knows only whole names.
enum CommandAbbreviation {
    /// - Throws: ``PlatformError`` `usage` for a name that no command has, or more than one.
    static func expand(_ arguments: [String], root: any ParsableCommand.Type) throws -> [String] {
        var arguments = arguments
        var parent: any ParsableCommand.Type = root
        var path = root._commandName
        for index in arguments.indices {
            let word = arguments[index]
            let children = parent.configuration.subcommands
            guard !children.isEmpty, !word.isEmpty, !word.hasPrefix("-") else { break }
            let names = children.map { $0._commandName } + ["help"]
            var matches = names.contains(word) ? [word] : names.filter { $0.hasPrefix(word) }
            // `res` is result, not results: the name that all others begin with.
            if let first = matches.min(by: { $0.count < $1.count }), matches.allSatisfy({ $0.hasPrefix(first) }) {
                matches = [first]
            }
            guard let match = matches.first else {
                let near = NearestKey.find(word, among: names)
                throw PlatformError(
                    .usage,
                    "there is no command \"\(path) \(word.inOneLine)\"; "
                        + (near.map { "did you mean \($0)?" } ?? "see: \(path) --help"))
            }
            guard matches.count == 1 else {
                throw PlatformError(
                    .usage, "\"\(word)\" could be \(matches.sorted().joined(separator: ", ")); write more of it")
            }
            arguments[index] = match
            // `help` is followed by names that may be shortened too, but by no command of its own.
            if match != "help" {
                parent = children.first { $0._commandName == match } ?? parent
                path += " \(match)"
            }
        }
        return arguments
    }
}
