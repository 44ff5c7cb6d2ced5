/// Finds in plain words what is wrong with a request head that the parser refused. Only for the message: what is
/// refused is the parser's decision.
enum HeadExplanation {
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let space = UInt8(ascii: " ")

    /// The reason, or `nil` where nothing is found.
    ///
    /// - Parameters:
    ///   - bytes: begin with a request; their end may be missing.
    ///   - isRequestLineOnly: whether what is wrong is known to stand in the request line, whatever its fields are.
    static func reason(in bytes: some Collection<UInt8>, isRequestLineOnly: Bool = false) -> String? {
        if bytes.starts(with: [0x16, 0x03]) {
            return "this is a TLS connection, and this port speaks HTTP. Use http://"
        }
        // Empty lines before a request are allowed.
        let bytes = Array(bytes.drop { $0 == carriageReturn || $0 == lineFeed }.prefix(64 * 1024))
        var lines = bytes.split(separator: lineFeed, omittingEmptySubsequences: false)
        // What follows the last line feed is no whole line.
        let rest = lines.popLast()
        guard let first = lines.first else { return rest.flatMap { reason(inRequestLine: $0, isWhole: false) } }
        if let reason = reason(inRequestLine: first, isWhole: true) { return reason }
        if isRequestLineOnly { return nil }
        var lengths: [ArraySlice<UInt8>] = []
        var hasCoding = false
        for (index, line) in lines.dropFirst().enumerated() {
            guard line.last == carriageReturn else {
                return "lines must end with CR LF, and header line \(index + 1) ends with LF only"
            }
            let line = line.dropLast()
            if line.isEmpty { break }
            if let reason = reason(inField: line, number: index + 1) { return reason }
            switch name(of: line) {
            case "content-length": lengths.append(line.drop { $0 != UInt8(ascii: ":") }.dropFirst())
            case "transfer-encoding": hasCoding = true
            default: break
            }
        }
        if !lengths.isEmpty, hasCoding {
            return "a request cannot have both Content-Length and Transfer-Encoding. Send one of them"
        }
        if lengths.count > 1 { return "Content-Length stands there \(lengths.count) times. Send it once" }
        let length = lengths.first.map { HeaderValue.trimmed(String(decoding: $0, as: UTF8.self)) }
        if let length, length.utf8.contains(where: { !(48...57).contains($0) }) || Int64(length) == nil {
            return "Content-Length must be one number"
        }
        if hasCoding { return "the only Transfer-Encoding understood here is chunked" }
        return nil
    }

    private static func reason(inRequestLine line: ArraySlice<UInt8>, isWhole: Bool) -> String? {
        let text = line.last == carriageReturn ? line.dropLast() : line
        let words = text.split(separator: space, omittingEmptySubsequences: false)
        if text.contains(where: { $0 >= 0x80 }) {
            return "the target must be percent-encoded: it has a byte outside ASCII. Send é as %C3%A9"
        }
        if text.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            return "the request line has a control character. Percent-encode it in the target"
        }
        guard isWhole else { return nil }
        if words.count > 3 {
            return "the request line must be a method, a target and HTTP/1.1. A space in the target must be sent as %20"
        }
        guard words.count == 3 else {
            return "the request line must be a method, a target and HTTP/1.1, with one space between them"
        }
        if line.last != carriageReturn { return "lines must end with CR LF, and the request line ends with LF only" }
        guard words[2].starts(with: "HTTP/".utf8) else {
            return "the request line must end with HTTP/1.1"
        }
        if words[1].first != UInt8(ascii: "/"), !words[1].contains(UInt8(ascii: ":")), words[1] != [UInt8(ascii: "*")] {
            return "the target must begin with /"
        }
        if !words[0].allSatisfy({ (65...90).contains($0) || $0 == UInt8(ascii: "-") }) {
            return "the method must be a word such as GET or POST, in capitals"
        }
        return nil
    }

    private static func reason(inField line: ArraySlice<UInt8>, number: Int) -> String? {
        if line.first == space || line.first == UInt8(ascii: "\t") {
            return "header line \(number) begins with white space. A value must stand on one line"
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return "header line \(number) has no colon" }
        let name = line[..<colon]
        if name.isEmpty { return "header line \(number) has no name" }
        if name.last == space || name.last == UInt8(ascii: "\t") {
            return "header line \(number) has white space before the colon"
        }
        guard name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"\"(),/;<=>?@[\\]{}".utf8.contains($0) }) else {
            return "the name in header line \(number) has a character that is not allowed"
        }
        if line[colon...].contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
            return "the value of the header \(String(decoding: name, as: UTF8.self)) has a control character"
        }
        return nil
    }

    private static func name(of line: ArraySlice<UInt8>) -> String {
        String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self).lowercased()
    }
}
