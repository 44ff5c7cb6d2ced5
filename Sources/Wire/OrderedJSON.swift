package import Core

/// A JSON text inside a document that is written byte for byte as it was received: `config` and `result` of jobs.
///
/// Only ``OrderedJSON`` writes it so. A decoder reads it as a value, which another encoder writes again: then numbers
/// and white space may differ, so clients that show the text itself take it from the document's bytes.
package enum VerbatimJSON: Sendable, Hashable, Codable {
    /// One JSON text, in memory or in the store.
    case text(Body)
    case value(JSONValue)

    /// - Parameter bytes: one JSON text.
    package init(_ bytes: [UInt8]) { self = .text(.inline(bytes)) }

    package init(from decoder: any Decoder) throws {
        self = .value(try JSONValue(from: decoder))
    }

    package func encode(to encoder: any Encoder) throws {
        switch self {
        case .value(let value): try value.encode(to: encoder)
        case .text:
            throw EncodingError.invalidValue(
                self, .init(codingPath: encoder.codingPath, debugDescription: "only OrderedJSON writes verbatim text"))
        }
    }
}

/// Writes JSON whose members stand in the order in which a value encodes them, which is the order of its `CodingKeys`
/// where the compiler writes the encoding. The order of members is part of the contract of jobs (contract,
/// *Documents*). Members of dictionaries are sorted.
package enum OrderedJSON {
    package enum Form: Sendable, Hashable {
        /// In one line, without white space.
        case compact
        /// As `compact`; the members of all objects are sorted by their names, except inside of ``VerbatimJSON``.
        case sorted
        /// A line for each member and element, indented by 2 spaces, and a line end. ``VerbatimJSON`` stays as it is.
        case indented
    }

    /// The text in pieces, so that a large part that is in the store can be streamed. Pieces in memory are joined.
    ///
    /// - Throws: `EncodingError`, for example for a number that JSON does not have.
    package static func pieces(of value: some Encodable, _ form: Form = .compact) throws -> [Body] {
        let node = JSONNode()
        try node.set(value, path: [])
        var writer = NodeWriter(form: form)
        writer.write(node, depth: 0)
        if form == .indented { writer.bytes.append(UInt8(ascii: "\n")) }
        writer.endPiece()
        return writer.pieces
    }

    /// The text.
    ///
    /// - Throws: as ``pieces(of:_:)``; also when a part of it is in the store.
    package static func bytes(of value: some Encodable, _ form: Form = .compact) throws -> [UInt8] {
        let pieces = try pieces(of: value, form)
        guard pieces.count <= 1, case .inline(let bytes) = pieces.first ?? .empty else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: [], debugDescription: "a part of the text is in the store"))
        }
        return bytes
    }
}

/// A JSON value while it is being encoded. Used by one call of ``OrderedJSON`` only.
private final class JSONNode {
    enum Content {
        /// Nothing was encoded yet; an empty object in the end.
        case empty
        case scalar(String)
        case verbatim(Body)
        case object([(name: String, node: JSONNode)])
        case array([JSONNode])
    }

    var content = Content.empty

    func set(_ value: any Encodable, path: [any CodingKey]) throws {
        switch value {
        case let value as String: content = .scalar(JSONText.quoted(value))
        case let value as Bool: content = .scalar(value ? "true" : "false")
        case let value as any BinaryInteger: content = .scalar("\(value)")
        case let value as Double: content = .scalar(try Self.text(of: value, path: path))
        case let value as Float: content = .scalar(try Self.text(of: Double(value), path: path))
        case .text(let body) as VerbatimJSON: content = .verbatim(body)
        case let members as [String: String]: try setMembers(members, path: path)
        case .object(let members) as JSONValue: try setMembers(members, path: path)
        default: try value.encode(to: NodeEncoder(node: self, codingPath: path))
        }
    }

    private func setMembers(_ members: [String: some Encodable], path: [any CodingKey]) throws {
        content = .object([])
        for (name, value) in members.sorted(by: { $0.key < $1.key }) { try addMember(name).set(value, path: path) }
    }

    func addMember(_ name: String) -> JSONNode {
        let node = JSONNode()
        if case .object(var members) = content {
            content = .empty
            members.append((name, node))
            content = .object(members)
        } else {
            content = .object([(name, node)])
        }
        return node
    }

    func addElement() -> JSONNode {
        let node = JSONNode()
        if case .array(var elements) = content {
            content = .empty
            elements.append(node)
            content = .array(elements)
        } else {
            content = .array([node])
        }
        return node
    }

    var elementCount: Int {
        if case .array(let elements) = content { elements.count } else { 0 }
    }

    private static func text(of value: Double, path: [any CodingKey]) throws -> String {
        guard value.isFinite else {
            throw EncodingError.invalidValue(
                value, .init(codingPath: path, debugDescription: "JSON has no number for \(value)"))
        }
        let text = "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}

private struct NodeEncoder: Encoder, SingleValueEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        if case .empty = node.content { node.content = .object([]) }
        return KeyedEncodingContainer(ObjectEncoder(node: node, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        if case .empty = node.content { node.content = .array([]) }
        return ArrayEncoder(node: node, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    mutating func encodeNil() { node.content = .scalar("null") }
    mutating func encode(_ value: some Encodable) throws { try node.set(value, path: codingPath) }
}

private struct ObjectEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: JSONNode
    let codingPath: [any CodingKey]

    mutating func encodeNil(forKey key: Key) { node.addMember(key.stringValue).content = .scalar("null") }

    mutating func encode(_ value: some Encodable, forKey key: Key) throws {
        try node.addMember(key.stringValue).set(value, path: codingPath + [key])
    }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> {
        encoder(key).container(keyedBy: keyType)
    }

    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        encoder(key).unkeyedContainer()
    }

    mutating func superEncoder() -> any Encoder {
        NodeEncoder(node: node.addMember("super"), codingPath: codingPath)
    }

    mutating func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

    private func encoder(_ key: Key) -> NodeEncoder {
        NodeEncoder(node: node.addMember(key.stringValue), codingPath: codingPath + [key])
    }
}

private struct ArrayEncoder: UnkeyedEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var count: Int { node.elementCount }

    mutating func encodeNil() { node.addElement().content = .scalar("null") }
    mutating func encode(_ value: some Encodable) throws { try node.addElement().set(value, path: codingPath) }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy keyType: NestedKey.Type
    ) -> KeyedEncodingContainer<NestedKey> {
        NodeEncoder(node: node.addElement(), codingPath: codingPath).container(keyedBy: keyType)
    }

    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        NodeEncoder(node: node.addElement(), codingPath: codingPath).unkeyedContainer()
    }

    mutating func superEncoder() -> any Encoder { NodeEncoder(node: node.addElement(), codingPath: codingPath) }
}

private struct NodeWriter {
    let form: OrderedJSON.Form
    var bytes: [UInt8] = []
    private(set) var pieces: [Body] = []

    init(form: OrderedJSON.Form) { self.form = form }

    mutating func endPiece() {
        if !bytes.isEmpty { pieces.append(.inline(bytes)) }
        bytes = []
    }

    mutating func write(_ node: JSONNode, depth: Int) {
        switch node.content {
        case .empty: bytes += "{}".utf8
        case .scalar(let text): bytes += text.utf8
        case .verbatim(.inline(let text)): bytes += text
        case .verbatim(let stored):
            endPiece()
            pieces.append(stored)
        case .object(var members):
            if form == .sorted { members.sort { $0.name < $1.name } }
            list("{", "}", members, depth: depth) { writer, member in
                JSONText.appendJSONString(member.name, to: &writer.bytes)
                writer.bytes += (writer.form == .indented ? ": " : ":").utf8
                writer.write(member.node, depth: depth + 1)
            }
        case .array(let elements):
            list("[", "]", elements, depth: depth) { $0.write($1, depth: depth + 1) }
        }
    }

    private mutating func list<Element>(
        _ first: String, _ last: String, _ elements: [Element], depth: Int,
        write: (inout NodeWriter, Element) -> Void
    ) {
        bytes += first.utf8
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            newLine(depth: depth + 1)
            write(&self, element)
        }
        if !elements.isEmpty { newLine(depth: depth) }
        bytes += last.utf8
    }

    private mutating func newLine(depth: Int) {
        guard form == .indented else { return }
        bytes.append(UInt8(ascii: "\n"))
        bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth))
    }
}
