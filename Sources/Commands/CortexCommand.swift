import ArgumentParser

/// `cortex`: the list of its verbs.
struct CortexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cortex",
        abstract: "Deploy containers as asynchronous APIs: submit a request, get an id, fetch the result.",
        discussion: """
            A first try:
              cortex up                                  run the platform (leave it running)
              cortex deploy cortex.yaml --wait           deploy the APIs of a file
              cortex submit hello -d '{}' --wait         send a request and print its result
            """,
        groupedSubcommands: [
            CommandGroup(name: "Platform", subcommands: [UpCommand.self, DoctorCommand.self]),
            CommandGroup(
                name: "APIs",
                subcommands: [
                    DeployCommand.self, GetCommand.self, DescribeCommand.self, LogsCommand.self, RefreshCommand.self,
                    DeleteCommand.self,
                ]),
            CommandGroup(
                name: "Requests",
                subcommands: [
                    SubmitCommand.self, ResultCommand.self, RequestsCommand.self, CancelCommand.self,
                    RetryCommand.self,
                ]),
            CommandGroup(
                name: "This CLI",
                subcommands: [EnvironmentCommand.self, VersionCommand.self, CompletionCommand.self]),
        ])
}
