import Core
import Foundation
import PodmanSupport
import Subprocess
import TestSupport
import Testing

@testable import EngineDocker

@Suite("Images and where they come from")
struct ImageTests {
    @Test("C12: a pull names one tag or one digest in full, never all tags, and no short name")
    func pullQuery() throws {
        #expect(try #require(ImageReference("a")).pullQuery.map(\.1) == ["docker.io/library/a", "latest"])
        #expect(try #require(ImageReference("me/a:1")).pullQuery.map(\.1) == ["docker.io/me/a", "1"])
        let digest = "sha256:" + String(repeating: "0", count: 64)
        #expect(try #require(ImageReference("q.io/a:1@" + digest)).pullQuery.map(\.1) == ["q.io/a@" + digest])
    }

    @Test("C12: an archive is read by tar: names, modes, links, content")
    func tar() async throws {
        var archive = TarArchive()
        let long = String(repeating: "folder-name/", count: 10) + "file"
        try archive.addDirectory("tmp", mode: 0o1777)
        try archive.addFile("bin/tool", Array("#!tool".utf8), mode: 0o755)
        try archive.addFile(long, [UInt8](repeating: 7, count: 513))
        try archive.addLink("bin/other", to: "tool")
        #expect(throws: TarArchive.NameTooLong.self) { try archive.addFile(String(repeating: "x", count: 101), []) }
        let bytes = archive.finished()
        #expect(bytes.count % 512 == 0)
        try await withTemporaryDirectory { folder in
            let path = folder.path + "/a.tar"
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let listed = try await run(
                .name("tar"), arguments: ["-tvf", path], output: .string(limit: 10_000), error: .discarded)
            let lines = listed.standardOutput.split(separator: "\n").map(String.init)
            #expect(lines.count == 4)
            #expect(lines[0].hasPrefix("drwxrwxrwt"))
            #expect(lines[1].hasPrefix("-rwxr-xr-x 0/0"))
            #expect(lines[2].hasSuffix(long))
            #expect(lines[3].hasSuffix("bin/other -> tool"))
            _ = try await run(.name("tar"), arguments: ["-xf", path, "-C", folder.path], output: .discarded)
            #expect(try String(contentsOfFile: folder.path + "/bin/tool", encoding: .utf8) == "#!tool")
            #expect(FileManager.default.contents(atPath: folder.path + "/" + long)?.count == 513)
        }
    }

    @Test("C12: the same content is the same image, other content another")
    func archive() throws {
        func make(_ text: String) throws -> ImageArchive {
            var layer = TarArchive()
            try layer.addFile("file", Array(text.utf8))
            return try ImageArchive(
                tag: "localhost/x:1", architecture: "amd64", layers: [layer.finished()],
                configuration: .init(command: ["a"], labels: ["k": "v"]))
        }
        #expect(try make("one").id == make("one").id)
        #expect(try make("one").bytes == make("one").bytes)
        #expect(try make("one").id != make("two").id)
        #expect(ImageArchive.digest(Array("abc".utf8)).hasPrefix("ba7816bf"))
    }

    @Test("C12: progress is told once a second, in layers and megabytes")
    func progress() {
        let start = Timestamp(seconds: 100)
        var progress = PullProgress(image: "python:3", now: start)
        func event(_ status: String, _ id: String, _ current: Int64? = nil, _ total: Int64? = nil) -> PullEvent {
            PullEvent(status: status, id: id, progressDetail: .init(current: current, total: total))
        }
        #expect(progress.note(event("Pulling from library/python", "3"), now: start + .seconds(2)) == nil)
        #expect(progress.note(event("Pulling fs layer", "a"), now: start + .milliseconds(500)) == nil)
        #expect(progress.note(event("Pulling fs layer", "b"), now: start + .milliseconds(900)) == nil)
        let line = progress.note(event("Downloading", "a", 1_500_000, 4_000_000), now: start + .seconds(1))
        #expect(line == "Pulling python:3: 0 of 2 layers, 1.5 of 4.0 MB")
        #expect(progress.note(event("Download complete", "a"), now: start + .milliseconds(1500)) == nil)
        let next = progress.note(event("Already exists", "b"), now: start + .seconds(2))
        #expect(next == "Pulling python:3: 2 of 2 layers, 4.0 of 4.0 MB")
    }

    @Test("C12: a registry that sends endless layers makes nothing grow")
    func manyLayers() {
        var progress = PullProgress(image: "x", now: Timestamp(seconds: 0))
        var line: String?
        for index in 0..<3000 {
            line =
                progress.note(PullEvent(status: "Waiting", id: "\(index)"), now: Timestamp(seconds: Int64(index)))
                ?? line
        }
        #expect(line?.contains("of 1000 layers") == true)
    }

    @Test(
        "C12: credentials are found under every key that means the registry",
        arguments: [
            ("docker.io", "hub"), ("127.0.0.1:5000", "five"), ("ghcr.io", "token"), ("plain.example", "plain"),
            ("none.example", nil), ("broken.example", nil), ("broken2.example", nil),
        ] as [(String, String?)])
    func credentials(registry: String, expected: String?) throws {
        let auth = { (text: String) in Data(text.utf8).base64EncodedString() }
        let text = """
            {"auths": {"https://index.docker.io/v1/": {"auth": "\(auth("hub:p:w"))"}, "http://127.0.0.1:5000/v2/": {"auth": "\(auth("five:pw\0"))"},
            "ghcr.io": {"auth": "", "identitytoken": "token"}, "plain.example": {"username": "plain", "password": "pw"},
            "broken.example": {"auth": "*"}, "broken2.example": {"auth": "\(auth("nocolon"))"}}, "credHelpers": null, "other": 1}
            """
        let file = try JSONDecoder().decode(DockerConfigurationFile.self, from: Data(text.utf8))
        let found = file.credentials(for: registry)
        #expect((found?.identityToken.isEmpty == false ? found?.identityToken : found?.username) == expected)
        if registry == "docker.io" { #expect(found?.password == "p:w") }
        if registry == "127.0.0.1:5000" { #expect(found?.password == "pw") }
    }

    @Test("C12: the header is URL-safe base64, and never missing")
    func header() throws {
        #expect(RegistryCredentials.anonymous.header == "e30=")
        let header = RegistryCredentials(username: "ü>?>?", password: "ÿÿ~~", registry: "r").header
        #expect(!header.contains("+") && !header.contains("/"))
        let data = try #require(Data(base64Encoded: header.replacing("-", with: "+").replacing("_", with: "/")))
        let members = try JSONDecoder().decode([String: String].self, from: data)
        #expect(members == ["username": "ü>?>?", "password": "ÿÿ~~", "serveraddress": "r"])
    }

    @Test("C12: a credential helper is asked on its standard input; a failing one leaves the file's word")
    func helper() async throws {
        try await withTemporaryDirectory { folder in
            func program(_ name: String, _ script: String) throws {
                let path = folder.path + "/docker-credential-" + name
                try ("#!/bin/sh\n" + script).write(toFile: path, atomically: true, encoding: .utf8)
                try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
            }
            try program("good", "read server; echo \"{\\\"Username\\\":\\\"for $server\\\",\\\"Secret\\\":\\\"s\\\"}\"")
            try program("token", "echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'")
            try program("bad", "echo 'credentials not found'; exit 1")
            let auth = Data("file:pw".utf8).base64EncodedString()
            let text = """
                {"auths": {"c.example": {"auth": "\(auth)"}}, "credsStore": "bad", "credHelpers": {"a.example": "good", "b.example": "token", "d.example": "../x"}}
                """
            try text.write(toFile: folder.path + "/config.json", atomically: true, encoding: .utf8)
            let store = CredentialStore(
                directory: folder.path, logger: EngineHarness.logger,
                searchPath: folder.path + ":/usr/bin:/bin")
            #expect(await store.credentials(for: "a.example")?.username == "for a.example")
            #expect(await store.credentials(for: "b.example")?.identityToken == "t")
            #expect(await store.credentials(for: "c.example")?.username == "file")
            #expect(await store.credentials(for: "d.example") == nil)
            try "{".write(toFile: folder.path + "/config.json", atomically: true, encoding: .utf8)
            #expect(await store.credentials(for: "a.example") == nil)
        }
    }
}
