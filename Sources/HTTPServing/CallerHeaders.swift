package import Core
package import NIOHTTP1

/// The header fields of a caller's request that are stored and passed on (contract C2, C3), in their order, duplicates
/// included.
package enum HeaderFilter {
    /// - Throws: ``PlatformError`` `bad_request` for a value that is not UTF-8: it could not be passed on unchanged.
    package static func endToEnd(_ headers: HTTPHeaders) throws -> [HeaderField] {
        let passed = EndToEndHeaders(connection: headers["connection"])
        var fields: [HeaderField] = []
        fields.reserveCapacity(headers.count)
        for (name, value) in headers where passed.contains(name) {
            guard !value.contains(byte: 0xEF) || !value.unicodeScalars.contains("\u{FFFD}") else {
                throw PlatformError(
                    .badRequest,
                    "the value of the header \(name) is not UTF-8. Encode it as UTF-8 or percent-encode it (é is %C3%A9), or send it in the body"
                )
            }
            fields.append(HeaderField(name.lowercased(), HeaderValue.trimmed(value)))
        }
        return fields
    }
}

/// `Idempotency-Key` (contract A6).
package enum IdempotencyKey {
    /// `nil` where the caller sent none.
    ///
    /// - Throws: ``PlatformError`` `bad_request` where it is not one key of 1 to 255 printable ASCII characters.
    package static func read(_ request: IncomingRequest) throws -> String? {
        let values = request.values("idempotency-key")
        guard let key = values.first else { return nil }
        let isGood =
            values.count == 1 && (1...Limits.idempotencyKey).contains(key.utf8.count)
            && key.utf8.allSatisfy { (0x20...0x7E).contains($0) }
        guard isGood else {
            throw PlatformError(
                .badRequest,
                "Idempotency-Key must be one value of 1 to \(Limits.idempotencyKey) printable ASCII characters")
        }
        return key
    }
}

/// How long a caller waits for a request to end (contract A5): `?wait=N` or `Prefer: wait=N` (RFC 7240), in
/// seconds.
package struct WaitPreference: Sendable, Equatable {
    /// Never more than ``Limits/longPoll``.
    package var duration: Duration
    /// `Preference-Applied`, where the caller used a preference.
    package var applied: String?

    /// `nil` where the caller does not wait. A parameter takes precedence over a preference.
    ///
    /// - Throws: ``PlatformError`` `bad_request` for anything but a whole number of seconds, also in a preference that
    ///   does not apply.
    package static func read(_ request: IncomingRequest) throws -> WaitPreference? {
        let preferred = try preference(request.headers["prefer"]).map(seconds)
        if let text = request.parameter("wait") {
            let seconds = try seconds(text)
            return seconds == 0 ? nil : WaitPreference(duration: .seconds(seconds))
        }
        guard let seconds = preferred, seconds > 0 else { return nil }
        return WaitPreference(duration: .seconds(seconds), applied: "wait=\(seconds)")
    }

    /// A query without the parameter `wait`, wherever and however it is written; `nil` where nothing is left. What
    /// remains keeps its spelling.
    ///
    /// Submissions that differ only in how their callers wait are the same (contract A6).
    package static func removed(from query: String?) -> String? {
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
        // A number with too many digits is above the limit too.
        return min(longest, Int64(text) ?? .max)
    }

    /// The value of the first preference called `wait`; others are ignored.
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
