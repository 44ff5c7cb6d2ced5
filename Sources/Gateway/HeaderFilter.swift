import Core
import HTTPServing
import NIOHTTP1

/// Which of a caller's headers go to the container (contract C3): the end-to-end ones, in their order, duplicates too.
enum HeaderFilter {
    /// What concerns only this connection, this server, or what only the platform may say.
    private static let dropped: Set<String> = [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
        "host", "content-length", "accept-encoding", "expect", "prefer",
    ]
    private static let reserved = "x-cortex-"

    /// - Throws: ``PlatformError`` `bad_request` for a value that is not UTF-8: it could not be handed on byte for byte.
    static func endToEnd(_ headers: HTTPHeaders) throws -> [HeaderField] {
        var named: Set<String> = []
        for value in headers[canonicalForm: "connection"] { named.insert(value.lowercased()) }
        // It describes the body, which is handed on whatever a caller says about its connection.
        named.remove("content-type")
        var fields: [HeaderField] = []
        fields.reserveCapacity(headers.count)
        for (name, value) in headers {
            let name = name.lowercased()
            guard !dropped.contains(name), !name.hasPrefix(reserved), !named.contains(name) else { continue }
            guard !value.utf8.contains(0xEF) || !value.unicodeScalars.contains("\u{FFFD}") else {
                throw PlatformError(
                    .badRequest, "the value of the header \(name) is not UTF-8. Encode it, or put it into the body")
            }
            fields.append(HeaderField(name, HeaderValue.trimmed(value)))
        }
        return fields
    }
}
