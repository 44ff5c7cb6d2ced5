import ArgumentParser
import Core

struct EnvironmentOption: ParsableArguments {
    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: ArgumentHelp("Environment to use instead of the default one.", valueName: "environment"))
    var environment: String?
}

struct OutputOption: ParsableArguments {
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Format of the output.", valueName: "format"))
    var output: OutputFormat = .pretty
}

struct WatchOption: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Draw it again every 2 seconds.")
    var watch = false

    func validate(with output: OutputFormat) throws {
        guard !watch || output == .pretty else {
            throw ValidationError(
                "--watch draws on a terminal; it cannot be combined with --output \(output.rawValue).")
        }
    }
}

struct APIArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("Name of the API.", valueName: "api"))
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
                "An id looks like 0190f3a2-5d1c-7aaa-8bbb-1234567890ab; cortex requests API lists them.")
        }
        return id
    }
}

extension RequestStatus: ExpressibleByArgument {}

/// Seconds to wait, as they are typed: a whole number, or `forever`.
enum WaitLimit: Sendable, Hashable, ExpressibleByArgument, CustomStringConvertible {
    case forever
    case seconds(Int)

    init?(argument: String) {
        if argument == "forever" {
            self = .forever
        } else if let seconds = Int(argument), (0...31_536_000).contains(seconds) {
            self = .seconds(seconds)
        } else {
            return nil
        }
    }

    var duration: Duration? {
        switch self {
        case .forever: nil
        case .seconds(let seconds): .seconds(seconds)
        }
    }

    var description: String {
        switch self {
        case .forever: "forever"
        case .seconds(let seconds): "\(seconds)"
        }
    }
}
