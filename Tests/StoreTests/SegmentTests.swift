import Core
import Foundation
import Synchronization
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
        let isBlocked = Atomic(false)
        async let blocked: Void = store.files.segments.writer.onThread {
            isBlocked.store(true, ordering: .relaxed)
            gate.wait()
        }
        // A body that came before would be written alone.
        try await expectEventually { isBlocked.load(ordering: .relaxed) }
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

/// Released bodies are erased, and the work of a start.
extension SegmentTests {
    @Test("C6: released bodies leave neither bytes nor space, and an idle store no segment")
    func erased() async throws {
        try await withStore { store, _ in
            var bodies: [Body] = []
            for number in 0..<10 { bodies.append(try await body(store, bytes(number))) }
            #expect(try space(store) >= 1_000_000)
            let names = bodies.map { if case .stored(let name, _) = $0 { name } else { "" } }
            store.files.remove(Array(names[0..<9]))
            for body in bodies[0..<9] { #expect(try await read(store, body) == nil) }
            await store.files.drain()
            #expect(try space(store) <= 130_000)
            #expect(try await read(store, bodies[9]) == bytes(9))
            store.files.remove([names[9]])
            await store.files.drain()
            #expect(try files(store) == [])
            #expect(try await read(store, try await body(store, bytes(10))) == bytes(10))
        }
    }

    @Test("C6: the space between two bodies contains nothing of an earlier body")
    func padding() async throws {
        try await withStore { store, _ in
            let first = try await body(store, bytes(1))
            let second = try await body(store, bytes(2, 66_000))
            guard case .stored(let name, _) = first else { return }
            store.files.remove([name])
            await store.files.drain()
            let file = "\(store.files.path)/\(try #require(files(store).first))"
            let left = try #require(FileManager.default.contents(atPath: file))
            #expect(left.count(where: { $0 == 3 }) == 66_000 && left.count(where: { $0 != 0 }) == 66_000)
            #expect(try await read(store, second) == bytes(2, 66_000))
        }
    }

    @Test("A1: a body beyond the end of its file is missing, and its existing part is erased")
    func tooShort() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appending(path: SegmentPlace.fileName(segment: "5f-1"))
            try Data(repeating: 1, count: 6000).write(to: file)
            let whole = SegmentPlace(segment: "5f-1", offset: 0, length: 4000)
            let cut = SegmentPlace(segment: "5f-1", offset: 4096, length: 1905)
            let named = NamedBodies(places: [whole, cut])
            #expect(try BodySweep.run(directory.path, named: named, logger: .quiet) == [whole])
            let left = try Data(contentsOf: file)
            #expect(left.prefix(4096).allSatisfy { $0 == 1 } && left.dropFirst(4096).allSatisfy { $0 == 0 })
        }
    }

    @Test("C6: on a file system without holes, zeros replace the bytes")
    func noHoles() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            let kept = try await body(store, bytes(1))
            let erased = try await body(store, bytes(2))
            guard case .stored(let name, _) = erased else { return }
            disk.fail(.erasing, from: 1, code: EOPNOTSUPP)
            store.files.remove([name])
            await store.files.drain()
            #expect(disk.calls == 1)
            let file = "\(store.files.path)/\(try #require(files(store).first))"
            let left = try #require(FileManager.default.contents(atPath: file))
            #expect(!left.contains(3) && left.count(where: { $0 == 2 }) == 100_000)
            #expect(try await read(store, kept) == bytes(1))
            try await store.close()
        }
    }

    @Test("C6: a failed erasure or removal is repeated with the next upkeep", arguments: [true, false])
    func erasedLater(whole: Bool) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            let erased = try await body(store, bytes(1))
            let kept = whole ? nil : try await body(store, bytes(2))
            guard case .stored(let name, _) = erased else { return }
            disk.fail(whole ? .removing : .erasing, from: 1, count: 1, code: EIO)
            store.files.remove([name])
            await store.files.drain()
            #expect(store.files.segments.failedCount == 1)
            await store.files.drain()
            #expect(store.files.segments.failedCount == 0)
            if let kept { #expect(try await read(store, kept) == bytes(2)) }
            #expect(try files(store).count == (whole ? 0 : 1))
            #expect(try space(store) <= 130_000)
            try await store.close()
        }
    }

    @Test("A12: with normal, bytes stay until the deletion of their row is on the disk")
    func deferred() async throws {
        try await withStore(durability: .normal) { store, _ in
            try await store.deploySample()
            let payload = try await body(store, bytes(1))
            try await store.submitSample(1, payload: payload)
            _ = try await store.cancel(sampleID(1), api: "echo", now: sampleStart)
            await store.files.drain()
            #expect(try await read(store, payload) == bytes(1))
            _ = try await store.maintain(now: sampleStart + .seconds(20))
            #expect(try await read(store, payload) == nil)
            #expect(try files(store) == [])
        }
    }

    @Test("A1, C6: a start keeps what rows name, erases the rest, and reports what is missing")
    func start() async throws {
        try await withTemporaryDirectory { directory in
            let old = try await openSample(directory)
            try await old.deploySample()
            let orphan = try await body(old, bytes(0))
            let named = try await body(old, bytes(1))
            let orphans = [try await body(old, bytes(2)), try await body(old, bytes(3))]
            let last = try await body(old, bytes(4))
            try await old.submitSample(1, payload: named)
            try await old.submitSample(2, payload: last)
            try await old.close()

            let store = try await openSample(directory)
            for body in [orphan] + orphans { #expect(try await read(store, body) == nil) }
            for (body, number) in [(named, 1), (last, 4)] { #expect(try await read(store, body) == bytes(number)) }
            #expect(try space(store) <= 2 * 110_592)
            // Nothing is appended to a segment of another process.
            let new = try await body(store, bytes(5))
            #expect(try place(new).segment != place(named).segment)
            try await store.submitSample(3, payload: new)
            try await store.close()

            let path = store.files.path + "/" + SegmentPlace.fileName(segment: try place(named).segment)
            truncate(path, off_t(try place(last).offset + 5000))
            let cut = try await openSample(directory)
            #expect(try await read(cut, last) == nil)
            #expect(try await read(cut, named) == bytes(1))
            #expect(try await read(cut, new) == bytes(5))
            for number in 1...3 { _ = try await cut.cancel(sampleID(number), api: "echo", now: sampleStart) }
            _ = try await cut.maintain(now: sampleStart)
            #expect(try files(cut) == [])
            try await cut.close()
        }
    }
}
