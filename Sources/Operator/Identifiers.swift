import Core
import Crypto

/// The identifiers of an API's versions (reference: cortex.md §1.9).
enum Identifiers {
    private static let deploymentAlphabet = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)

    /// Digest of what touches the pod: 63 hexadecimal digits.
    static func podID(of specification: APISpecification) throws -> String {
        try digest(CanonicalForm.pod(specification), digits: 63)
    }

    /// Digest of everything declared: 32 hexadecimal digits.
    static func specID(of specification: APISpecification, podID: String) throws -> String {
        try digest(CanonicalForm.specification(specification, podID: podID), digits: 32)
    }

    /// Ten characters, new for each first deploy and each refresh.
    static func deploymentID(_ random: inout some RandomNumberGenerator) -> String {
        let characters = (0..<10).map { _ in
            deploymentAlphabet[Int.random(in: 0..<deploymentAlphabet.count, using: &random)]
        }
        return String(decoding: characters, as: UTF8.self)
    }

    /// `<16 hex>-<deploymentID>-<specID>`; the hexadecimal part falls with time, so newer versions sort first.
    static func apiID(now: Timestamp, deploymentID: String, specID: String) -> String {
        let countdown = Int64.max - max(0, now.nanoseconds)
        let digits = String(countdown, radix: 16)
        return "\(String(repeating: "0", count: 16 - digits.utf8.count))\(digits)-\(deploymentID)-\(specID)"
    }

    private static func digest(_ value: JSONValue, digits: Int) throws -> String {
        let bytes = SHA256.hash(data: try DocumentCoding.encode(value))
        let hexadecimal = Array("0123456789abcdef".utf8)
        let text = bytes.flatMap { [hexadecimal[Int($0 >> 4)], hexadecimal[Int($0 & 15)]] }
        return String(decoding: text.prefix(digits), as: UTF8.self)
    }
}
