import Core
import Crypto
import Support

/// The credentials that the operator accepts, each with a name (contract O1).
///
/// They are made once, at the first start, and kept in a file that only its owner may read.
package struct TokenStore: Sendable {
    /// The token of people and their tools.
    package static let user = "user"
    /// The token in the `cli.yaml` of containers (contract C9).
    package static let containers = "containers"
    /// Name of the file in the data directory.
    package static let fileName = "tokens.json"

    private let tokens: [String: String]
    private let digests: [[UInt8]]

    package init(tokens: [String: String]) {
        self.tokens = tokens
        self.digests = tokens.values.map(Self.digest)
    }

    /// Reads the tokens of a data directory, and makes those that are missing.
    ///
    /// - Parameter random: must be fit for secrets: `SystemRandomNumberGenerator` outside of tests.
    /// - Throws: ``PlatformError`` `setup` when the file cannot be read or written or is damaged.
    package static func open(directory: String, random: some RandomNumberGenerator & Sendable) async throws
        -> TokenStore
    {
        try await blocking {
            var random = random
            return try openBlocking(directory: directory, random: &random)
        }
    }

    /// The token of a name; `nil` for a name that has none.
    package func token(_ name: String) -> String? { tokens[name] }

    /// Whether a token that somebody presents is one of these. Takes the same time for every wrong one.
    package func accepts(_ presented: String) -> Bool {
        let presented = Self.digest(presented)
        var found: UInt8 = 0
        for digest in digests {
            var difference: UInt8 = 0
            for (left, right) in zip(digest, presented) { difference |= left ^ right }
            found |= difference == 0 ? 1 : 0
        }
        return found == 1
    }

    /// Digests are compared instead of tokens, so that the time tells neither a token's length nor its beginning.
    private static func digest(_ token: String) -> [UInt8] { Array(SHA256.hash(data: Array(token.utf8))) }

    private static func openBlocking(directory: String, random: inout some RandomNumberGenerator) throws -> TokenStore {
        let file = PrivateFile(path: "\(directory)/\(fileName)")
        var tokens: [String: String] = [:]
        if let bytes = try file.read() {
            guard let read = try? JSONCoding.decode([String: String].self, from: bytes),
                read.values.allSatisfy({ $0.utf8.count >= 16 })
            else {
                throw PlatformError(
                    .setup, "\(file.path) is damaged: remove it, start again, and new tokens are made")
            }
            tokens = read
        }
        let missing = [user, containers].filter { tokens[$0] == nil }
        if !missing.isEmpty {
            for name in missing { tokens[name] = makeToken(&random) }
            try file.replace(with: try JSONCoding.encode(tokens) + [UInt8(ascii: "\n")])
        }
        return TokenStore(tokens: tokens)
    }

    /// 32 random bytes as base64url without padding (RFC 4648 §5).
    private static func makeToken(_ random: inout some RandomNumberGenerator) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var bits: UInt32 = 0
        var count = 0
        var text: [UInt8] = []
        for _ in 0..<32 {
            bits = bits << 8 | UInt32(UInt8.random(in: .min ... .max, using: &random))
            count += 8
            while count >= 6 {
                count -= 6
                text.append(alphabet[Int(bits >> UInt32(count) & 63)])
            }
        }
        text.append(alphabet[Int(bits << UInt32(6 - count) & 63)])
        return String(decoding: text, as: UTF8.self)
    }
}
