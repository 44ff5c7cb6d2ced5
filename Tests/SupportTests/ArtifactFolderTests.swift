import Foundation
import Support
import Synchronization
import TestSupport
import Testing

@Suite("Folders of artifacts", .timeLimit(.minutes(1)))
struct ArtifactFolderTests {
    /// What was passed on, in its order.
    private final class Copies: Sendable {
        private let state = Mutex<[(path: String, bytes: [UInt8])]>([])
        var paths: [String] { state.withLock { $0.map(\.path) } }
        func text(_ path: String) -> String? {
            state.withLock { $0.first { $0.path == path }.map { String(decoding: $0.bytes, as: UTF8.self) } }
        }

        func take(_ path: String, _ content: ArtifactContent) async throws {
            var bytes: [UInt8] = []
            while let piece = try await content.read(upTo: 1000) { bytes += piece }
            state.withLock { $0.append((path, bytes)) }
        }
    }

    private static func copy(_ folder: URL, limit: Int64 = 1 << 20) async throws -> (
        copies: Copies, omitted: [ArtifactFolder.Omission]
    ) {
        let copies = Copies()
        let omitted = try await ArtifactFolder(path: folder.path).copy(limit: limit) { try await copies.take($0, $1) }
        return (copies, omitted)
    }

    private static func put(_ text: String, _ path: String, in folder: URL) throws {
        let file = folder.appendingPathComponent(path)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    @Test("T6: files are passed on in the order of their paths, with odd names and all their bytes")
    func files() async throws {
        try await withTemporaryDirectory { folder in
            let long = String(repeating: "0123456789", count: 5000)
            for path in ["z", "a/b", "a b\n\"c\"", "a.txt", "\u{FC}mlaut/..x", "empty"] {
                try Self.put(path == "z" ? long : path == "empty" ? "" : path, path, in: folder)
            }
            try Self.put("{}", "progress.json", in: folder)
            try Self.put("{}", "a/progress.json", in: folder)
            let (copies, omitted) = try await Self.copy(folder)
            #expect(omitted.isEmpty)
            #expect(
                copies.paths == ["a b\n\"c\"", "a.txt", "a/b", "a/progress.json", "empty", "z", "\u{FC}mlaut/..x"])
            #expect(copies.text("z") == long && copies.text("empty") == "" && copies.text("a/b") == "a/b")
        }
    }

    @Test("T6: links, pipes, sockets, names that are not UTF-8 and deep folders are omitted with a reason")
    func hostile() async throws {
        try await withTemporaryDirectory { root in
            let folder = root.appendingPathComponent("artifacts")
            try Self.put("secret", "secret", in: root)
            try Self.put("kept", "kept", in: folder)
            let manager = FileManager.default
            try manager.createSymbolicLink(
                atPath: folder.path + "/link", withDestinationPath: root.path + "/secret")
            try manager.createSymbolicLink(atPath: folder.path + "/up", withDestinationPath: "..")
            #expect(mkfifo(folder.path + "/pipe", 0o600) == 0)
            let descriptor = open(folder.path + "/bad-\u{FF}", O_CREAT | O_WRONLY, 0o600)
            close(descriptor)
            let name: [CChar] =
                (folder.path + "/not-utf8-").utf8.map { CChar(bitPattern: $0) } + [CChar(bitPattern: 0xFE), 0]
            let odd = open(name, O_CREAT | O_WRONLY, 0o600)
            #expect(odd >= 0)
            close(odd)
            let deep = (0..<70).map { "d\($0)" }.joined(separator: "/")
            try Self.put("deep", deep + "/file", in: folder)
            let (copies, omitted) = try await Self.copy(folder)
            #expect(copies.paths == ["bad-\u{FF}", "kept"])
            let reasons = Dictionary(omitted.map { ($0.path, $0.reason) }) { first, _ in first }
            #expect(reasons["link"] == "it is a link" && reasons["up"] == "it is a link")
            #expect(reasons["pipe"] == "it is not a regular file")
            #expect(reasons["not-utf8-\u{FFFD}"] == "its name is not UTF-8")
            #expect(omitted.contains { $0.path.hasPrefix("d0/d1") && $0.reason.contains("64 folders deep") })
            #expect(omitted.count == 5)
        }
    }

    @Test("T6: files are kept in order as long as they fit; a sparse file counts with its size")
    func limit() async throws {
        try await withTemporaryDirectory { folder in
            try Self.put(String(repeating: "a", count: 600), "a", in: folder)
            try Self.put(String(repeating: "b", count: 400), "b", in: folder)
            let sparse = open(folder.path + "/c", O_CREAT | O_WRONLY, 0o600)
            #expect(ftruncate(sparse, 2 << 30) == 0)
            close(sparse)
            try Self.put("d", "d", in: folder)
            let (copies, omitted) = try await Self.copy(folder, limit: 1000)
            #expect(copies.paths == ["a", "b"])
            #expect(omitted.map(\.path) == ["c", "d"])
            #expect(omitted.allSatisfy { $0.reason == "the limit of max_artifacts is reached" })
            #expect(try await Self.copy(folder, limit: 0).copies.paths == [])
        }
    }

    @Test("T6: a file that grows while it is copied ends at the limit")
    func growing() async throws {
        try await withTemporaryDirectory { folder in
            try Self.put("aaaa", "a", in: folder)
            let path = folder.path + "/a"
            let omitted = try await ArtifactFolder(path: folder.path).copy(limit: 10) { _, content in
                let file = open(path, O_WRONLY | O_APPEND)
                _ = write(file, "0123456789", 10)
                close(file)
                while try await content.read(upTo: 3) != nil {}
            }
            #expect(omitted.map(\.path) == ["a"])
        }
    }

    @Test("T6: no more than 10,000 files are kept")
    func count() async throws {
        try await withTemporaryDirectory { folder in
            for index in 0..<10_003 {
                let file = open("\(folder.path)/f\(100_000 + index)", O_CREAT | O_WRONLY, 0o600)
                close(file)
            }
            let count = Mutex(0)
            let omitted = try await ArtifactFolder(path: folder.path).copy(limit: 1 << 20) { _, _ in
                count.withLock { $0 += 1 }
            }
            #expect(count.withLock { $0 } == 10_000)
            #expect(omitted.map(\.path) == ["f110000", "f110001", "f110002"])
        }
    }

    @Test("T7: the progress is a JSON object of at most 4 KiB in a regular file; a pipe or a link does not block")
    func progress() async throws {
        try await withTemporaryDirectory { folder in
            let artifacts = ArtifactFolder(path: folder.path)
            let path = folder.path + "/progress.json"
            #expect(try await artifacts.progress() == nil)
            for (text, isValid) in [
                ("{\"done\": 3}", true), (" \n{}", true), ("[1]", false), ("{\"done\":", false), ("", false),
                ("{\"m\": \"\(String(repeating: "x", count: 4086))\"}", true),
                ("{\"m\": \"\(String(repeating: "x", count: 4087))\"}", true),
                ("{\"m\": \"\(String(repeating: "x", count: 4089))\"}", false),
            ] {
                try Data(text.utf8).write(to: URL(fileURLWithPath: path))
                #expect(try await artifacts.progress() == (isValid ? Array(text.utf8) : nil), "\(text.prefix(20))")
            }
            try FileManager.default.moveItem(atPath: path, toPath: folder.path + "/elsewhere")
            try Data("{}".utf8).write(to: URL(fileURLWithPath: folder.path + "/elsewhere"))
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "elsewhere")
            #expect(try await artifacts.progress() == nil)
            unlink(path)
            #expect(mkfifo(path, 0o600) == 0)
            #expect(try await artifacts.progress() == nil)
            #expect(try await ArtifactFolder(path: folder.path + "/none").progress() == nil)
            #expect(try await artifacts.read("elsewhere", upTo: 1) == nil)
            #expect(try await artifacts.read("elsewhere", upTo: 2) == Array("{}".utf8))
        }
    }
}
