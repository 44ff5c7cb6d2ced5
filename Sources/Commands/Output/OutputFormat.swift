import ArgumentParser
import Client
import Core
import Foundation
import NIOCore

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

    /// A document of the platform in this format: as JSON its own text, indented, so that the configuration of a job
    /// has the digits and escapes that were submitted. `nil` where the command draws it itself.
    func render(_ document: some Encodable, text: ByteBuffer) throws -> String? {
        self == .json ? DocumentText.indented(text.readableBytesView) : try render(document)
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

    /// A JSON text with the indentation of ``encode(_:)``. Only the white space between tokens changes.
    static func indented(_ json: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        var depth = 0
        var isAtLineStart = false
        var isInString = false
        var isEscaped = false
        func indent() { text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth)) }
        for byte in json where isInString || !JSONText.isWhiteSpace(byte) {
            if isInString {
                text.append(byte)
                isInString = isEscaped || byte != UInt8(ascii: "\"")
                isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
                continue
            }
            let isEnd = byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
            if isEnd {
                depth -= 1
                text.append(UInt8(ascii: "\n"))
            }
            if isAtLineStart || isEnd { indent() }
            isAtLineStart = false
            if byte == UInt8(ascii: ":") {
                text += " : ".utf8
                continue
            }
            text.append(byte)
            if byte == UInt8(ascii: "\"") { isInString = true }
            if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") { depth += 1 }
            isAtLineStart = byte == UInt8(ascii: ",") || byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[")
            if isAtLineStart { text.append(UInt8(ascii: "\n")) }
        }
        return String(decoding: text, as: UTF8.self)
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
