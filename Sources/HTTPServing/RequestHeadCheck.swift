import Core
import NIOCore
import NIOHTTP1

/// What is wrong with a request's head before anyone looks at what it asks for.
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
                    PlatformError(.badRequest, "the only Transfer-Encoding understood here is chunked, in HTTP/1.1"))
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
        guard fields.expectations.allSatisfy({ $0.lowercased() == "100-continue" }) else {
            return HTTPFault(
                PlatformError(
                    .badRequest, "the only expectation that can be met is 100-continue. Leave out the Expect header"),
                status: .expectationFailed)
        }
        return nil
    }

    /// What a request that cannot be parsed is refused with: the reason names the part that is wrong, where that can be
    /// found.
    ///
    /// - Parameters:
    ///   - bytes: what was being parsed, from the beginning of a head.
    ///   - isInBody: whether the head was complete.
    static func fault(for error: HTTPParserError, in bytes: ByteBuffer?, isInBody: Bool) -> HTTPFault {
        if error == .headerOverflow {
            return HTTPFault(
                PlatformError(.badRequest, "the request's header section is too large. Send fewer or shorter headers"),
                status: .requestHeaderFieldsTooLarge)
        }
        if isInBody {
            return malformed(
                "the chunked body is malformed. Each chunk is its size in hexadecimal, CR LF, its bytes and CR LF, and the last one has size 0"
            )
        }
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

    /// What the parser would take of a request line although it is not one, or `nil`. Looks only at the line's
    /// beginning in `bytes`.
    static func fault(inRequestLineOf bytes: ByteBuffer) -> HTTPFault? {
        // Empty lines before a request are allowed.
        let line = bytes.readableBytesView.drop { $0 == 0x0D || $0 == 0x0A }
        guard let end = line.firstIndex(of: UInt8(ascii: "\n")), hasDoubleSpace(line[..<end]) else { return nil }
        // The parser takes the bytes of a head in any pieces; only a whole request line is judged here.
        let version = line[..<end].drop { $0 != UInt8(ascii: " ") }.suffix(9)
        guard version.starts(with: "HTTP/1.".utf8) else { return nil }
        return malformed("the request line must have one space between method, target and version")
    }

    private static func hasDoubleSpace(_ line: some Sequence<UInt8>) -> Bool {
        var previous: UInt8 = 0
        for byte in line {
            if byte == 0x20, previous == 0x20 { return true }
            previous = byte
        }
        return false
    }

    /// The target's form (RFC 9112 §3.2): a path, for `OPTIONS` also `*`, or an `http` or `https` URL as proxies get
    /// it.
    private static func targetFault(_ head: HTTPRequestHead) -> HTTPFault? {
        let target = head.uri
        guard !target.utf8.contains(UInt8(ascii: "#")) else {
            return malformed("the target has a fragment. Leave # and what follows out, or send # as %23")
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
            PlatformError(.badRequest, "this server does not know the request's method. Use GET, HEAD, POST or DELETE"),
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
        guard value.utf8.contains(UInt8(ascii: ",")) || value.isEmpty else { return [HeaderValue.trimmed(value)] }
        return value.split(separator: ",").map { HeaderValue.trimmed(String($0)) }
    }
}

/// The value of a `Host` field: a host, and a port or not (RFC 9112 §3.2, RFC 3986 §3.2.2).
private enum HostValue {
    /// An empty host is one: a target without an authority has it.
    static func isValid(_ value: String) -> Bool {
        let bytes = value.utf8
        guard bytes.first == UInt8(ascii: "[") else {
            let name = bytes.prefix { $0 != UInt8(ascii: ":") }
            return isName(name) && isPort(bytes.dropFirst(name.count))
        }
        guard let end = bytes.firstIndex(of: UInt8(ascii: "]")) else { return false }
        let address = bytes[bytes.index(after: bytes.startIndex)..<end]
        return !address.isEmpty && address.allSatisfy { isPlain($0) || $0 == UInt8(ascii: ":") }
            && isPort(bytes[bytes.index(after: end)...])
    }

    /// Nothing, or a colon and digits; the digits may be missing.
    private static func isPort(_ bytes: Substring.UTF8View) -> Bool {
        guard let first = bytes.first else { return true }
        return first == UInt8(ascii: ":") && bytes.dropFirst().allSatisfy { (48...57).contains($0) }
    }

    private static func isName(_ bytes: Substring.UTF8View) -> Bool {
        var bytes = bytes[...]
        while let byte = bytes.popFirst() {
            if isPlain(byte) { continue }
            guard byte == UInt8(ascii: "%"), let high = bytes.popFirst(), let low = bytes.popFirst(),
                isHexadecimal(high), isHexadecimal(low)
            else { return false }
        }
        return true
    }

    /// What a name is made of besides percent-encoding. A comma is not taken, although the grammar does: it is what is
    /// left of two fields that were made one.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~!$&'()*+;=".utf8.contains(byte)
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
