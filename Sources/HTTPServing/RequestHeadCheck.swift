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
        let hosts = head.headers[canonicalForm: "host"].count
        if hosts > 1 || (hosts == 0 && !head.version.isBefore11) {
            return HTTPFault(PlatformError(.badRequest, "a request needs exactly one Host header"))
        }
        if head.headers.contains(name: "transfer-encoding") {
            // Anything but a lone `chunked` has no agreed length, or could be read differently by a proxy in front.
            let codings = head.headers[canonicalForm: "transfer-encoding"]
            guard !head.version.isBefore11, codings.count == 1, codings[0].lowercased() == "chunked" else {
                return HTTPFault(
                    PlatformError(.badRequest, "the only Transfer-Encoding understood here is chunked, in HTTP/1.1"))
            }
            guard !head.headers.contains(name: "content-length") else {
                return HTTPFault(
                    PlatformError(.badRequest, "a request cannot have both Content-Length and Transfer-Encoding"))
            }
        }
        let lengths = head.headers["content-length"]
        guard lengths.count <= 1, lengths.allSatisfy({ Int64($0) != nil }) else {
            return HTTPFault(PlatformError(.badRequest, "Content-Length must be one number"))
        }
        let expectations = head.headers[canonicalForm: "expect"]
        guard expectations.allSatisfy({ $0.lowercased() == "100-continue" }) else {
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
