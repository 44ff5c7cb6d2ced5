import Core
import Crypto
import Foundation

/// Signs requests to an S3-compatible server with AWS Signature Version 4
/// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html). Bodies are empty.
struct S3Signature {
    var accessKey: String
    var secretKey: Secret
    var sessionToken: Secret?
    var region: String

    /// The SHA-256 of an empty body.
    static let emptyBody = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    /// The header fields that sign a GET request, besides `Host`.
    ///
    /// - Parameters:
    ///   - host: as in the field `Host`.
    ///   - path: encoded once (``encode(_:keepingSlashes:)``).
    ///   - query: encoded, sorted by name.
    ///   - range: the field `Range`, if there is one.
    func headers(host: String, path: String, query: String, range: String?, now: Timestamp) -> [(String, String)] {
        let time = Self.time(now)
        var signed = [("host", host), ("x-amz-content-sha256", Self.emptyBody), ("x-amz-date", time)]
        if let range { signed.append(("range", range)) }
        if let sessionToken { signed.append(("x-amz-security-token", sessionToken.revealed)) }
        signed.sort { $0.0 < $1.0 }
        let names = signed.map(\.0).joined(separator: ";")
        let fields = signed.map { "\($0.0):\($0.1)\n" }.joined()
        let request = "GET\n\(path)\n\(query)\n\(fields)\n\(names)\n\(Self.emptyBody)"
        let day = String(time.prefix(8))
        let scope = "\(day)/\(region)/s3/aws4_request"
        let text = "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(Self.hex(SHA256.hash(data: Data(request.utf8))))"
        var key = SymmetricKey(data: Data("AWS4\(secretKey.revealed)".utf8))
        for part in [day, region, "s3", "aws4_request"] {
            key = SymmetricKey(data: Data(HMAC<SHA256>.authenticationCode(for: Data(part.utf8), using: key)))
        }
        let signature = Self.hex(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key))
        let authorization =
            "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
        return signed.filter { $0.0 != "host" } + [("authorization", authorization)]
    }

    /// `20261130T220000Z`
    private static func time(_ now: Timestamp) -> String {
        now.rfc3339.filter { $0 != "-" && $0 != ":" }
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
    }

    /// Percent-encoding as the signature wants it: everything but unreserved characters.
    static func encode(_ text: String, keepingSlashes: Bool = false) -> String {
        var encoded = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                encoded.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "/") where keepingSlashes: encoded += "/"
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                encoded += "%" + (digits.count == 1 ? "0" + digits : digits)
            }
        }
        return encoded
    }
}
