import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

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
