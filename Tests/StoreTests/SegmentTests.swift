import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

/// Medium bodies through the store's interface: together on the disk, independent in everything else.
@Suite("StoreSQLite: bodies in segments", .timeLimit(.minutes(10)))
struct SegmentTests {
    func bytes(_ number: Int, _ size: Int = 100_000) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: number + 1), count: size)
    }

    func body(_ store: SQLiteStore, _ bytes: [UInt8]) async throws -> Body {
        let writer = try await store.makeBodyWriter()
        try await writer.write(bytes)
        return try await writer.finish()
    }

    func read(_ store: SQLiteStore, _ body: Body) async throws -> [UInt8]? {
        do {
            let reader = try await store.reader(of: body)
            var bytes: [UInt8] = []
            while let piece = try await reader.read(upTo: 30_000) { bytes += piece }
            await reader.close()
            return bytes
        } catch let error as PlatformError where error.code == .notFound {
            return nil
        }
    }

    func place(_ body: Body) throws -> SegmentPlace {
        guard case .stored(let name, _) = body else { throw CocoaError(.coderInvalidValue) }
        return try #require(SegmentPlace(name))
    }

    func files(_ store: SQLiteStore) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: store.files.path).sorted()
    }

    /// The disk space of the files of bodies.
    func space(_ store: SQLiteStore) throws -> Int {
        try files(store).reduce(0) { sum, name in
            var status = stat()
            guard stat("\(store.files.path)/\(name)", &status) == 0 else { throw CocoaError(.fileReadUnknown) }
            return sum + Int(status.st_blocks) * 512
        }
    }

    /// Blocks the writer until `count` bodies wait, so that they share a batch.
    func together(
        _ store: SQLiteStore, _ count: Int, before: @escaping @Sendable () -> Void = {}
    ) async throws -> [Result<Body, any Error>] {
        let gate = DispatchSemaphore(value: 0)
        async let blocked: Void = store.files.segments.writer.onThread { gate.wait() }
        let results = try await withThrowingTaskGroup(of: (Int, Result<Body, any Error>).self) { group in
            for number in 0..<count {
                group.addTask {
                    do {
                        return (number, .success(try await body(store, bytes(number))))
                    } catch {
                        return (number, .failure(error))
                    }
                }
            }
            let allWait = try await eventually { store.files.segments.writer.waiting == count }
            before()
            gate.signal()
            #expect(allWait)
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        await blocked
        return (0..<count).compactMap { results[$0] }
    }

    @Test("A1, A9: bodies that arrive together are made durable by one sync, and each is answered separately")
    func oneSync() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            let results = try await together(store, 20) { disk.count(.syncing) }
            // The segment, and once the folder for its name.
            #expect(disk.calls == 2)
            let bodies = try results.map { try $0.get() }
            for (number, body) in bodies.enumerated() { #expect(try await read(store, body) == bytes(number)) }
            #expect(try Set(bodies.map { try place($0).segment }).count == 1)
            for result in try await together(store, 20, before: { disk.count(.syncing) }) { _ = try result.get() }
            #expect(disk.calls == 1)
            #expect(try files(store).count == 1)
            try await store.close()
        }
    }

    @Test(
        "A1, A4: a failing write or sync refuses the bodies of its batch by name and leaves nothing of them; all others are there",
        arguments: [WatchedFolder.Calls.spending, .syncing], [EIO, ENOSPC])
    func failedBatch(_ calls: WatchedFolder.Calls, _ code: Int32) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            let before = try await body(store, bytes(0))
            for result in try await together(store, 10, before: { disk.fail(calls, from: 1, count: 1, code: code) }) {
                let error = #expect(throws: PlatformError.self) { try result.get() }
                #expect(error?.code == .storeUnavailable)
                #expect(error?.message.contains("full") == (code == ENOSPC))
            }
            disk.heal()
            let after = try await body(store, bytes(1))
            // A failed sync may have dropped pages: the segment is not written again.
            #expect(try place(after).segment != place(before).segment)
            await store.files.drain()
            #expect(try await read(store, before) == bytes(0))
            #expect(try await read(store, after) == bytes(1))
            let segment = SegmentPlace.fileName(segment: try place(before).segment)
            let left = try #require(FileManager.default.contents(atPath: "\(store.files.path)/\(segment)"))
            #expect(left.count(where: { $0 != 0 }) == 100_000)
            try await store.close()
        }
    }

    @Test("A4: if no segment can be created, bodies are refused by name, and the store recovers without a restart")
    func noSegment() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            disk.fail(.creating, from: 1, code: ENOSPC)
            for result in try await together(store, 3) {
                #expect(throws: PlatformError.self) { try result.get() }
            }
            disk.heal()
            _ = try await body(store, bytes(1))
            try await store.close()
        }
    }

    @Test(
        "A9: a file system without direct I/O, which reports that at once or with the first write, is used through the page cache",
        arguments: [1, 2])
    func pageCache(call: Int) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            disk.fail(.spending, from: call, count: 1, code: EINVAL)
            let first = try await body(store, bytes(1))
            #expect(disk.calls == 3)
            #expect(try await read(store, first) == bytes(1))
            #expect(try await read(store, try await body(store, bytes(2))) == bytes(2))
            try await store.close()
        }
    }

    @Test("After a full segment a new one begins, and the full one is removed when its bodies are gone")
    func rollover() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            var bodies: [Body] = []
            let size = BodySegments.bodyLimit - 1
            while try Set(bodies.map { try place($0).segment }).count < 3 {
                bodies.append(try await body(store, bytes(bodies.count, size)))
            }
            let count = Int(SegmentWriter.segmentSize) / BodySegments.bodyLimit
            #expect(bodies.count == 2 * count + 1)
            let names = bodies.map { if case .stored(let name, _) = $0 { name } else { "" } }
            // In the order of arrival, without any hole.
            disk.count(.erasing)
            store.files.remove(Array(names.prefix(count)))
            #expect(try await eventually { try files(store).count == 2 })
            #expect(disk.calls == 0)
            #expect(try await read(store, bodies[count]) == bytes(count, size))
            try await store.close()
        }
    }

    @Test(
        "A9: with many readers, writers and erasers at once, a reader gets the bytes or the answer that they are gone"
    )
    func atOnce() async throws {
        try await withStore { store, _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<8 {
                    group.addTask {
                        for round in 0..<25 {
                            let bytes = bytes(worker * 25 + round, 66_000 + worker * 10_000)
                            let body = try await body(store, bytes)
                            guard case .stored(let name, _) = body else { return }
                            try await withThrowingTaskGroup(of: Void.self) { readers in
                                for _ in 0..<3 {
                                    readers.addTask {
                                        let found = try await read(store, body)
                                        #expect(found == nil || found == bytes)
                                    }
                                }
                                readers.addTask {
                                    store.files.remove([name])
                                    if round % 5 == 0 { await store.files.drain() }
                                }
                                try await readers.waitForAll()
                            }
                            #expect(try await read(store, body) == nil)
                        }
                    }
                }
                try await group.waitForAll()
            }
            await store.files.drain()
            #expect(try files(store) == [])
        }
    }
}
