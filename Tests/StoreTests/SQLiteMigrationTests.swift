import Core
import Foundation
import GRDB
import TestSupport
import Testing

@testable import StoreSQLite

/// Files of an earlier version. `SchemaVersion1` is frozen: a change of the tables is a new step of `Schema.migrations`
/// and a new frozen version here.
@Suite("StoreSQLite: files of earlier versions", .timeLimit(.minutes(10)))
struct SQLiteMigrationTests {
    /// A step that no version has: it adds a column and an index and rewrites every row.
    static let addedStep = """
        ALTER TABLE request ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
        UPDATE request SET priority = state + 1;
        CREATE INDEX request_priority ON request (priority);
        """
    static var steps: [String] { Array(Schema.migrations.prefix(1)) + [addedStep] }

    @Test("A1: a store that version 1 wrote is opened, with every request in its state, its bodies and its leases")
    func opensVersion1() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion1.write(to: directory)
            let store = try await openSample(directory)
            let version = try await store.reading { try Schema.version($0) }
            #expect(version == Schema.latest)
            #expect(try await store.deployedAPIs().map(\.id) == ["echo-1"])
            #expect(try await store.counts() == ["echo": QueueCounts(inQueue: 2, inProgress: 1)])
            func read(_ number: Int) async throws -> RequestRecord? {
                try await store.read(SchemaVersion1.id(number), api: "echo", now: sampleStart)
            }
            #expect(try await read(1)?.status == .inQueue)
            #expect(try await read(2)?.status == .inProgress)
            #expect(try await read(3)?.result == .inline(Array("{}".utf8)))
            let failed = try #require(try await read(4))
            #expect(failed.status == .failed && failed.failure?.kind == .timeout && failed.failures.count == 1)
            #expect(try await read(5)?.status == .cancelled)
            #expect(try await read(6)?.attempts == 1)
            let lease = Lease(api: "echo", id: SchemaVersion1.id(2), token: 7)
            #expect(try await store.finish(lease, outcome: .completed(.empty), now: sampleStart) == .applied)
            let claimed = try await store.claim(
                api: "echo", limit: 10, visibility: .seconds(30), holder: "h", now: sampleStart + .seconds(1000))
            #expect(claimed.map(\.id) == [1, 6].map(SchemaVersion1.id))
            let first = try #require(claimed.first)
            #expect(first.payload == .inline(Array("payload".utf8)) && first.query == "q=1")
            #expect(first.headers == [HeaderField("a", "b")])
            let reader = try await store.reader(of: try #require(claimed.last).payload)
            #expect(try await reader.read(upTo: 100) == Array("in a file".utf8))
            await reader.close()
            let again = try await store.retry(SchemaVersion1.id(4), api: "echo", now: sampleStart)
            #expect(again?.status == .inQueue)
            try await store.close()
        }
    }

    @Test("A1: bodies in their own files are read beside those in segments, and an older release refuses the directory")
    func segmentsAfterVersion1() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion1.write(to: directory)
            let bytes = [UInt8](repeating: 7, count: 100_000)
            let store = try await openSample(directory)
            let writer = try await store.makeBodyWriter()
            try await writer.write(bytes)
            try await store.submitSample(1, payload: try await writer.finish())
            try await store.close()
            // It would treat the segment as a leftover.
            let blobs = directory.appending(path: "blobs").path
            let before = try FileManager.default.contentsOfDirectory(atPath: blobs).sorted()
            let refusal = #expect(throws: PlatformError.self) {
                try migrate(directory, steps: Array(Schema.migrations.prefix(1)))
            }
            #expect(refusal?.code == .storeCorrupt)
            #expect(try FileManager.default.contentsOfDirectory(atPath: blobs).sorted() == before)
            #expect(before.count == 2)

            let again = try await openSample(directory)
            let claimed = try await again.claim(
                api: "echo", limit: 10, visibility: .seconds(30), holder: "h", now: sampleStart + .seconds(1000))
            var found: [RequestID: [UInt8]?] = [:]
            for request in claimed {
                let reader = try await again.reader(of: request.payload)
                found[request.id] = try await reader.read(upTo: 1 << 20)
                await reader.close()
            }
            #expect(found[SchemaVersion1.id(6)] == Array("in a file".utf8))
            #expect(found[sampleID(1)] == bytes)
            try await again.close()
        }
    }

    @Test("A1: a store that version 2 wrote is opened, with its body in a segment; bytes that no row names are erased")
    func opensVersion2() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion2.write(to: directory)
            let store = try await openSample(directory)
            let claimed = try await store.claim(
                api: "echo", limit: 10, visibility: .seconds(30), holder: "h", now: sampleStart + .seconds(1000))
            #expect(claimed.map(\.id) == [1, 6].map(SchemaVersion1.id))
            let reader = try await store.reader(of: try #require(claimed.last).payload)
            #expect(try await reader.read(upTo: 100) == Array("in a segment".utf8))
            await reader.close()
            let segment = try Data(
                contentsOf: directory.appending(path: "blobs").appending(path: SchemaVersion2.segment))
            #expect(segment.prefix(4096).allSatisfy { $0 == 0 })
            try await store.close()
        }
    }

    @Test("X8: a store that version 3 wrote is opened, with the state of a splitter")
    func opensVersion3() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion3.write(to: directory)
            let store = try await openSample(directory)
            let state = SplitState(
                rollBack: .init(api: "b", weight: 10, reason: "r", since: Timestamp(seconds: 1_800_000_000)),
                owners: ["a", "b"])
            #expect(try await store.splitState(of: "echo") == state)
            try await store.close()
        }
    }

    @Test("J6: a store that version 4 wrote is opened, with a job, its lines and its batches")
    func opensVersion4() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion4.write(to: directory)
            let store = try await openSample(directory)
            let id = try #require(RequestID(SchemaVersion4.job))
            let job = try #require(try await store.job(id, api: "echo", now: sampleStart))
            #expect(job.status == .running && job.runningSince == Timestamp(microseconds: 5))
            #expect(job.counts.itemsSucceeded == 3 && job.counts.itemsFailed == 3 && job.counts.itemsInQueue == 1)
            #expect(job.version.id == "echo-1" && job.submission.workers == 2)
            let failure = RequestFailure(.timeout, "late")
            let lines = try await store.lines(of: id, after: 0, limit: 10, now: sampleStart)
            #expect(
                lines.map(\.line) == [
                    ResultLine(
                        items: ItemSet(0..<3), verdict: .succeeded(reply: .inline(Array("[0,1,2]".utf8)), isSplit: true)
                    ),
                    ResultLine(items: ItemSet(3..<6), verdict: .failed(failure)),
                ])
            let failed = try await store.batches(of: id, in: [.failed], after: nil, limit: 10, now: sampleStart)
            #expect(failed.map(\.failure) == [failure] && failed.map(\.batch.body) == [.inline(Array("[3,4,5]".utf8))])
            let claimed = try await store.claim(
                api: job.queue, limit: 10, visibility: .seconds(30), holder: "h", now: sampleStart)
            #expect(claimed.map(\.batch) == [BatchPlace(index: 2, items: ItemSet(6..<7))])
            #expect(claimed.map(\.payload) == [.inline(Array("[6]".utf8))])
            for request in claimed {
                #expect(
                    try await store.finish(request.lease, outcome: .completed(.empty), now: sampleStart) == .applied)
            }
            #expect(try await store.job(id, api: "echo", now: sampleStart)?.completion == .running)
            try await store.close()
        }
    }

    @Test("A1: a new step keeps every row, and its version stands in the file's header afterwards")
    func addedStep() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion1.write(to: directory)
            try migrate(directory)
            #expect(try header(directory) == 2)
            #expect(try found(directory) == .migrated)
            // Only a program with this version opens it: for an older release the file is newer.
            try migrate(directory)
            #expect(throws: PlatformError.self) { try migrate(directory, steps: Array(Self.steps.prefix(1))) }
        }
    }

    @Test(
        "A1: a crash at any call of a migration leaves the complete old or new version, and the next start finishes it"
    )
    func crashInTheMiddle() async throws {
        var number = 1
        var old = 0
        while true {
            let state = try await withTemporaryDirectory { folder -> Found? in
                let directory = folder.appending(path: "data")
                try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
                try SchemaVersion1.write(to: directory)
                let disk = try WatchedFolder(folder)
                disk.fail(.writing, from: number, code: EIO)
                let isReached: Bool
                do {
                    try migrate(directory)
                    isReached = disk.calls >= number
                } catch {
                    isReached = true
                }
                disk.heal()
                let found = try found(directory)
                try migrate(directory)
                #expect(try self.found(directory) == .migrated, "call \(number)")
                return isReached ? found : nil
            }
            guard let state else { break }
            #expect(state != .broken, "call \(number)")
            if state == .version1 { old += 1 }
            number += 1
        }
        #expect(old > 5)
    }

    @Test("U5: nothing is migrated without the lock: a file that another instance uses is not changed")
    func underTheLock() async throws {
        try await withTemporaryDirectory { directory in
            try SchemaVersion1.write(to: directory)
            let lock = try DirectoryLock(DataDirectory(directory.path))
            let disk = try WatchedFolder(directory, recording: true)
            await #expect(throws: PlatformError.self) { _ = try await openSample(directory) }
            let writes = disk.events.count { if case .wrote = $0 { true } else { false } }
            #expect(writes == 0)
            lock.release()
        }
    }

    // MARK: Tools

    /// The database work of a start, with the lock.
    private func migrate(_ directory: URL, steps: [String] = steps) throws {
        let folder = try DataDirectory(directory.path)
        let lock = try DirectoryLock(folder)
        defer { lock.release() }
        let pool = try DatabaseFile(folder).open(.init(directory: directory.path), migrations: steps, logger: .quiet)
        try pool.close()
    }

    private enum Found { case version1, migrated, broken }

    /// The version of the file, judged by everything that belongs to it.
    private func found(_ directory: URL) throws -> Found {
        let queue = try DatabaseQueue(path: directory.path + "/cortex.sqlite")
        defer { try? queue.close() }
        return try queue.read { db in
            let version = try Schema.version(db)
            let columns = try db.columns(in: "request").map(\.name)
            let rows = try Int.fetchOne(db, sql: "SELECT count(*) FROM request") ?? 0
            let integrity = try String.fetchOne(db, sql: "PRAGMA integrity_check")
            guard rows == 6, integrity == "ok" else { return .broken }
            switch version {
            case 1: return columns.contains("priority") ? .broken : .version1
            case 2:
                guard columns.contains("priority") else { return .broken }
                let done = try Int.fetchOne(db, sql: "SELECT count(*) FROM request WHERE priority = state + 1")
                return done == 6 ? .migrated : .broken
            default: return .broken
            }
        }
    }

    /// The version in the file's header, where an older release reads it.
    private func header(_ directory: URL) throws -> UInt8 {
        try Data(contentsOf: directory.appending(path: "cortex.sqlite"))[63]
    }
}
