import Core
import HTTPServing
import NIOHTTP1

/// How long a caller is ready to wait for a request to end (contract A5): `?wait=N` or `Prefer: wait=N` (RFC 7240), in
/// seconds.
struct WaitPreference: Sendable, Equatable {
    /// Never more than ``Limits/longPoll``.
    var duration: Duration
    /// `Preference-Applied`, where the wish came as a preference.
    var applied: String?

    /// `nil` where the caller does not want to wait. A parameter goes before a preference.
    ///
    /// - Throws: ``PlatformError`` `bad_request` for anything but a whole number of seconds.
    static func read(_ request: IncomingRequest) throws -> WaitPreference? {
        if let text = request.parameter("wait") {
            let seconds = try seconds(text)
            return seconds == 0 ? nil : WaitPreference(duration: .seconds(seconds))
        }
        guard let text = preference(request.headers["prefer"]) else { return nil }
        let seconds = try seconds(text)
        guard seconds > 0 else { return nil }
        return WaitPreference(duration: .seconds(seconds), applied: "wait=\(seconds)")
    }

    /// A query without the parameter `wait`, wherever and however it is written; `nil` where nothing is left. What
    /// remains keeps its spelling.
    ///
    /// Submissions that differ only in how their callers wait are the same (contract A6).
    static func removed(from query: String?) -> String? {
        guard let query, !query.isEmpty else { return nil }
        let items = query.split(separator: "&")
        let others = items.filter { item in
            PercentCoding.decodeForm(item.prefix { $0 != "=" }) != "wait"
        }
        if others.count == items.count { return query }
        return others.isEmpty ? nil : others.joined(separator: "&")
    }

    private static let longest = Limits.longPoll.components.seconds

    private static func seconds(_ text: String) throws -> Int64 {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
            throw PlatformError(
                .badRequest, "wait must be a whole number of seconds, up to \(longest), such as wait=30")
        }
        // More digits than a number holds is more than enough, too.
        return min(longest, Int64(text) ?? .max)
    }

    /// The value of the first preference called `wait`; the others mean nothing here.
    private static func preference(_ values: [String]) -> String? {
        for value in values {
            for item in value.split(separator: ",") {
                let token = item.prefix { $0 != ";" }
                let parts = token.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard let name = parts.first, HeaderValue.trimmed(String(name)).lowercased() == "wait" else { continue }
                let text = parts.count == 2 ? HeaderValue.trimmed(String(parts[1])) : ""
                guard text.count >= 2, text.first == "\"", text.last == "\"" else { return text }
                return String(text.dropFirst().dropLast())
            }
        }
        return nil
    }
}
