import ArgumentParser
import Foundation

/// The CLI's entry: parses, runs, and turns whatever goes wrong into a message and an exit status.
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
        if arguments.first == CompletionAnswer.command {
            // Somebody is typing: whatever goes wrong, there is just nothing to offer.
            try? await CompletionAnswer.run(Array(arguments.dropFirst()), context: .live())
            return ExitStatus.success
        }
        do {
            let words = try CommandAbbreviation.expand(arguments, root: CortexCommand.self)
            var command = try CortexCommand.parseAsRoot(ArgumentRepair.repair(words))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return ExitStatus.success
        } catch {
            let status = ExitStatus(error)
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
