import Core
import HTTPServing

/// The parameters of a request's query, read strictly: an invalid value is an error that names the parameter, never a
/// default. Parameters that no route reads are ignored.
struct QueryParameters {
    private let values: [String: String]

    /// - Throws: `bad_request` for a parameter that is given twice.
    init(_ request: IncomingRequest) throws {
        try self.init(request.parameters)
    }

    init(_ parameters: [(name: String, value: String)]) throws {
        var values: [String: String] = [:]
        for (name, value) in parameters {
            guard values.updateValue(value, forKey: name) == nil else {
                throw PlatformError(.badRequest, "the query parameter \(name.shown) is given twice: send it once")
            }
        }
        self.values = values
    }

    /// `true`, `false`, or no value for true; false when it is missing.
    func bool(_ name: String) throws -> Bool {
        switch values[name] {
        case nil, "false": return false
        case "true", "": return true
        case let text?:
            throw PlatformError(.badRequest, "the query parameter \(name) must be true or false, not \(text.shown)")
        }
    }

    /// `nil` when it is missing.
    func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = try text(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            let allowed = "a whole number from \(range.lowerBound) to \(range.upperBound)"
            throw PlatformError(.badRequest, "the query parameter \(name) must be \(allowed), not \(text.shown)")
        }
        return number
    }

    /// `nil` when it is missing; an empty value is an error.
    func text(_ name: String) throws -> String? {
        guard let text = values[name] else { return nil }
        guard !text.isEmpty else { throw PlatformError(.badRequest, "the query parameter \(name) needs a value") }
        return text
    }
}

extension String {
    /// In quotes, short and without control characters, for a message.
    var shown: String {
        let clean = unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7F ? "\u{FFFD}" : String($0) }
        return "\"\(clean.joined())\(unicodeScalars.count > 80 ? "…" : "")\""
    }
}
