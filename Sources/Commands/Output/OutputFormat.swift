import ArgumentParser
import Client
import Core
import Foundation

/// What `--output` chooses.
enum OutputFormat: String, Sendable, CaseIterable, ExpressibleByArgument {
    case pretty, json, yaml

    /// A document in this format, or `nil` where the command draws it itself.
    func render(_ document: some Encodable) throws -> String? {
        switch self {
        case .pretty: nil
        case .json: try DocumentText.encode(document)
        case .yaml: try DocumentText.value(of: document).yaml()
        }
    }
}

/// Documents as text.
enum DocumentText {
    /// Indented, keys sorted: the same document is always the same text.
    static func encode(_ document: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    /// Keys sorted, in one line.
    static func line(_ document: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self)
    }

    static func value(of document: some Encodable) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: try JSONEncoder().encode(document))
    }
}
