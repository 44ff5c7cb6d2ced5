import ArgumentParser
import Foundation

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
            // The call of a completion script that does not fit this program: a message would stand in the line that
            // the user is typing.
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
