import ArgumentParser
import Client
import Core

struct EnvironmentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env",
        abstract: "Manage environments: which clusters this CLI talks to.",
        discussion: """
            They stand in cli.yaml in ~/.cortex, or where CORTEX_CLI_CONFIG_DIR says.
            cortex up makes the environment "local" by itself.

            Examples:
              cortex env list
              cortex env configure office -o https://cortex.example.com --token-stdin < token.txt
              cortex env default office
            """,
        subcommands: [
            EnvironmentListCommand.self, EnvironmentConfigureCommand.self, EnvironmentDefaultCommand.self,
            EnvironmentRenameCommand.self, EnvironmentDeleteCommand.self,
        ])
}

struct EnvironmentListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List all environments.",
        discussion: """
            Example:
              cortex env list
            """)

    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let file = try context.environments.load()
        try context.show(EnvironmentsView.Document(file), as: format.output) {
            EnvironmentsView.render(file, style: $0)
        }
    }
}

struct EnvironmentDefaultCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "default", abstract: "Choose the default environment, or say which it is.",
        discussion: """
            Examples:
              cortex env default
              cortex env default office
            """)

    @Argument(help: ArgumentHelp("The new default.", valueName: "environment"), completion: .environments)
    var name: String?
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        guard let name else {
            let name = try context.environments.load().resolve(nil).name
            return try context.show(["default_environment": name], as: format.output) { _ in name }
        }
        try context.environments.update { try $0.setDefault(name) }
        try context.say("\(name) is the default environment", as: format.output)
    }
}

struct EnvironmentRenameCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rename", abstract: "Give an environment another name.",
        discussion: """
            Example:
              cortex env rename office work
            """)

    @Argument(help: ArgumentHelp("Its present name.", valueName: "environment"), completion: .environments)
    var old: String
    @Argument(help: "Its new name.")
    var new: String
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        try context.environments.update { try $0.rename(old, to: new) }
        try context.say("\(old) is now \(new)", as: format.output)
    }
}

struct EnvironmentDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Forget an environment; nothing happens to its cluster.",
        discussion: """
            Example:
              cortex env delete office
            """)

    @Argument(help: ArgumentHelp("Its name.", valueName: "environment"), completion: .environments)
    var name: String
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        try context.environments.update { try $0.remove(name) }
        try context.say("\(name) is deleted", as: format.output)
    }
}
