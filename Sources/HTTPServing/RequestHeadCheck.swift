import Core
import NIOCore
import NIOHTTP1
import Support

/// Checks a request's head before a handler sees it.
///
/// The parser already refuses, among others: both `Content-Length` and `Transfer-Encoding`, two `Content-Length`,
/// folded lines, bare line feeds and NUL.
enum RequestHeadCheck {
    /// The reason to refuse it, or `nil`.
    static func fault(in head: HTTPRequestHead, limits: HTTPServerLimits) -> HTTPFault? {
        guard head.uri.utf8.count <= limits.targetBytes else {
            return HTTPFault(
                PlatformError(
                    .badRequest,
                    "the request's target has more than \(limits.targetBytes) bytes. Put data into the body"),
                status: .uriTooLong)
        }
        guard head.version.major == 1 else { return unsupportedVersion }
        if let fault = targetFault(head) { return fault }
        let fields = FramingFields(head.headers)
        if fields.hosts.count > 1 || (fields.hosts.isEmpty && !head.version.isBefore11) {
            return malformed("a request needs exactly one Host header")
        }
        guard fields.hosts.allSatisfy({ HostValue.isValid($0) }) else {
            return malformed(
                "the Host header must be a host name or an address, with or without :port, and nothing else")
        }
        if !fields.transferEncodings.isEmpty {
            // Anything but a lone `chunked` has no agreed length, or could be read differently by a proxy in front.
            guard !head.version.isBefore11, fields.transferEncodings.count == 1,
                HeaderValue.trimmed(fields.transferEncodings[0]).lowercased() == "chunked"
            else {
                return HTTPFault(
                    PlatformError(.badRequest, "the only supported Transfer-Encoding is chunked, in HTTP/1.1"))
            }
            guard fields.contentLengths.isEmpty else {
                return HTTPFault(
                    PlatformError(.badRequest, "a request cannot have both Content-Length and Transfer-Encoding"))
            }
        }
        let lengths = fields.contentLengths
        guard lengths.count <= 1, lengths.allSatisfy({ Int64(HeaderValue.trimmed($0)) != nil }) else {
            return HTTPFault(PlatformError(.badRequest, "Content-Length must be one number"))
        }
        if head.version.isBefore11, lengths.isEmpty, [.POST, .PUT, .PATCH].contains(head.method) {
            // RFC 9112 §6.3 takes such a request for one without a body, so the bytes that follow would be lost without
            // a word (RFC 1945 §7.2.2, RFC 9110 §15.5.12).
            return HTTPFault(
                PlatformError(
                    .badRequest,
                    "\(head.method.rawValue) in HTTP/1.0 needs Content-Length, because nothing else tells how long its body is. Send it (0 for no body), or use HTTP/1.1"
                ), status: .lengthRequired)
        }
        guard fields.expectations.allSatisfy({ $0.lowercased() == "100-continue" }) else {
            return HTTPFault(
                PlatformError(
                    .badRequest, "the only supported expectation is 100-continue. Omit the Expect header"),
                status: .expectationFailed)
        }
        return nil
    }

    /// The fault of a request that cannot be parsed. The message names the malformed part, where it can be found.
    ///
    /// - Parameters:
    ///   - bytes: the bytes that were being parsed, from the beginning of a head.
    ///   - isInBody: whether the head was complete.
    static func fault(for error: HTTPParserError, in bytes: ByteBuffer?, isInBody: Bool) -> HTTPFault {
        if error == .headerOverflow {
            return HTTPFault(
                PlatformError(.badRequest, "the request's header section is too large. Send fewer or shorter headers"),
                status: .requestHeaderFieldsTooLarge)
        }
        if isInBody { return malformed(BodyExplanation.reason(for: error, in: bytes)) }
        let isRequestLineOnly = error == .invalidVersion || error == .invalidMethod
        if let bytes,
            let reason = HeadExplanation.reason(in: bytes.readableBytesView, isRequestLineOnly: isRequestLineOnly)
        {
            return malformed(reason)
        }
        if error == .invalidVersion { return unsupportedVersion }
        // Of what is not known to be a request line it cannot be said that its method is.
        if error == .invalidMethod, bytes != nil { return unknownMethod }
        return malformed("this is not a well-formed HTTP/1.1 request")
    }

    /// The fault of a malformed request line that the parser would accept, or `nil`. Checks only a line that begins and
    /// ends in `bytes`: the parser takes the bytes of a head in any pieces.
    static func fault(inRequestLineOf bytes: ByteBuffer) -> HTTPFault? {
        guard isUnusual(bytes) else { return nil }
        let line = bytes.readableBytesView.drop { $0 == 0x0D || $0 == 0x0A }
        let end = line.firstIndex(of: UInt8(ascii: "\n")) ?? line.endIndex
        let text = line[..<end].last == 0x0D ? line[..<end].dropLast() : line[..<end]
        guard let space = text.lastIndex(of: UInt8(ascii: " ")) else { return nil }
        let version = text[(space + 1)...]
        // The parser knows these protocols, which have the same form.
        if version.starts(with: "RTSP/".utf8) || version.starts(with: "ICE/".utf8) { return unsupportedVersion }
        let isDouble = zip(text, text.dropFirst()).contains { $0 == 0x20 && $1 == 0x20 }
        guard isDouble, version.starts(with: "HTTP/1.".utf8) else { return nil }
        return malformed("the request line must have one space between method, target and version")
    }

    /// Whether the first line is complete, and has two adjacent spaces or does not end with the version of HTTP. Every
    /// request takes this path.
    private static func isUnusual(_ bytes: ByteBuffer) -> Bool {
        bytes.withUnsafeReadableBytes { bytes in
            // Empty lines before a request are allowed.
            var index = 0
            while index < bytes.count, bytes[index] == 0x0D || bytes[index] == 0x0A { index += 1 }
            guard let end = bytes.firstIndex(of: 0x0A, in: index..<bytes.count) else { return false }
            // `HTTP/1.1` and the carriage return.
            if end - index < 9 || bytes[end - 9] != UInt8(ascii: "H") { return true }
            while let space = bytes.firstIndex(of: 0x20, in: index..<end) {
                index = space + 1
                if bytes[index] == 0x20 { return true }
            }
            return false
        }
    }

    /// The target's form (RFC 9112 §3.2): a path, for `OPTIONS` also `*`, or an `http` or `https` URL as proxies get
    /// it.
    private static func targetFault(_ head: HTTPRequestHead) -> HTTPFault? {
        let target = head.uri
        guard !target.contains(byte: UInt8(ascii: "#")) else {
            return malformed("the target has a fragment. Omit # and the text after it, or send # as %23")
        }
        guard target.utf8.first != UInt8(ascii: "/") else { return nil }
        if target == "*" {
            return head.method == .OPTIONS ? nil : malformed("the target * is for OPTIONS only. Send a path")
        }
        // Answered by the handler, which knows no such method.
        if head.method == .CONNECT { return nil }
        for scheme in ["http://", "https://"] where target.utf8.count > scheme.utf8.count {
            let isEqual = zip(target.utf8, scheme.utf8).allSatisfy { $0 | 0x20 == $1 | 0x20 }
            guard isEqual else { continue }
            let next = target.utf8[target.utf8.index(target.startIndex, offsetBy: scheme.utf8.count)]
            guard next != UInt8(ascii: "/"), next != UInt8(ascii: "?") else { break }
            let authority = target.utf8.dropFirst(scheme.utf8.count).prefix {
                $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?")
            }
            return authority.first != UInt8(ascii: ":") && HostValue.isValid(String(Substring(authority)))
                ? nil : malformed("the URL in the target must have a host name or an address, with or without :port")
        }
        return malformed("the target must be a path that begins with /, or an http or https URL with a host")
    }

    private static func malformed(_ reason: String) -> HTTPFault {
        HTTPFault(PlatformError(.badRequest, reason))
    }

    private static var unsupportedVersion: HTTPFault {
        HTTPFault(
            PlatformError(.badRequest, "this server speaks HTTP/1.1 only"), status: .httpVersionNotSupported)
    }

    private static var unknownMethod: HTTPFault {
        HTTPFault(
            PlatformError(
                .methodNotImplemented, "this server does not know the request's method. Use GET, HEAD, POST or DELETE"),
            status: .notImplemented)
    }
}

/// The header fields that decide where a request ends, found in one walk along all of them.
private struct FramingFields {
    var hosts: [String] = []
    var contentLengths: [String] = []
    var transferEncodings: [String] = []
    var expectations: [String] = []

    init(_ headers: HTTPHeaders) {
        for (name, value) in headers {
            // Most names differ in length.
            switch name.utf8.count {
            case 4 where HeaderValue.isName(name, "host"): hosts.append(HeaderValue.trimmed(value))
            case 6 where HeaderValue.isName(name, "expect"): expectations += Self.listed(value)
            case 14 where HeaderValue.isName(name, "content-length"): contentLengths.append(value)
            case 17 where HeaderValue.isName(name, "transfer-encoding"): transferEncodings.append(value)
            default: break
            }
        }
    }

    /// The values of a field that holds a list, without empty ones.
    private static func listed(_ value: String) -> [String] {
        guard value.contains(byte: UInt8(ascii: ",")) || value.isEmpty else { return [HeaderValue.trimmed(value)] }
        return value.split(separator: ",").map { HeaderValue.trimmed(String($0)) }
    }
}

/// The value of a `Host` field: a host, and a port or not (RFC 9112 §3.2, RFC 3986 §3.2.2).
private enum HostValue {
    /// An empty host is one: a target without an authority has it.
    static func isValid(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { isValid($0) }
    }

    private static func isValid(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        guard bytes.first == UInt8(ascii: "[") else {
            guard let end = endOfName(bytes) else { return false }
            return isPort(bytes, from: end)
        }
        guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
        let address = bytes[1..<end]
        return !address.isEmpty && address.allSatisfy { isPlain($0) || $0 == UInt8(ascii: ":") }
            && isPort(bytes, from: end + 1)
    }

    /// Nothing, or a colon and digits; the digits may be missing.
    private static func isPort(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Bool {
        guard start < bytes.count else { return true }
        return bytes[start] == UInt8(ascii: ":") && bytes[(start + 1)...].allSatisfy { (48...57).contains($0) }
    }

    /// Where the name ends that `bytes` begin with: at a colon or at their end; `nil` when it is not a name.
    private static func endOfName(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
        var index = 0
        while index < bytes.count, bytes[index] != UInt8(ascii: ":") {
            if isPlain(bytes[index]) {
                index += 1
                continue
            }
            guard bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, isHexadecimal(bytes[index + 1]),
                isHexadecimal(bytes[index + 2])
            else { return nil }
            index += 3
        }
        return index
    }

    /// What a name is made of besides percent-encoding. A comma is not taken, although the grammar does: it is what is
    /// left of two fields that were made one.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"), UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"),
            UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ";"),
            UInt8(ascii: "="):
            true
        default: false
        }
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}

/// Explains why the parser refused a chunked body.
private enum BodyExplanation {
    /// - Parameter bytes: what was being parsed; may begin in the head.
    static func reason(for error: HTTPParserError, in bytes: ByteBuffer?) -> String {
        switch error {
        case .unexpectedContentLength, .invalidContentLength:
            return trailer("Content-Length")
        case .invalidHeaderToken:
            return
                "the trailer section of the chunked body is malformed. After the last chunk send CR LF, or lines of name: value"
        default:
            if bytes.map({ hasTrailer("transfer-encoding", in: $0) }) == true { return trailer("Transfer-Encoding") }
            return
                "the chunked body is malformed. Each chunk is its size in hexadecimal, CR LF, its bytes and CR LF, and the last one has size 0"
        }
    }

    private static func trailer(_ name: String) -> String {
        "the chunked body has \(name) in its trailer section, where it is not allowed. Omit it"
    }

    /// Whether a field of this name is behind a chunk of size 0.
    private static func hasTrailer(_ name: String, in bytes: ByteBuffer) -> Bool {
        let lines = bytes.readableBytesView.suffix(16 * 1024).split(separator: UInt8(ascii: "\n"))
        let trailer = lines.drop { !$0.elementsEqual("0\r".utf8) }.dropFirst()
        return trailer.contains {
            String(decoding: $0.prefix(name.utf8.count + 1), as: UTF8.self).lowercased() == name + ":"
        }
    }
}

/// Finds the reason why the parser refused a request head. Only for the message: the parser decides what is refused.
enum HeadExplanation {
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let space = UInt8(ascii: " ")

    /// The reason, or `nil` where nothing is found.
    ///
    /// - Parameters:
    ///   - bytes: begin with a request; their end may be missing.
    ///   - isRequestLineOnly: whether the fault is known to be in the request line and not in a field.
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
        if hasCoding { return "the only supported Transfer-Encoding is chunked" }
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

extension HTTPVersion {
    /// Whether this is HTTP/1.0 (or older): no chunks, no kept connections unless asked for, no interim answers.
    package var isBefore11: Bool { (major, minor) < (1, 1) }
}
