import Core
import NIOHTTP1

/// Explains to the author of a container why its answer is not HTTP/1.1 (contract A3). Pure.
///
/// The parser reports only that it failed; this examines the bytes again to find the cause.
enum AnswerFault {
    /// - Parameters:
    ///   - head: the bytes of the answer from the first one on, as far as they are known.
    ///   - error: what the parser reported.
    /// - Returns: the end of the sentence "The container's answer could not be read: …", without a full stop.
    static func reason(head bytes: [UInt8], error: HTTPParserError?) -> String {
        if let reason = preface(bytes) ?? fields(bytes) { return reason }
        return switch error {
        case .invalidChunkSize?: "a chunk does not begin with its size as a hexadecimal number"
        case .invalidHeaderToken?: "a header has a character that is not allowed there"
        case .invalidContentLength?, .unexpectedContentLength?: "its Content-Length is not one number"
        case .invalidStatus?: "its status is not a number of three digits"
        case .invalidVersion?: "its version is not HTTP/1.1"
        case .lfExpected?: "a carriage return is not followed by a line feed"
        default: "it is not HTTP/1.1"
        }
    }

    /// Why the end of a response that the parser accepts is not agreed upon (contract R27); `nil` when it is.
    ///
    /// The parser reads a response with another transfer coding than a lone `chunked` until the connection closes, or
    /// ignores the coding.
    static func ambiguity(in head: HTTPResponseHead) -> String? {
        if head.status.code < 100 { return "its status is \(head.status.code); a number of three digits is expected" }
        let codings = head.headers["transfer-encoding"]
        guard !codings.isEmpty else { return nil }
        guard codings.count == 1, trimmed(ArraySlice(codings[0].utf8)).lowercased() == "chunked" else {
            return
                "its Transfer-Encoding is \(JSONText.quoted(codings.joined(separator: ", "))); only chunked is understood"
        }
        return head.version == .http1_1 ? nil : "it has Transfer-Encoding and is not HTTP/1.1"
    }

    /// What the answer has instead of a status line.
    private static func preface(_ bytes: [UInt8]) -> String? {
        guard let first = bytes.first else { return nil }
        if bytes.starts(with: Array("HTTP/".utf8)) {
            let version = bytes.dropFirst(5).prefix { $0 != 0x20 && $0 != 0x0D && $0 != 0x0A }
            guard version.starts(with: [UInt8(ascii: "1"), UInt8(ascii: ".")]) else {
                return "its version is \(quote(version)); HTTP/1.1 is expected"
            }
            let status = bytes.dropFirst(5 + version.count + 1).prefix { $0 != 0x20 && $0 != 0x0D && $0 != 0x0A }
            guard bytes.count < 12 || status.count == 3 && status.allSatisfy({ (48...57).contains($0) }) else {
                return "its status is \(quote(status)); a number of three digits is expected"
            }
            return nil
        }
        // The beginning of a status line whose rest has not arrived.
        if Array("HTTP/".utf8).starts(with: bytes) { return nil }
        if (0x14...0x17).contains(first), bytes.count > 1, bytes[1] == 3 {
            return "it is TLS; the platform talks plain HTTP to port \"pod.port\""
        }
        if bytes.count >= 9, bytes[3] == 4, bytes[0] == 0, bytes[5...8].allSatisfy({ $0 == 0 }) {
            return "it is HTTP/2; the platform talks HTTP/1.1"
        }
        return "it does not begin with the status line of HTTP but with \(quote(bytes.prefix(40)))"
    }

    /// What is wrong with the lines of the head.
    private static func fields(_ bytes: [UInt8]) -> String? {
        var lengths: [String] = []
        var codings: [String] = []
        var start = bytes.firstIndex(of: 0x0A).map { $0 + 1 } ?? bytes.count
        if start >= 2, start <= bytes.count, bytes[start - 1] == 0x0A, bytes[start - 2] != 0x0D { return bareLineFeed }
        while start < bytes.count, let end = bytes[start...].firstIndex(of: 0x0A) {
            guard end > start, bytes[end - 1] == 0x0D else { return bareLineFeed }
            let line = bytes[start..<(end - 1)]
            start = end + 1
            // The head ends here; the body follows.
            if line.isEmpty { break }
            if line.first == 0x20 || line.first == 0x09 {
                return "a header is continued on a second line (\(quote(line))), which HTTP/1.1 does not allow any more"
            }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else {
                return "a line of its head is \(quote(line)); a header is \"name: value\""
            }
            let name = line[..<colon]
            guard name.allSatisfy(isTokenByte) else {
                return "the name of a header is \(quote(name)); spaces and special characters are not allowed in it"
            }
            let value = line[(colon + 1)...]
            guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
                return "the value of its header \(quote(name)) has a control character"
            }
            let text = trimmed(value)
            switch String(decoding: name, as: UTF8.self).lowercased() {
            case "content-length": lengths.append(text)
            case "transfer-encoding": codings.append(text.lowercased())
            default: break
            }
        }
        if !lengths.isEmpty, !codings.isEmpty {
            return "it has both Transfer-Encoding and Content-Length; send one of them"
        }
        if let wrong = lengths.first(where: { Int64($0) == nil || $0.utf8.contains { !(48...57).contains($0) } }) {
            return "its Content-Length is \(JSONText.quoted(wrong)); a number of bytes is expected"
        }
        if Set(lengths).count > 1 {
            return "it has several Content-Lengths (\(lengths.joined(separator: ", "))); send one"
        }
        if let coding = codings.first(where: { !$0.hasSuffix("chunked") }) {
            return "its Transfer-Encoding is \(JSONText.quoted(coding)); only chunked is understood"
        }
        return nil
    }

    private static let bareLineFeed = "its lines end in LF alone; HTTP/1.1 needs CR LF"

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> String {
        var bytes = bytes
        while let first = bytes.first, first == 0x20 || first == 0x09 { bytes.removeFirst() }
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
        return String(decoding: bytes.prefix(100), as: UTF8.self)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...0x20, 0x7F..., UInt8(ascii: "\""), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","),
            UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: ";"), UInt8(ascii: "<"), UInt8(ascii: "="),
            UInt8(ascii: ">"), UInt8(ascii: "?"), UInt8(ascii: "@"), UInt8(ascii: "["), UInt8(ascii: "\\"),
            UInt8(ascii: "]"), UInt8(ascii: "{"), UInt8(ascii: "}"):
            false
        default: true
        }
    }

    /// A short piece of what a container sent, safe to show.
    private static func quote(_ bytes: some Collection<UInt8>) -> String {
        JSONText.quoted(String(decoding: bytes.prefix(60), as: UTF8.self))
    }
}
