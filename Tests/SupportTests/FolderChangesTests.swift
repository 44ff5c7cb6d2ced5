import Core
import Foundation
import Support
import TestSupport
import Testing

@Suite("Changes of folders", .timeLimit(.minutes(1)))
struct FolderChangesTests {
    private static func touch(_ path: String) throws {
        try Data("x".utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test("N8: every subscriber of a folder hears of a change, and none of another folder's before the period is over")
    func changes() async throws {
        try await withTemporaryDirectory { root in
            let (one, other) = (root.path + "/one", root.path + "/other")
            for path in [one, other] {
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            }
            let clock = ContinuousClock()
            var first = try FolderChanges.shared.changes(in: one).makeAsyncIterator()
            var second = try FolderChanges.shared.changes(in: one).makeAsyncIterator()
            // The first element comes at once. By then the folder is watched.
            _ = await first.next()
            _ = await second.next()
            let begin = clock.now
            for number in 0..<20 {
                try Self.touch("\(other)/\(number)")
                try Self.touch("\(one)/\(number)")
                _ = await first.next()
                _ = await second.next()
            }
            // Without the events each round would last for a period.
            #expect(clock.now - begin < FolderChanges.period * 10)
        }
    }

    @Test("N8: a folder that cannot be watched gives an element in each period; a stream that was dropped is forgotten")
    func missing() async throws {
        let clock = ContinuousClock()
        var changes = try FolderChanges.shared.changes(in: "/nonexistent/folder").makeAsyncIterator()
        _ = try FolderChanges.shared.changes(in: "/")
        _ = await changes.next()
        let begin = clock.now
        _ = await changes.next()
        _ = await changes.next()
        #expect(clock.now - begin < FolderChanges.period * 5)
        let stream = try FolderChanges.shared.changes(in: "/")
        let task = Task { for await _ in stream {} }
        task.cancel()
        await task.value
    }
}
