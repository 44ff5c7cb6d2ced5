import Core
import Foundation
import StubPlatform
import TestSupport
import Testing

@testable import Client

@Suite("U3: the platform of this machine")
struct LocalPlatformTests {
    private static func register(_ file: inout EnvironmentFile, _ data: String, token: String = "t") -> String {
        file.register(
            dataDirectory: data, socket: "\(data)/run/operator.sock", operatorEndpoint: "http://127.0.0.1:8888",
            token: token)
    }

    @Test("U3: the first platform is local and the default; another data directory gets a name of its own")
    func names() throws {
        var file = EnvironmentFile()
        #expect(Self.register(&file, "/home/ada/.cortex/local") == "local")
        #expect(file.defaultEnvironment == "local")
        let before = file["local"]
        #expect(Self.register(&file, "/srv/trial data") == "trial-data")
        #expect(Self.register(&file, "/other/trial data") == "trial-data-2")
        #expect(Self.register(&file, "/x/local") == "local-2")
        #expect(file["local"] == before && file.defaultEnvironment == "local")
        // The same one again, also after it was renamed, keeps its name and gets what is new.
        try file.rename("trial-data", to: "trial")
        #expect(Self.register(&file, "/srv/trial data", token: "new") == "trial")
        #expect(file["trial"]?.token == "new" && file.environments.count == 4)
        #expect(try EnvironmentFile(yaml: file.yaml()) == file)
    }

    @Test("U3: local of an earlier version is known by its token; one that a user made is left alone")
    func earlierVersion() {
        for (token, name) in [("t", "local"), ("another", "data")] {
            var file = EnvironmentFile(environments: [
                Environment(name: "local", operatorEndpoint: "http://127.0.0.1:8888", token: token)
            ])
            #expect(Self.register(&file, "/srv/data") == name)
            #expect(file["local"]?.token == token)
        }
    }

    @Test(
        "U3: with a socket nothing is sent to the port, whatever listens there, and nothing to a folder that others can write to"
    )
    func socket() async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { thief in
                thief.on("GET /get", .json("[]"))
                let run = folder.path + "/run"
                let environment = Environment(
                    name: "local", operatorEndpoint: thief.url, token: "secret",
                    operatorSocket: run + "/operator.sock")
                func code() async -> PlatformError.Code? {
                    await #expect(throws: PlatformError.self) {
                        try await Transport.with { transport in
                            _ = try await OperatorClient(environment: environment, transport: transport).apis()
                        }
                    }?.code
                }
                #expect(await code() == .connectionFailed)
                try FileManager.default.createDirectory(
                    atPath: run, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
                #expect(await code() == .connectionFailed)
                try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: run)
                #expect(await code() == .setup)
                #expect(thief.requests.isEmpty)
            }
        }
    }

    @Test("N9: cli.yaml of another user is not believed, and no token is written into another user's folder")
    func foreignFile() async throws {
        guard geteuid() == 0 else { return }
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(directory: folder.path)
            try store.update { _ = Self.register(&$0, "/srv/data") }
            try #require(chown(store.path, 65_534, 65_534) == 0)
            #expect(throws: PlatformError.self) { try store.load() }
            try FileManager.default.removeItem(atPath: store.path)
            try #require(chown(folder.path, 65_534, 65_534) == 0)
            let error = #expect(throws: PlatformError.self) { try store.update { _ = Self.register(&$0, "/srv/data") } }
            #expect(error?.message.contains("belongs to another user") == true)
            #expect(!FileManager.default.fileExists(atPath: store.path))
        }
    }

    private static func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    @Test("N9: a cli.yaml that another user could have written is refused as it is; a token is hidden from readers")
    func modes() async throws {
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(directory: folder.path)
            try store.update { _ = Self.register(&$0, "/srv/data") }
            for mode in [0o666, 0o664, 0o602] {
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: store.path)
                let error = #expect(throws: PlatformError.self) { try store.load() }
                #expect(error?.message.contains("chmod 600 \(store.path)") == true)
                #expect(throws: PlatformError.self) { try store.update { _ = Self.register(&$0, "/other") } }
                #expect(try Self.mode(store.path) == mode)
            }
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: store.path)
            #expect(try store.load()["local"]?.token == "t")
            #expect(try Self.mode(store.path) == 0o600)
            try Data("environments: []\n".utf8).write(to: URL(filePath: store.path))
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: store.path)
            _ = try store.load()
            #expect(try Self.mode(store.path) == 0o644)
        }
    }

    @Test("N9: a cli.yaml that is the user's link is written through; a broken, a foreign and an open one is refused")
    func links() async throws {
        try await withTemporaryDirectory { folder in
            let manager = FileManager.default
            let dotfiles = folder.path + "/dotfiles"
            try manager.createDirectory(atPath: dotfiles, withIntermediateDirectories: false)
            let target = dotfiles + "/cortex.yaml"
            let store = EnvironmentStore(directory: folder.path + "/config")
            try manager.createDirectory(atPath: store.directory, withIntermediateDirectories: false)
            try manager.createSymbolicLink(atPath: store.path, withDestinationPath: target)
            func refusal() -> String? {
                #expect(throws: PlatformError.self) { try store.update { _ = Self.register(&$0, "/srv/data") } }?
                    .message
            }
            #expect(refusal()?.contains("is a link whose target cannot be used") == true)
            #expect(!manager.fileExists(atPath: target))
            try Data("environments: []\n".utf8).write(to: URL(filePath: target))
            try store.update { _ = Self.register(&$0, "/srv/data") }
            #expect(try manager.destinationOfSymbolicLink(atPath: store.path) == target)
            #expect(try Self.mode(target) == 0o600)
            #expect(try manager.contentsOfDirectory(atPath: dotfiles) == ["cortex.yaml"])
            #expect(try store.load()["local"]?.token == "t")
            try manager.setAttributes([.posixPermissions: 0o777], ofItemAtPath: dotfiles)
            #expect(throws: PlatformError.self) { try store.update { _ = Self.register(&$0, "/other") } }
            #expect(try store.load().environments.count == 1)
            guard geteuid() == 0 else { return }
            try #require(lchown(store.path, 65_534, 65_534) == 0)
            #expect(refusal()?.contains("another user made") == true)
        }
    }

    @Test(
        "N9: white space around a token is removed; what cannot be one is refused and never shown",
        arguments: [
            ("abc\n", "abc"), (" abc\r\n", "abc"), ("\u{FEFF}abc", "abc"), ("", nil), (" \n", nil),
        ] as [(String, String?)])
    func clean(text: String, token: String?) throws {
        #expect(try TokenText.clean(text, from: "x") == token)
        for wrong in ["secret\nsecret", "secret\rsecret", "secret secret", "secr\u{0}et", "sécret"] {
            let error = #expect(throws: PlatformError.self) { try TokenText.clean(wrong, from: "a file") }
            #expect(error?.message.contains("a file") == true && error?.message.contains("secret") == false)
        }
    }
}
