import Core

/// The parameters of a request's query, read strictly: what cannot be understood is an error that names the parameter, never a default.
/// Parameters nobody asks for are passed over.
struct QueryParameters {
    private enum Value {
        /// `?name`, without an equals sign.
        case flag
        case text(String)
    }

    private var values: [String: Value] = [:]

    /// - Throws: `bad_request` for broken escapes and for a parameter that comes twice.
    init(_ query: String?) throws {
        for pair in (query ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = PercentEncoding.decode(parts[0], plusIsSpace: true),
                let value = PercentEncoding.decode(parts.count == 2 ? parts[1] : "", plusIsSpace: true)
            else {
                throw PlatformError(.badRequest, "the query has a broken escape: a percent sign is written %25")
            }
            guard values.updateValue(parts.count == 2 ? .text(value) : .flag, forKey: name) == nil else {
                throw PlatformError(.badRequest, "the query parameter \(name.shown) comes twice: send it once")
            }
        }
    }

    /// `true`, `false`, or the bare name for true; false when it is missing.
    func bool(_ name: String) throws -> Bool {
        switch values[name] {
        case nil: return false
        case .flag, .text("true"): return true
        case .text("false"): return false
        case .text(let text):
            throw PlatformError(.badRequest, "the query parameter \(name) must be true or false, not \(text.shown)")
        }
    }

    /// `nil` when it is missing.
    func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = try text(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw PlatformError(
                .badRequest,
                "the query parameter \(name) must be a whole number from \(range.lowerBound) to \(range.upperBound), not \(text.shown)"
            )
        }
        return number
    }

    /// `nil` when it is missing; an empty value is an error.
    func text(_ name: String) throws -> String? {
        switch values[name] {
        case nil: return nil
        case .text(let text) where !text.isEmpty: return text
        default: throw PlatformError(.badRequest, "the query parameter \(name) needs a value")
        }
    }
}

extension String {
    /// In quotes, short and without control characters, for a message.
    var shown: String {
        let clean = unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7F ? "\u{FFFD}" : String($0) }
        return "\"\(clean.joined())\(unicodeScalars.count > 80 ? "…" : "")\""
    }
}
