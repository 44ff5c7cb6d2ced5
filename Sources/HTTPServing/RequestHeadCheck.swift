import Core
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

    /// What a request that cannot be parsed is refused with.
    static func fault(for error: HTTPParserError) -> HTTPFault {
        switch error {
        case .headerOverflow:
            HTTPFault(
                PlatformError(.badRequest, "the request's header section is too large. Send fewer or shorter headers"),
                status: .requestHeaderFieldsTooLarge)
        case .invalidVersion:
            unsupportedVersion
        default:
            HTTPFault(PlatformError(.badRequest, "this is not a well-formed HTTP/1.1 request"))
        }
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
