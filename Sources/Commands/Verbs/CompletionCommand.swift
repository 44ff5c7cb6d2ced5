import ArgumentParser
import Core

struct CompletionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion",
        abstract: "Print a completion script for bash, zsh or fish.",
        discussion: """
            Examples:
              source <(cortex completion bash)
              cortex completion zsh > ~/.zsh/completions/_cortex
            """)

    @Argument(help: "bash, zsh or fish.")
    var shell: String

    func run() async throws {
        guard let shell = CompletionShell(rawValue: shell) else {
            throw PlatformError(.usage, "there is no completion for \(shell); choose bash, zsh or fish")
        }
        try CommandContext.live().console.print(CortexCommand.completionScript(for: shell))
    }
}
