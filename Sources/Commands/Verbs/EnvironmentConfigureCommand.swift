import ArgumentParser
import Client
import Core
import Foundation
import Support

struct EnvironmentConfigureCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "configure", abstract: "Create an environment, or change it.",
        discussion: """
            The URL is checked first. If nothing answers, the environment is still
            created. Without a scheme, the URL gets http for this machine and
            https for all others.

            The token comes from --token-stdin, CORTEX_TOKEN, an environment of the same
            URL, or a prompt on a terminal. It is not an argument, because other users
            of this machine can see arguments.

            Examples:
              cortex env configure local -o localhost:8888
              cortex env configure office -o https://example.com --token-stdin < token.txt
            """)

    @Argument(help: ArgumentHelp("The environment's name.", valueName: "environment"), completion: .environments)
    var name: String
    @Option(
        name: [.customShort("o"), .long],
        help: ArgumentHelp("URL of the operator (CORTEX_OPERATOR_ENDPOINT).", valueName: "url"))
    var operatorEndpoint: String?
    @Flag(help: "Read the operator's token from standard input (or set CORTEX_TOKEN).")
    var tokenStdin = false
    /// Refused, with a message that names what replaces it.
    @Option(help: .hidden)
    var token: String?
    // `-o` is the endpoint here, as in the original.
    @Option(name: .customLong("output"), help: ArgumentHelp("Format of the output.", valueName: "format"))
    var output: OutputFormat = .pretty

    func validate() throws {
        if let problem = Environment.problem(withName: name) { throw ValidationError(problem) }
        if token != nil {
            throw ValidationError(
                "--token is not accepted: other users can see a command's arguments. Use --token-stdin or CORTEX_TOKEN."
            )
        }
        if let operatorEndpoint, let format = OutputFormat(rawValue: operatorEndpoint) {
            throw ValidationError("-o is the operator's URL here; the format is --output \(format.rawValue).")
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let console = context.console
        let file = try context.environments.load()
        let endpoint = try EndpointURL(try url(context, present: file[name]?.operatorEndpoint))
        var environment = file[name] ?? Environment(name: name, operatorEndpoint: endpoint.text)
        let known = stored(file, endpoint)
        if environment.operatorEndpoint != endpoint.text {
            environment.token = nil
            environment.operatorSocket = nil
        }
        environment.operatorEndpoint = endpoint.text
        environment.token = try await givenToken(context) ?? environment.token ?? known?.token
        environment.operatorSocket = environment.operatorSocket ?? known?.operatorSocket
        let obstacle = try await Self.obstacle(environment, context)
        if environment.token == nil, console.canAsk {
            environment.token = try Prompt.secret("token of \(endpoint)", console: console)
                .flatMap { try TokenText.clean($0, from: "the answer") }
        }
        let made = environment
        let isDefault = try context.environments.update { file in
            file.put(made)
            return file.defaultEnvironment == made.name
        }
        try context.say("environment \(name) is configured\(isDefault ? ", and the default" : "")", as: output)
        if let obstacle { console.note("it could not be checked: \(obstacle.message)") }
        guard made.token != nil else {
            return console.note(
                "no token is known for \(endpoint), so its calls will be refused; give it with: cortex env configure \(name) -o \(endpoint) --token-stdin"
            )
        }
        guard obstacle == nil else { return }
        do {
            _ = try await context.withOperator(made) { try await $0.info() }
        } catch let error as PlatformError where error.code == .unauthorized {
            console.note("the token is not accepted by \(endpoint), but it is stored: \(error.message)")
        }
    }

    /// Checks that an operator answers there.
    ///
    /// - Returns: why it could not be checked: the platform may not run yet, which is no reason not to make the
    ///   environment (contract O1).
    private static func obstacle(_ environment: Client.Environment, _ context: CommandContext) async throws
        -> PlatformError?
    {
        do {
            try await context.withOperator(environment) { try await $0.verify() }
            return nil
        } catch let error as PlatformError where error.isPassing && !(error.cause is NotAnOperator) {
            return error
        }
    }

    private func url(_ context: CommandContext, present: String?) throws -> String {
        if let operatorEndpoint { return operatorEndpoint }
        let known = context.variables["CORTEX_OPERATOR_ENDPOINT"].flatMap { $0.isEmpty ? nil : $0 }
        if let known { return known }
        if context.console.canAsk {
            let hint = present.map { " [\(EndpointURL.withoutSecrets($0))]" } ?? ""
            if let url = Prompt.line("operator endpoint\(hint)", console: context.console) ?? present { return url }
        } else if let present {
            return present
        }
        throw PlatformError(.usage, "the operator's URL is missing; give it with: cortex env configure \(name) -o URL")
    }

    private func givenToken(_ context: CommandContext) async throws -> String? {
        if tokenStdin {
            let text = try await blocking {
                String(decoding: try FileHandle.standardInput.read(upToCount: 64 << 10) ?? Data(), as: UTF8.self)
            }
            guard let token = try TokenText.clean(text, from: "standard input") else {
                throw PlatformError(.usage, "standard input has no token; give it like this: --token-stdin < token.txt")
            }
            return token
        }
        return try context.variables["CORTEX_TOKEN"].flatMap { try TokenText.clean($0, from: "CORTEX_TOKEN") }
    }

    /// An environment of the same URL.
    private func stored(_ file: EnvironmentFile, _ endpoint: EndpointURL) -> Client.Environment? {
        file.environments.first { environment in
            environment.token != nil && (try? EndpointURL(environment.operatorEndpoint)) == endpoint
        }
    }
}
