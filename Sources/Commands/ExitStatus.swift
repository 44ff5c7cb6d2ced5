import ArgumentParser
import Core
import Foundation

/// The exit status and message of an error; the only place that maps them (reference: cortex.md §9.4, contract O2).
struct ExitStatus: Hashable {
    enum Channel: Hashable {
        case output, errors
    }

    var code: Int32
    var message: String?
    var channel: Channel

    static let success: Int32 = 0
    static let failure: Int32 = 1
    static let usage: Int32 = 2
    /// A response with another status than 2xx: the status of `curl --fail`.
    static let httpStatus: Int32 = 22
    /// 128 + SIGINT.
    static let interrupted: Int32 = 130
    /// 128 + SIGPIPE: what a shell shows for a program whose reader has gone.
    static let brokenPipe: Int32 = 141

    private init(_ code: Int32, _ message: String? = nil, _ channel: Channel = .errors) {
        self.code = code
        self.message = message
        self.channel = channel
    }

    init(_ error: any Error) {
        switch error {
        case let error as PlatformError:
            self.init(error.code == .usage ? Self.usage : Self.failure, "error: \(error.message)")
        case is BrokenPipe:
            self.init(Self.brokenPipe)
        case is CancellationError:
            self.init(Self.interrupted)
        case let exit as ExitCode:
            self.init(exit.rawValue)
        default:
            self.init(parserError: error)
        }
    }

    /// The argument parser's own: help and version are an answer, all else it reports is wrong use.
    private init(parserError error: any Error) {
        let text = CortexCommand.fullMessage(for: error)
        switch CortexCommand.exitCode(for: error) {
        case .success:
            self.init(Self.success, text, .output)
        case .validationFailure:
            self.init(Self.usage, text.replacingFirst("Error: ", with: "error: "))
        default:
            // Not by reflection: a value inside the error may be a secret (contract N9).
            self.init(Self.failure, "error: \((error as NSError).localizedDescription)")
        }
    }
}

extension String {
    fileprivate func replacingFirst(_ prefix: String, with other: String) -> String {
        hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
    }
}
