import Core
import HTTPServing
import NIOHTTP1

/// The header fields of a caller's request that are stored and passed on (contract C2, C3), in their order, duplicates
/// included.
enum HeaderFilter {
    /// - Throws: ``PlatformError`` `bad_request` for a value that is not UTF-8: it could not be passed on byte for
    ///   byte.
    static func endToEnd(_ headers: HTTPHeaders) throws -> [HeaderField] {
        let passed = EndToEndHeaders(connection: headers["connection"])
        var fields: [HeaderField] = []
        fields.reserveCapacity(headers.count)
        for (name, value) in headers where passed.contains(name) {
            guard !value.utf8.contains(0xEF) || !value.unicodeScalars.contains("\u{FFFD}") else {
                throw PlatformError(
                    .badRequest,
                    "the value of the header \(name) is not UTF-8. Encode it as UTF-8 or percent-encode it (é is %C3%A9), or send it in the body"
                )
            }
            fields.append(HeaderField(name.lowercased(), HeaderValue.trimmed(value)))
        }
        return fields
    }
}
