import ArgumentParser
import Client
import Core
import Support
import Wire

struct EnvironmentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env",
        abstract: "Manage environments, the platforms that this CLI uses.",
        discussion: """
            They are stored in cli.yaml in ~/.cortex, or in CORTEX_CLI_CONFIG_DIR.
            cortex up creates the environment "local".

            Examples:
              cortex env list
              cortex env configure office -o https://example.com --token-stdin < token.txt
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
        commandName: "default", abstract: "Set the default environment, or print it.",
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

    @Argument(help: ArgumentHelp("Its current name.", valueName: "environment"), completion: .environments)
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
        commandName: "delete", abstract: "Remove an environment. Its platform is not changed.",
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

/// `cortex env list`.
enum EnvironmentsView {
    /// The original's shape; tokens are not shown.
    struct Document: Encodable {
        struct Entry: Encodable {
            var name: String
            var operatorEndpoint: String

            enum CodingKeys: String, CodingKey {
                case name
                case operatorEndpoint = "operator_endpoint"
            }
        }

        @OrNull var defaultEnvironment: String?
        var environments: [Entry]

        init(_ file: EnvironmentFile) {
            self.defaultEnvironment = file.defaultEnvironment
            self.environments = file.environments.map {
                Entry(name: $0.name, operatorEndpoint: EndpointURL.withoutSecrets($0.operatorEndpoint))
            }
        }

        enum CodingKeys: String, CodingKey {
            case environments
            case defaultEnvironment = "default_environment"
        }
    }

    static func render(_ file: EnvironmentFile, style: TextStyle) -> String {
        guard !file.environments.isEmpty else {
            return "no environment is configured; make one with: cortex up, or cortex env configure NAME -o URL"
        }
        return file.environments.map { environment in
            let mark = environment.name == file.defaultEnvironment ? " (default)" : ""
            let token = environment.token == nil ? "\ntoken: none" : ""
            return style.bold("\(environment.name)\(mark)".inOneLine)
                + "\ncortex operator endpoint: \(EndpointURL.withoutSecrets(environment.operatorEndpoint).inOneLine)\(token)"
        }.joined(separator: "\n\n")
    }
}
