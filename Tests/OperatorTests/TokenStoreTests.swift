import Access
import Core
import Foundation
import TestSupport
import Testing

@Suite("Tokens")
struct TokenStoreTests {
    static func mode(_ url: URL) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: url.path)[.posixPermissions] as? Int
    }

    private static func open(_ folder: URL) throws -> TokenStore {
        try TokenStore.open(directory: folder.path, random: SystemRandomNumberGenerator())
    }

    @Test("U3, O1: the first start makes tokens that only the owner can read; later starts find them")
    func firstStart() async throws {
        try await withTemporaryDirectory { folder in
            let first = try Self.open(folder)
            #expect(first.admin.revealed.wholeMatch(of: /[A-Za-z0-9_-]{43}/) != nil)
            #expect(first.verify(first.admin.revealed) == .admin)
            let file = folder.appendingPathComponent(TokenStore.fileName)
            #expect(try Self.mode(file) == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [TokenStore.fileName])
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file.path)
            let second = try Self.open(folder)
            #expect(second.admin == first.admin)
            #expect(try Self.mode(file) == 0o600)
            let claim = PodClaim(api: "iris", replica: "iris-0", access: .read)
            #expect(second.verify(first.token(for: claim)) == .pod(claim))
        }
    }

    @Test("N1: the shared token of earlier versions loses its rights, and the admin's stays")
    func earlierVersion() async throws {
        try await withTemporaryDirectory { folder in
            let file = folder.appendingPathComponent(TokenStore.fileName)
            try #"{"containers":"fedcba9876543210","user":"0123456789abcdef"}"#
                .write(to: file, atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
            let tokens = try Self.open(folder)
            #expect(tokens.verify("0123456789abcdef") == .admin)
            #expect(tokens.verify("fedcba9876543210") == nil)
            #expect(try !String(contentsOf: file, encoding: .utf8).contains("fedcba9876543210"))
        }
    }

    @Test("O1, N1: only whole, unaltered tokens of this platform are accepted")
    func verify() throws {
        let tokens = TokenStore(admin: "0123456789abcdef", podKey: "a key of this platform")
        #expect(tokens.verify("0123456789abcdef") == .admin)
        for wrong in [
            "", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", "user", "pod....", "pod.a.b.full.",
        ] {
            #expect(tokens.verify(wrong) == nil, "\(wrong)")
        }
        #expect(!(0..<2000).contains { tokens.verify("wrong-\($0)") != nil })
        let claim = PodClaim(api: "iris", replica: "iris-0", access: .read)
        let token = tokens.token(for: claim)
        #expect(tokens.verify(token) == .pod(claim))
        #expect(token.wholeMatch(of: /[A-Za-z0-9._-]+/) != nil, "needs no quotes, neither in YAML nor in a header")
        let other = TokenStore(admin: "0123456789abcdef", podKey: "a key of another platform")
        #expect(other.verify(token) == nil)
        for altered in [
            token.replacing(".read.", with: ".full."), token.replacing("iris-0", with: "iris-1"),
            token.replacing("pod.iris.", with: "pod.rose."), token + "A", String(token.dropLast()), token + "=",
        ] { #expect(tokens.verify(altered) == nil, "\(altered)") }
    }

    @Test("N9: a token file of another user, a link and one that others may write are refused")
    func foreignFile() async throws {
        try await withTemporaryDirectory { folder in
            let file = folder.appendingPathComponent(TokenStore.fileName)
            func refusal() throws -> String {
                try #require(throws: PlatformError.self) { try Self.open(folder) }.message
            }
            let elsewhere = folder.appendingPathComponent("elsewhere")
            try #"{"user":"0123456789abcdef"}"#.write(to: elsewhere, atomically: true, encoding: .utf8)
            try FileManager.default.createSymbolicLink(at: file, withDestinationURL: elsewhere)
            #expect(try refusal().contains("symbolic link"))
            try FileManager.default.removeItem(at: file)
            try FileManager.default.moveItem(at: elsewhere, to: file)
            try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: file.path)
            #expect(try refusal().contains("can be written by other users"))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
            guard geteuid() == 0 else { return }
            try #require(chown(file.path, 65_534, 65_534) == 0)
            #expect(try refusal().contains("belongs to another user"))
        }
    }

    @Test(
        "U5: a damaged file and an unusable folder are told in one line",
        arguments: ["", "{}x", "[1]", #"{"user":""}"#])
    func damaged(text: String) async throws {
        try await withTemporaryDirectory { folder in
            try text.write(to: folder.appendingPathComponent(TokenStore.fileName), atomically: true, encoding: .utf8)
            let error = try #require(throws: PlatformError.self) { try Self.open(folder) }
            #expect(error.code == .setup)
            #expect(!error.message.contains("\n"))
        }
        let error = try #require(throws: PlatformError.self) { try Self.open(URL(filePath: "/nowhere/at/all")) }
        #expect(error.code == .setup)
    }
}
