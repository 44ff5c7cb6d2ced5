import ArgumentParser
import Core

/// `cortex`: the list of its verbs.
struct CortexCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cortex",
        abstract: "Deploy containers as asynchronous APIs: submit a request, get an id, fetch the result.",
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
                    RollbackCommand.self, DeleteCommand.self,
                ]),
            CommandGroup(
                name: "Request",
                subcommands: [
                    SubmitCommand.self, ResultCommand.self, RequestsCommand.self, CancelCommand.self,
                    RetryCommand.self,
                ]),
            CommandGroup(
                name: "CLI",
                subcommands: [
                    EnvironmentCommand.self, VersionCommand.self, CompletionCommand.self, SchemaCommand.self,
                ]),
        ])
}
