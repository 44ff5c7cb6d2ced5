import Core
import Foundation
import TestSupport
import Testing

@testable import ObjectStorage

@Suite("Files of folders")
struct LocalFolderTests {
    private func write(_ text: String, _ folder: URL, _ path: String) throws {
        let file = folder.appending(path: path)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    private func urls(_ source: LocalFolders, _ prefix: String, after: String? = nil) async throws -> [String] {
        var listing = try await source.objects(prefix: prefix, after: after)
        var urls: [String] = []
        while let object = try await listing.next() { urls.append(object.url) }
        return urls
    }

    @Test("B4: files are listed in the order of the bytes of their URLs, by prefix, behind any of them; links are not")
    func list() async throws {
        try await withTemporaryDirectory { folder async throws in
            let names = ["a", "a-b", "a.txt", "a/c/d", "a/z", "aa", "b/é", "b/x y", "Z"]
            // A name cannot be a file and a folder.
            for name in names where name != "a" { try write(name, folder, name) }
            try FileManager.default.createSymbolicLink(
                at: folder.appending(path: "link"), withDestinationURL: URL(filePath: "/etc/passwd"))
            try FileManager.default.createSymbolicLink(
                at: folder.appending(path: "linked"), withDestinationURL: URL(filePath: "/etc"))
            let source = LocalFolders(folders: [folder.path])
            let base = "file://\(folder.path)/"
            let all = names.filter { $0 != "a" }.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            #expect(try await urls(source, base) == all.map { base + $0 })
            for (index, name) in all.enumerated() {
                let rest = try await urls(source, base, after: base + name)
                #expect(rest == all[(index + 1)...].map { base + $0 })
            }
            #expect(try await urls(source, base + "a/") == ["a/c/d", "a/z"].map { base + $0 })
            #expect(try await urls(source, base + "a.") == [base + "a.txt"])
            #expect(try await urls(source, base + "b/x") == [base + "b/x y"])
            #expect(try await urls(source, base + "none/x") == [])
            #expect(try await urls(source, base + "linked/passwd") == [])
        }
    }

    @Test("B4: a file is read from any byte; one that was changed since it was listed is refused")
    func read() async throws {
        try await withTemporaryDirectory { folder async throws in
            let text = String(repeating: "0123456789", count: 100_000)
            try write(text, folder, "file")
            let source = LocalFolders(folders: [folder.path])
            var listing = try await source.objects(prefix: "file://\(folder.path)/", after: nil)
            let object = try #require(try await listing.next())
            #expect(object.size == 1_000_000)
            for offset in [0, 1, 999_999, 1_000_000] {
                var bytes: [UInt8] = []
                try await source.read(object, from: Int64(offset)) { bytes += $0 }
                #expect(bytes == Array(text.utf8.dropFirst(offset)))
            }
            try write("other", folder, "file")
            await #expect(throws: InputFailure.self) { try await source.read(object, from: 0) { _ in } }
            try FileManager.default.removeItem(at: folder.appending(path: "file"))
            await #expect(throws: InputFailure.self) { try await source.read(object, from: 0) { _ in } }
        }
    }

    @Test("B4: nothing outside the folders is named, however it is written")
    func outside() async throws {
        try await withTemporaryDirectory { folder async throws in
            let source = LocalFolders(folders: [folder.path + "/in/"])
            for path in [
                "/etc/passwd", "\(folder.path)/in/../x", "\(folder.path)/in/./x", "\(folder.path)/inside/x", "relative",
                "\(folder.path)/in//x", "\(folder.path)/in/..", "", "\(folder.path)/in",
            ] {
                #expect(throws: PlatformError.self, "\(path)") { try source.check("file://\(path)") }
            }
            try source.check("file://\(folder.path)/in/x")
            try source.check("file://\(folder.path)/in/")
            let error = #expect(throws: PlatformError.self) { try LocalFolders(folders: []).check("file:///x") }
            #expect(error?.code == .notSupported)
            #expect(error?.message.contains("--batch-files") == true)
        }
    }

    @Test("B4: a pipe or a folder in the place of a file blocks nothing and is refused")
    func kinds() async throws {
        try await withTemporaryDirectory { folder async throws in
            let path = folder.appending(path: "pipe").path
            #expect(mkfifo(path, 0o600) == 0)
            let source = LocalFolders(folders: [folder.path])
            #expect(try await urls(source, "file://\(folder.path)/") == [])
            let object = StoredObject(url: "file://\(path)", size: 1, version: "x")
            await #expect(throws: InputFailure.self) { try await source.read(object, from: 0) { _ in } }
        }
    }
}
