package import Core
import Foundation

/// A refusal by the engine: its status and its own words.
///
/// Docker and Podman choose different statuses for the same refusal, so callers decide by what they asked for and by
/// the state they read afterwards, never by the text (reference: containers.md §3).
package struct DockerError: Error, Sendable, CustomStringConvertible {
    /// The HTTP status.
    package let status: Int
    /// The engine's `message`, or the start of a body that is no JSON.
    package let message: String

    package init(status: Int, message: String) {
        self.status = status
        self.message = message
    }

    /// Reads the error document; both engines have `message` in it.
    init(status: Int, body: [UInt8]) {
        struct Document: Decodable { var message: String? }
        let document = try? JSONDecoder().decode(Document.self, from: Data(body))
        let text = document?.message ?? String(decoding: body.prefix(500), as: UTF8.self)
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        self.init(status: status, message: trimmed.isEmpty ? "no reason given" : trimmed)
    }

    package var description: String { "engine answered \(status): \(message)" }

    /// What the rest of the platform gets to see when no better word is known.
    package var platformError: PlatformError {
        PlatformError(.engineUnavailable, "The container engine refused a call with status \(status).", cause: self)
    }
}
