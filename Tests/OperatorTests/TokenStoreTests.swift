import Core
import Foundation
import Operator
import TestSupport
import Testing

@Suite("Tokens")
struct TokenStoreTests {
    static func mode(_ url: URL) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: url.path)[.posixPermissions] as? Int
    }

    @Test("U3, O1: the first start makes tokens that only the owner can read; later starts find them")
    func firstStart() async throws {
        try await withTemporaryDirectory { folder in
            let first = try await TokenStore.open(directory: folder.path, random: SystemRandomNumberGenerator())
            let token = try #require(first.token(TokenStore.user))
            #expect(token.wholeMatch(of: /[A-Za-z0-9_-]{43}/) != nil)
            #expect(first.token(TokenStore.containers) != token)
            #expect(first.accepts(token))
            let file = folder.appendingPathComponent(TokenStore.fileName)
            #expect(try Self.mode(file) == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [TokenStore.fileName])
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file.path)
            let second = try await TokenStore.open(directory: folder.path, random: SystemRandomNumberGenerator())
            #expect(second.token(TokenStore.user) == token)
            #expect(try Self.mode(file) == 0o600)
        }
    }

    @Test("O1: only whole tokens are accepted")
    func accepts() {
        let tokens = TokenStore(tokens: ["user": "0123456789abcdef", "containers": "fedcba9876543210"])
        #expect(tokens.accepts("0123456789abcdef"))
        #expect(tokens.accepts("fedcba9876543210"))
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "user"] {
            #expect(!tokens.accepts(wrong))
        }
        // Enough of them that one agrees in some byte of its digest.
        #expect(!(0..<2000).contains { tokens.accepts("wrong-\($0)") })
        #expect(!TokenStore(tokens: [:]).accepts(""))
    }

    @Test(
        "U5: a damaged file and an unusable folder are told in one line",
        arguments: ["", "{}x", "[1]", #"{"user":""}"#])
    func damaged(text: String) async throws {
        try await withTemporaryDirectory { folder in
            try text.write(to: folder.appendingPathComponent(TokenStore.fileName), atomically: true, encoding: .utf8)
            let error = try await #require(throws: PlatformError.self) {
                try await TokenStore.open(directory: folder.path, random: SystemRandomNumberGenerator())
            }
            #expect(error.code == .setup)
            #expect(!error.message.contains("\n"))
        }
        let error = try await #require(throws: PlatformError.self) {
            try await TokenStore.open(directory: "/nowhere/at/all", random: SystemRandomNumberGenerator())
        }
        #expect(error.code == .setup)
    }
}
