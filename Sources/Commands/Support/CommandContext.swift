import Client
import Core
import Dispatch
import Foundation
import Support
import Wire

/// What a command uses of its process.
struct CommandContext: Sendable {
    let variables: [String: String]
    let console: Console
    let clock: any PlatformClock
    let environments: EnvironmentStore

    static func live() -> CommandContext {
        let variables = ProcessInfo.processInfo.environment
        return CommandContext(
            variables: variables, console: Console(environment: variables), clock: SystemClock(),
            environments: EnvironmentStore(environment: variables))
    }

    /// The environment to use. If there is only one, it becomes the default if the file can be written.
    func resolve(_ name: String?, announce: Bool = false) throws -> Environment {
        let file = try environments.load()
        let environment = try file.resolve(name)
        if name == nil, file.lacksObviousDefault {
            // A read-only file (inside a container) resolves the same way next time.
            try? environments.update { $0.adoptOnlyOne() }
        }
        if announce, name == nil, file.environments.count > 1 {
            console.note("using \(environment.name) environment\n")
        }
        return environment
    }

    /// Runs `body` with a client of the environment's operator.
    func withOperator<Result: Sendable>(
        _ environment: Environment, _ body: @Sendable (OperatorClient) async throws -> Result
    ) async throws -> Result {
        try await Transport.with { transport in
            try await body(OperatorClient(environment: environment, transport: transport))
        }
    }

    /// Runs `body` with a client of an AsyncAPI's endpoint, or of the jobs of a Batch or Task API.
    ///
    /// - Throws: ``PlatformError`` `not_supported` when the API is of another kind.
    func withSubmissions<Result: Sendable>(
        _ environment: Environment, api name: String, _ body: @Sendable (SubmissionClient) async throws -> Result
    ) async throws -> Result {
        let clock = clock
        return try await Transport.with { transport in
            let `operator` = try OperatorClient(environment: environment, transport: transport)
            let api = try await `operator`.api(name)
            if let jobs = JobClient(`operator`, api: name, kind: APITable.kind(of: api), clock: clock) {
                return try await body(.jobs(jobs))
            }
            try WrongKind.expect([.async], api, name: name)
            let gateway = try GatewayClient(
                api: api, name: name, environment: environment, transport: transport, clock: clock
            ) {
                // A new client: the folder of the platform's socket may be another one by then.
                let `operator` = try OperatorClient(environment: environment, transport: transport)
                return try await .gateway(of: `operator`.api(name, timeout: .seconds(5)), in: environment)
            }
            return try await body(.requests(gateway))
        }
    }

    /// Runs `body` with a client of the jobs of an API.
    ///
    /// - Parameter kinds: the kinds of API that the command is for.
    /// - Throws: ``PlatformError`` `not_supported` when the API is of another kind.
    func withJobs<Result: Sendable>(
        _ environment: Environment, api name: String, kinds: Set<APIKind> = APIKind.withJobs,
        _ body: @Sendable (JobClient) async throws -> Result
    ) async throws -> Result {
        try await withOperator(environment) { client in
            let api = try await client.api(name)
            try WrongKind.expect(kinds, api, name: name)
            guard let jobs = JobClient(client, api: name, kind: APITable.kind(of: api), clock: clock) else {
                throw WrongKind.error(api, name: name)
            }
            return try await body(jobs)
        }
    }

    /// Prints what was done: a line, or the document `{"message"}`.
    func say(_ message: String, as format: OutputFormat) throws {
        try show(MessageDocument(message: message), as: format) { _ in message }
    }

    /// Prints a document in the format, or what `pretty` draws.
    func show(_ document: some Encodable, as format: OutputFormat, pretty: (TextStyle) throws -> String) throws {
        try console.print(try format.render(document) ?? pretty(console.style))
    }
}

/// Where an API takes what is submitted to it.
enum SubmissionClient: Sendable {
    case requests(GatewayClient)
    case jobs(JobClient)
}

/// Ctrl-C while a command waits for work that continues without it.
enum WaitInterruption {
    /// Runs a wait; an interruption from a terminal prints `text` before the process ends. It ends by the signal
    /// itself, so that a shell's loop around it ends too.
    static func withHint<Result: Sendable>(
        _ console: Console, _ text: String, _ body: () async throws -> Result
    ) async throws -> Result {
        guard console.hasErrorTerminal else { return try await body() }
        let source = await SignalSource.make(SIGINT) {
            console.note("\n\(text)")
            signal(SIGINT, SIG_DFL)
            // To the process: this thread takes no signals.
            kill(getpid(), SIGINT)
            sleep(1)
            exit(ExitStatus.interrupted)
        }
        defer {
            source.cancel()
            signal(SIGINT, SIG_DFL)
        }
        return try await body()
    }
}

/// A signal as an event.
enum SignalSource {
    /// - Returns: once the handler receives the signal; before, it would be lost or end the process.
    static func make(_ number: CInt, _ handler: @escaping @Sendable () -> Void) async -> any DispatchSourceSignal {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler(handler: handler)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            source.setRegistrationHandler { continuation.resume() }
            source.resume()
        }
        return source
    }
}
