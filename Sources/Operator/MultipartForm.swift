import Core

/// A `multipart/form-data` body (RFC 7578, RFC 2046 §5.1.1), read from bytes that are already in memory and already
/// limited.
struct MultipartForm {
    struct Part: Equatable {
        var name: String
        var fileName: String?
        var content: [UInt8]
    }

    static let partsLimit = 16
    static let headerLimit = 8 * 1024

    var parts: [Part] = []

    /// - Throws: `bad_request` for anything that is not well formed.
    init(_ body: [UInt8], boundary: String) throws {
        let delimiter = Array("--\(boundary)".utf8)
        guard var position = Self.firstDelimiter(in: body, delimiter) else {
            throw Self.broken("its boundary does not occur in the body")
        }
        while !Self.isClosing(body, at: position) {
            guard parts.count < Self.partsLimit else {
                throw Self.broken("it has more than \(Self.partsLimit) parts")
            }
            guard let start = Self.lineEnd(body, at: position) else {
                throw Self.broken("a boundary is followed by other text")
            }
            let (fields, contentStart) = try Self.headers(in: body, at: start)
            guard let (contentEnd, next) = Self.nextDelimiter(in: body, from: contentStart, delimiter) else {
                throw Self.broken("it ends before its closing boundary")
            }
            parts.append(try Self.part(fields, content: Array(body[contentStart..<max(contentStart, contentEnd)])))
            position = next
        }
    }

    /// The boundary that a `Content-Type` names, if it is `multipart/form-data`; `nil` for any other type.
    ///
    /// - Throws: `bad_request` when the type is right and the boundary is missing or not allowed.
    static func boundary(ofContentType value: String) throws -> String? {
        let field = ParameterizedField(value)
        guard field.value.lowercased() == "multipart/form-data" else { return nil }
        guard let boundary = field.parameters["boundary"], isBoundary(boundary) else {
            throw broken("its Content-Type has no boundary of 1 to 70 allowed characters")
        }
        return boundary
    }

    private static func isBoundary(_ text: String) -> Bool {
        let special = Set("'()+_,-./:=? ".utf8)
        return (1...70).contains(text.utf8.count) && text.utf8.last != UInt8(ascii: " ")
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: special.contains(byte)
                }
            }
    }

    static func broken(_ reason: String) -> PlatformError {
        PlatformError(.badRequest, "the multipart body cannot be read: \(reason)")
    }

    // MARK: Delimiters

    private static let cr = UInt8(ascii: "\r")
    private static let lf = UInt8(ascii: "\n")

    /// The index behind the boundary of the first delimiter line; the text before it is a preamble.
    private static func firstDelimiter(in body: [UInt8], _ delimiter: [UInt8]) -> Int? {
        if starts(body, at: 0, with: delimiter), isDelimiterEnd(body, at: delimiter.count) { return delimiter.count }
        return nextDelimiter(in: body, from: 0, delimiter)?.next
    }

    /// The end of the content before the next delimiter line, and where the text behind its boundary begins.
    private static func nextDelimiter(in body: [UInt8], from start: Int, _ delimiter: [UInt8]) -> (
        contentEnd: Int, next: Int
    )? {
        // A part without content: the line end before the delimiter is the one that ended the headers.
        var index = max(0, start - 2)
        while index + 2 + delimiter.count <= body.count {
            if body[index] == cr, body[index + 1] == lf, starts(body, at: index + 2, with: delimiter) {
                let next = index + 2 + delimiter.count
                if isDelimiterEnd(body, at: next) { return (index, next) }
            }
            index += 1
        }
        return nil
    }

    private static func starts(_ body: [UInt8], at index: Int, with text: [UInt8]) -> Bool {
        guard index + text.count <= body.count else { return false }
        for offset in text.indices where body[index + offset] != text[offset] { return false }
        return true
    }

    /// Whether the two hyphens that close a form are at `index`.
    private static func isClosing(_ body: [UInt8], at index: Int) -> Bool {
        guard starts(body, at: index, with: [UInt8(ascii: "-"), UInt8(ascii: "-")]) else { return false }
        let rest = afterBlanks(body, at: index + 2)
        return rest == body.count || starts(body, at: rest, with: [cr, lf])
    }

    /// A longer line that merely begins like a delimiter is content.
    private static func isDelimiterEnd(_ body: [UInt8], at index: Int) -> Bool {
        isClosing(body, at: index) || lineEnd(body, at: index) != nil
    }

    /// The index behind optional blanks and the line end at `index`.
    private static func lineEnd(_ body: [UInt8], at index: Int) -> Int? {
        let index = afterBlanks(body, at: index)
        return starts(body, at: index, with: [cr, lf]) ? index + 2 : nil
    }

    private static func afterBlanks(_ body: [UInt8], at index: Int) -> Int {
        var index = index
        while index < body.count, body[index] == UInt8(ascii: " ") || body[index] == UInt8(ascii: "\t") { index += 1 }
        return index
    }

    // MARK: Parts

    /// The part's header fields by their names in lower case, and where its content begins.
    private static func headers(in body: [UInt8], at start: Int) throws -> ([String: String], Int) {
        var fields: [String: String] = [:]
        var index = start
        while true {
            guard let end = lineBreak(in: body, from: index), end - start <= headerLimit else {
                throw broken("the headers of a part do not end")
            }
            if end == index { return (fields, end + 2) }
            guard let line = String(validating: body[index..<end], as: UTF8.self), let colon = line.firstIndex(of: ":"),
                line.first != " ", line.first != "\t"
            else { throw broken("a part has a header that cannot be read") }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            fields[line[..<colon].lowercased()] = String(value)
            index = end + 2
        }
    }

    private static func lineBreak(in body: [UInt8], from start: Int) -> Int? {
        var index = start
        while index + 1 < body.count, index - start <= headerLimit {
            if body[index] == cr, body[index + 1] == lf { return index }
            index += 1
        }
        return nil
    }

    private static func part(_ fields: [String: String], content: [UInt8]) throws -> Part {
        let disposition = ParameterizedField(fields["content-disposition"] ?? "")
        guard disposition.value.lowercased() == "form-data", let name = disposition.parameters["name"] else {
            throw broken("a part has no Content-Disposition with a name")
        }
        let encoding = (fields["content-transfer-encoding"] ?? "binary").lowercased()
        guard ["binary", "8bit", "7bit"].contains(encoding) else {
            throw broken("the part \(name.shown) is encoded as \(encoding.shown), which is not supported")
        }
        return Part(name: name, fileName: disposition.parameters["filename"], content: content)
    }
}

/// A header value with parameters: `form-data; name="config"` (RFC 9110 §5.6.6). Lenient: what cannot be read is left
/// out.
struct ParameterizedField {
    var value: String
    /// By name in lower case; the first of a name counts.
    var parameters: [String: String] = [:]

    init(_ text: String) {
        var characters = Substring(text)
        self.value = Self.trimmed(characters.take { $0 != ";" })
        while characters.popFirst() != nil {
            let name = Self.trimmed(characters.take { $0 != "=" && $0 != ";" }).lowercased()
            guard characters.first == "=" else { continue }
            characters.removeFirst()
            characters = characters.drop { $0 == " " || $0 == "\t" }
            let value: String
            if characters.first == "\"" {
                characters.removeFirst()
                value = Self.quoted(&characters)
                _ = characters.take { $0 != ";" }
            } else {
                value = Self.trimmed(characters.take { $0 != ";" })
            }
            if parameters[name] == nil { parameters[name] = value }
        }
    }

    /// The rest of a quoted string up to its closing quote, with `\"` and `\\` undone.
    private static func quoted(_ characters: inout Substring) -> String {
        var value = ""
        while let character = characters.popFirst(), character != "\"" {
            if character == "\\", let next = characters.first, next == "\"" || next == "\\" {
                characters.removeFirst()
                value.append(next)
            } else {
                value.append(character)
            }
        }
        return value
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}

extension Substring {
    /// Removes and returns the characters before the first one that does not match.
    fileprivate mutating func take(while fits: (Character) -> Bool) -> Substring {
        let taken = prefix(while: fits)
        self = self[taken.endIndex...]
        return taken
    }
}
