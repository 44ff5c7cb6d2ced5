import Core
import NIOCore
import NIOHTTP1

/// What is wrong with a request's head before anyone looks at what it asks for.
///
/// The parser already refuses, among others: both `Content-Length` and `Transfer-Encoding`, two `Content-Length`, folded lines, bare line feeds and NUL.
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
        if fields.hosts > 1 || (fields.hosts == 0 && !head.version.isBefore11) {
            return HTTPFault(PlatformError(.badRequest, "a request needs exactly one Host header"))
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

    /// What a request that cannot be parsed is refused with: the reason names the part that is wrong, where that can be found.
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
        if let bytes, let reason = HeadExplanation.reason(in: bytes.readableBytesView) { return malformed(reason) }
        if error == .invalidVersion { return unsupportedVersion }
        return malformed("this is not a well-formed HTTP/1.1 request")
    }

    /// What the parser would take of a request line although it is not one, or `nil`. Looks only at the line's beginning in `bytes`.
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

    /// The target's form (RFC 9112 §3.2): a path, for `OPTIONS` also `*`, or an `http` or `https` URL as proxies get it.
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
            if next != UInt8(ascii: "/"), next != UInt8(ascii: "?") { return nil }
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
}

/// The header fields that decide where a request ends, found in one walk along all of them.
private struct FramingFields {
    var hosts = 0
    var contentLengths: [String] = []
    var transferEncodings: [String] = []
    var expectations: [String] = []

    init(_ headers: HTTPHeaders) {
        for (name, value) in headers {
            // The length tells most names apart.
            switch name.utf8.count {
            case 4 where HeaderValue.isName(name, "host"): hosts += Self.listed(value).count
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
