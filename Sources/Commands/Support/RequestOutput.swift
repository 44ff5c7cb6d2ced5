import ArgumentParser
import Client
import Core
import Foundation
import NIOCore

/// How `submit`, `result` and `cancel` print a request.
struct RequestOutput {
    let context: CommandContext
    let format: OutputFormat
    let api: String

    /// Prints the gateway's document; for `pretty` one line.
    func printDocument(_ request: RequestSnapshot, pretty: () -> String) throws {
        switch format {
        case .pretty: try context.console.print(pretty())
        case .json: try printVerbatim(request.document)
        case .yaml: try context.console.print(try yaml(request))
        }
    }

    /// The result verbatim, or the error of a request that has none; a document says either by itself.
    ///
    /// - Throws: an error for exit status 1: the request failed, was cancelled or, after waiting, has not ended.
    func printOutcome(_ request: RequestSnapshot, hasWaited: Bool) throws {
        if format != .pretty { try printDocument(request) { "" } }
        switch request.status {
        case .completed:
            if format == .pretty, let result = request.result { try printVerbatim(result) }
        case .failed:
            let reason = request.error.map { FailureText.full($0, attempts: request.attempts) } ?? "no reason is known"
            throw PlatformError(
                .containerFailed,
                "request \(request.id) failed: \(reason)\nsee what the container wrote with: cortex logs \(api)"
                    + "\nrun it again with: cortex retry \(api) \(request.id)")
        case .cancelled:
            throw PlatformError(.conflict, "request \(request.id) was cancelled")
        case .inQueue, .inProgress:
            if format != .pretty, !hasWaited { return }
            throw PlatformError(
                .timedOut,
                "request \(request.id) is still \(request.status.rawValue)\n"
                    + Self.waitHint(api, request.id))
        }
    }

    /// The command that waits for a request that has not ended.
    static func waitHint(_ api: String, _ id: RequestID) -> String {
        "wait for it: cortex result \(api) \(id) --wait"
    }

    /// Runs a call that names a request; if none has that id, the error names the command that lists them.
    static func findingRequest<Result: Sendable>(_ api: String, _ call: () async throws -> Result) async throws
        -> Result
    {
        do {
            return try await call()
        } catch let error as PlatformError where error.code == .notFound {
            throw PlatformError(
                .notFound, "\(error.message)\nsee those there are with: cortex requests \(api)", cause: error)
        }
    }

    /// Byte for byte (contract C5); on a terminal with escapes for what could steer it (contract N8).
    private func printVerbatim(_ text: ByteBuffer) throws {
        if context.console.style.isTerminal { return try context.console.print(String(buffer: text)) }
        try context.console.write(text.readableBytesView)
        if text.readableBytesView.last != UInt8(ascii: "\n") { try context.console.write(CollectionOfOne(0x0A)) }
    }

    /// The request as YAML. The result is the container's JSON itself, which is flow style of YAML 1.2, so no number,
    /// key or escape changes (contract C5). Only characters that readers of YAML refuse or take for line ends are
    /// written as escapes, which mean the same.
    private func yaml(_ request: RequestSnapshot) throws -> String {
        let document = RequestSummary(request)
        var text = try DocumentText.value(of: document).yaml().trimmedEnd
        if let result = request.result {
            // Line ends and tabs stand between tokens only: inside a JSON string they are escaped.
            let spaces: Set<UInt8> = [0x09, 0x0A, 0x0D]
            let line = result.readableBytesView.map { spaces.contains($0) ? UInt8(ascii: " ") : $0 }
            text += "\nresult: "
            for scalar in String(decoding: line, as: UTF8.self).unicodeScalars {
                // They occur only inside strings: JSON has no such characters between tokens.
                text += scalar.isPlainInYAML ? String(scalar) : "\\u" + scalar.fourDigits
            }
        }
        return text
    }
}

extension Unicode.Scalar {
    /// Whether every reader of YAML takes the character inside quotes as it is.
    fileprivate var isPlainInYAML: Bool {
        switch value {
        case 0x7F...0x9F, 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF: false
        default: true
        }
    }

    fileprivate var fourDigits: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

/// The gateway's document of a request without its result.
private struct RequestSummary: Encodable {
    let id: RequestID
    let status: RequestStatus
    let attempts: Int?
    let timestamp: String?
    let error: RequestFailure?

    init(_ request: RequestSnapshot) {
        self.id = request.id
        self.status = request.status
        self.attempts = request.attempts
        self.timestamp = request.timestamp
        self.error = request.error
    }
}
