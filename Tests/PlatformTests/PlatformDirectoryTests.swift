import Access
import Client
import Core
import Foundation
import TestSupport
import Testing

@testable import Platform

@Suite("U5, N9: the data directory")
struct PlatformDirectoryTests {
    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    private func set(_ mode: Int, _ path: String) throws {
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private func refusal(_ path: String) throws -> String {
        let error = try #require(throws: PlatformError.self) { try PlatformDirectory.prepare(path) }
        #expect(error.code == .setup && !error.message.contains("\n"))
        return error.message
    }

    @Test("N9: new files, and files of an earlier version, are accessible to their owner only")
    func modes() async throws {
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/data"
            let made = try PlatformDirectory.prepare(path)
            for part in [path, made.pods, made.sockets] { #expect(try mode(part) == 0o700) }
            try Data().write(to: URL(filePath: path + "/cortex.sqlite"))
            for part in [path, made.pods, made.sockets] { try set(0o755, part) }
            try set(0o664, path + "/cortex.sqlite")
            _ = try PlatformDirectory.prepare(path)
            for part in [path, made.pods, made.sockets] { #expect(try mode(part) == 0o700) }
            #expect(try mode(path + "/cortex.sqlite") == 0o600)
        }
    }

    @Test("U5: a folder that another user can write to or owns is refused in one line that says what to do")
    func foreign() async throws {
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/data"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            for open in [0o777, 0o775, 0o722] {
                try set(open, path)
                #expect(try refusal(path).contains("chmod 700 \(path)"))
            }
            try set(0o700, path)
            let shared = folder.path + "/shared"
            try FileManager.default.createDirectory(atPath: shared + "/data", withIntermediateDirectories: true)
            try set(0o700, shared + "/data")
            try set(0o777, shared)
            #expect(try refusal(shared + "/data").contains("every user can write to"))
            try set(0o1777, shared)
            _ = try PlatformDirectory.prepare(shared + "/data")
            guard geteuid() == 0 else { return }
            try Data().write(to: URL(filePath: path + "/addresses.json"))
            try #require(chown(path + "/addresses.json", 65_534, 65_534) == 0)
            #expect(try refusal(path).contains("addresses.json belongs to another user"))
            try #require(chown(path, 65_534, 65_534) == 0)
            #expect(try refusal(path).contains("\(path) belongs to another user"))
        }
    }

    @Test(
        "N9: a link in the data directory is refused in one line, and its target is not changed",
        arguments: ["lock", "run", "pods", "cortex.sqlite", "tokens.json", "engine.key", "addresses.json"])
    func links(name: String) async throws {
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/data"
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            for (index, isThere) in [true, false].enumerated() {
                let target = folder.path + "/target-\(index)"
                if isThere {
                    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
                }
                try FileManager.default.createSymbolicLink(atPath: "\(path)/\(name)", withDestinationPath: target)
                #expect(try refusal(path).contains("\(path)/\(name) is a symbolic link"))
                #expect(FileManager.default.fileExists(atPath: target) == isThere)
                if isThere { #expect(try FileManager.default.contentsOfDirectory(atPath: target) == []) }
                try FileManager.default.removeItem(atPath: "\(path)/\(name)")
            }
            _ = try PlatformDirectory.prepare(path)
        }
    }

    @Test("N9: a secret that another user could have written is refused and not changed")
    func writableSecrets() async throws {
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/data"
            _ = try PlatformDirectory.prepare(path)
            for (name, open) in [
                ("tokens.json", 0o666), ("tokens.json", 0o620), ("engine.key", 0o602), ("lock", 0o666),
            ] {
                let file = "\(path)/\(name)"
                try Data().write(to: URL(filePath: file))
                try set(open, file)
                for _ in 0..<2 { #expect(try refusal(path).contains("chmod 600 \(file)")) }
                #expect(try mode(file) == open)
                try set(0o644, file)
                _ = try PlatformDirectory.prepare(path)
                #expect(try mode(file) == 0o600)
            }
        }
    }

    @Test("U5: a data directory below a file is refused with a clear message")
    func belowFile() async throws {
        try await withTemporaryDirectory { folder in
            let file = folder.path + "/file"
            try Data().write(to: URL(filePath: file))
            for path in [file, file + "/x", file + "/x/y"] {
                #expect(try refusal(path).contains("\(path) cannot be created: a part of this path is a file"))
            }
        }
    }

    @Test("N9: a link in the place of the write test is removed, and its target stays")
    func probe() async throws {
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/data"
            _ = try PlatformDirectory.prepare(path)
            let target = folder.path + "/precious"
            try Data("kept".utf8).write(to: URL(filePath: target))
            try FileManager.default.createSymbolicLink(atPath: path + "/.write-test", withDestinationPath: target)
            _ = try PlatformDirectory.prepare(path)
            #expect(try String(contentsOfFile: target, encoding: .utf8) == "kept")
            #expect(!FileManager.default.fileExists(atPath: path + "/.write-test"))
        }
    }

    @Test("C9, N1: every client can read a pod's configuration, and each replica has its own token")
    func clientConfiguration() throws {
        let tokens = TokenStore(admin: "0123456789abcdef", podKey: "0123456789abcdef")
        let now = Timestamp(seconds: 0)
        let api = DeployedAPI(
            specification: APISpecification.async(
                name: "iris", networking: .init(endpoint: "/iris"), pod: .init(operatorAccess: .own, containers: [])),
            id: "", specID: "", podID: "", deploymentID: "", initialDeployment: now, lastUpdated: now)
        let text = Assembly.clientConfiguration(of: "iris-a1", for: api, tokens)
        let environment = try EnvironmentFile(yaml: text).resolve(nil)
        #expect(environment.operatorEndpoint == "http://operator.default.svc.cluster.local:8888")
        let claim = PodClaim(api: "iris", replica: "iris-a1", access: .own)
        let token = try #require(environment.token)
        #expect(tokens.verify(token) == .pod(claim))
    }
}
