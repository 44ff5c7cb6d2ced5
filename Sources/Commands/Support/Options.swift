import ArgumentParser
import Core

struct EnvironmentOption: ParsableArguments {
    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: ArgumentHelp("Environment to use instead of the default one.", valueName: "environment"),
        completion: .environments)
    var environment: String?
}

struct OutputOption: ParsableArguments {
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Format of the output.", valueName: "format"))
    var output: OutputFormat = .pretty
}

struct WatchOption: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Update the output every 2 seconds, until Ctrl-C.")
    var watch = false

    func validate(with output: OutputFormat) throws {
        guard !watch || output == .pretty else {
            throw ValidationError(
                "--watch updates a terminal; it cannot be combined with --output \(output.rawValue).")
        }
    }
}

struct APIArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("Name of the API.", valueName: "api"), completion: .apis)
    var api: String

    func validate() throws {
        guard !api.isEmpty else { throw ValidationError("The name of the API is empty.") }
    }
}

extension RequestID {
    /// As an argument of the command line.
    static func typed(_ text: String) throws -> RequestID {
        guard let id = RequestID(text) else {
            throw ValidationError(
                "An id looks like 0190f3a2-5d1c-7aaa-8bbb-1234567890ab; cortex requests API or cortex jobs API lists them."
            )
        }
        return id
    }
}

extension RequestStatus: ExpressibleByArgument {}
extension JobStatus: ExpressibleByArgument {}

/// How `submit` and `result` wait for a request.
struct WaitOption: ParsableArguments {
    @Flag(help: "Wait until the request has ended.")
    var wait = false
    @Option(help: ArgumentHelp("Wait, but at most this long.", valueName: "seconds"))
    var waitTimeout: Int?

    func validate() throws {
        guard waitTimeout.map((0...31_536_000).contains) ?? true else {
            throw ValidationError("--wait-timeout must be 0 to 31536000 seconds.")
        }
    }

    var isWaiting: Bool { wait || waitTimeout != nil }
    /// `nil` for no limit.
    var limit: Duration? { waitTimeout.map { .seconds($0) } }
}
