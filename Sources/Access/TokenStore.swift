package import Core
import Crypto
import Foundation

/// The admin's token, and the key that the tokens of pods are made with (contract O1, N1).
///
/// Both are made once, at the first start, and kept in a file that only its owner may read. The admin's token is stored
/// as it is, because its owner reads it there for clients on other machines. Tokens of pods are not stored: each is
/// derived from its claim and the key.
package struct TokenStore: Sendable {
    /// Name of the file in the data directory.
    package static let fileName = "tokens.json"
    /// Fewest bytes of a token or key in the file.
    private static let shortest = 16

    /// The token of the person who runs the platform.
    package let admin: Secret
    private let adminDigest: SHA256Digest
    private let key: SymmetricKey

    /// - Parameters:
    ///   - admin: the admin's token.
    ///   - podKey: the secret that pods' tokens are made with.
    package init(admin: String, podKey: String) {
        self.admin = Secret(admin)
        self.adminDigest = Self.digest(admin)
        self.key = SymmetricKey(data: Array(podKey.utf8))
    }

    /// Reads the secrets of a data directory, and makes those that are missing. Blocks.
    ///
    /// The shared token that earlier versions gave to all containers is removed: it is not accepted any more.
    ///
    /// - Parameter random: must be fit for secrets: `SystemRandomNumberGenerator` outside of tests.
    /// - Throws: ``PlatformError`` `setup` when the file cannot be read or written, is damaged, or belongs to another
    ///   user.
    package static func open(directory: String, random: some RandomNumberGenerator & Sendable) throws -> TokenStore {
        var random = random
        let file = PrivateFile(path: "\(directory)/\(fileName)")
        var content = Content()
        var isComplete = false
        if let bytes = try file.read() {
            guard let read = try? JSONDecoder().decode(Content.self, from: Data(bytes)),
                [read.user, read.podKey, read.containers].allSatisfy({ $0.map { $0.utf8.count >= shortest } ?? true })
            else {
                throw PlatformError(
                    .setup, "\(file.path) is damaged: remove it, start again, and new tokens are made")
            }
            content = read
            isComplete = read.user != nil && read.podKey != nil && read.containers == nil
        }
        let admin = content.user ?? makeToken(&random)
        let podKey = content.podKey ?? makeToken(&random)
        if !isComplete {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            let bytes = try encoder.encode(Content(user: admin, podKey: podKey))
            try file.replace(with: Array(bytes) + [UInt8(ascii: "\n")])
        }
        return TokenStore(admin: admin, podKey: podKey)
    }

    private struct Content: Codable {
        var user: String?
        var podKey: String?
        /// The token of all containers, of versions up to 1.0.
        var containers: String?

        enum CodingKeys: String, CodingKey {
            case user, containers
            case podKey = "pod_key"
        }
    }

    // MARK: Checking

    /// What a token proves. A pod's claim still has to be compared with the replicas that run.
    package enum Proof: Sendable, Hashable {
        case admin
        case pod(PodClaim)
    }

    /// What a presented token proves; `nil` for a wrong one. The time does not depend on how much of a token is right.
    package func verify(_ presented: String) -> Proof? {
        // Digests are compared instead of tokens, so that the time reveals neither a token's length nor its beginning.
        if Self.digest(presented) == adminDigest { return .admin }
        guard let (claim, code) = PodClaim.parse(presented),
            HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: claim.signedBytes, using: key)
        else { return nil }
        return .pod(claim)
    }

    /// The token of one replica: the same one for the same claim.
    package func token(for claim: PodClaim) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: claim.signedBytes, using: key)
        return claim.text + "." + Base64URL.encode(Array(code))
    }

    private static func digest(_ token: String) -> SHA256Digest { SHA256.hash(data: Array(token.utf8)) }

    /// 32 random bytes as base64url.
    private static func makeToken(_ random: inout some RandomNumberGenerator) -> String {
        Base64URL.encode((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) })
    }
}

/// What a pod's token says of its holder.
package struct PodClaim: Sendable, Hashable {
    package var api: String
    package var replica: String
    /// The access that the replica's version declared. A later version may lower it, never raise it.
    package var access: OperatorAccess

    package init(api: String, replica: String, access: OperatorAccess) {
        self.api = api
        self.replica = replica
        self.access = access
    }

    /// No part has a dot: names are letters, digits and dashes.
    fileprivate var text: String { "pod.\(api).\(replica).\(access.rawValue)" }
    fileprivate var signedBytes: [UInt8] { Array("cortex pod token 1\n\(text)".utf8) }

    fileprivate static func parse(_ token: String) -> (claim: PodClaim, code: [UInt8])? {
        guard token.utf8.count <= 512 else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "pod", !parts[1].isEmpty, !parts[2].isEmpty,
            let access = OperatorAccess(rawValue: String(parts[3])), let code = Base64URL.decode(parts[4])
        else { return nil }
        return (PodClaim(api: String(parts[1]), replica: String(parts[2]), access: access), code)
    }
}

/// base64url without padding (RFC 4648 §5).
enum Base64URL {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var bits: UInt32 = 0
        var count = 0
        var text: [UInt8] = []
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                text.append(alphabet[Int(bits >> UInt32(count) & 63)])
            }
        }
        if count > 0 { text.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
        return String(decoding: text, as: UTF8.self)
    }

    /// `nil` for a text that ``encode(_:)`` does not make.
    static func decode(_ text: Substring) -> [UInt8]? {
        var bits: UInt32 = 0
        var count = 0
        var bytes: [UInt8] = []
        for character in text.utf8 {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return encode(bytes) == text ? bytes : nil
    }
}
