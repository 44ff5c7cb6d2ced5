import ArgumentParser
import Client
import Core
import Support
import Wire

struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Print what an API's containers wrote.",
        discussion: """
            Each line begins with its replica and container. With -o json each line
            is a JSON document: replica, container and text.

            Examples:
              cortex logs hello
              cortex logs hello --follow --tail 20
              cortex logs hello --container model
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Go on printing new lines until Ctrl-C.")
    var follow = false
    @Option(help: "Only this replica (names: cortex describe).")
    var replica: String?
    @Option(help: "Only this container of each replica.")
    var container: String?
    @Option(help: ArgumentHelp("Only the last lines of each container.", valueName: "count"))
    var tail: Int?
    @Flag(help: "Only one replica, whichever; implies --follow.")
    var randomPod = false
    @Flag(name: .shortAndLong, help: .hidden)
    var yes = false
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard format.output != .yaml else { throw ValidationError("logs come as pretty or json.") }
        guard (tail ?? 0) >= 0 else { throw ValidationError("--tail must be 0 or more.") }
        guard !randomPod || replica == nil else {
            throw ValidationError("--random-pod and --replica cannot be combined.")
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        try await context.withOperator(cluster) { client in
            var options = LogOptions(
                follow: follow || randomPod, tail: tail, replica: replica, container: container)
            if randomPod {
                let replicas = try await client.describe(target.api).status?.replicas ?? []
                options.replica = (replicas.first { $0.state == .ready } ?? replicas.first)?.id
            }
            var printer = LogPrinter(style: context.console.style)
            for try await line in try await client.logs(target.api, options: options) {
                if format.output != .pretty {
                    try context.console.print(try JSONText.line(line))
                    continue
                }
                if let notice = line.notice { context.console.note(notice.inOneLine) }
                guard let text = line.text else { continue }
                try context.console.print(
                    printer.line(replica: line.replica ?? "-", container: line.container ?? "-", text: text))
            }
        }
    }
}
