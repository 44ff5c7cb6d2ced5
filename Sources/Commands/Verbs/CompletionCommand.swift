import ArgumentParser
import Core

struct CompletionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion",
        abstract: "Print a completion script for bash, zsh or fish.",
        discussion: """
            It completes commands, options, files, and the names of APIs, versions,
            replicas, containers, requests and environments.

            Examples:
              source <(cortex completion bash)        in ~/.bashrc
              source <(cortex completion zsh)         in ~/.zshrc, after compinit
              cortex completion fish | source         in ~/.config/fish/config.fish
            """)

    @Argument(help: "bash, zsh or fish.")
    var shell: CompletionScript

    func run() async throws {
        try CommandContext.live().console.print(shell.text)
    }
}
