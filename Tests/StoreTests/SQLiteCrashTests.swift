import Core
import Foundation
import GRDB
import Synchronization
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: crashes, failures and full disks", .timeLimit(.minutes(10)))
struct SQLiteCrashTests {
    /// The files after a kill of the process, without closing the store.
    private func afterKill(
        _ directory: URL, _ body: (SQLiteStore) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { copy in
            for name in ["cortex.sqlite", "cortex.sqlite-wal", "blobs"] {
                try FileManager.default.copyItem(
                    at: directory.appendingPathComponent(name), to: copy.appendingPathComponent(name))
            }
            let store = try await openSample(copy, now: sampleStart + .seconds(5))
            do {
                try await body(store)
            } catch {
                try await store.close()
                throw error
            }
            try await store.close()
        }
    }

    @Test("A1: everything acknowledged is found after the process was killed, in any status")
    func killed() async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            for number in 1...50 { try await store.submitSample(number) }
            let leases = try await store.claimSamples(20)
            for lease in leases.prefix(10) {
                _ = try await store.finish(lease, outcome: .completed(.inline([1])), now: sampleStart)
            }
            let writer = try await store.makeBodyWriter()
            try await writer.write(Array(repeating: 9, count: 100_000))
            try await store.submitSample(51, payload: try await writer.finish())
            let unfinished = try await store.makeBodyWriter()
            try await unfinished.write(Array(repeating: 9, count: 600_000))
            try await afterKill(directory) { found in
                #expect(try await found.counts() == ["echo": QueueCounts(inQueue: 31, inProgress: 10)])
                for number in 1...10 {
                    #expect(
                        try await found.read(sampleID(number), api: "echo", now: sampleStart)?.result == .inline([1]))
                }
                let late = try await found.finish(leases[19], outcome: .completed(.empty), now: sampleStart)
                #expect(late == .applied)
                let files = try FileManager.default.contentsOfDirectory(atPath: found.files.path)
                #expect(files.count == 1)
                let last = try await found.claim(
                    api: "echo", limit: 100, visibility: .seconds(1), holder: "h", now: sampleStart
                ).last
                #expect(last?.payload.size == 100_000)
            }
            await unfinished.discard()
        }
    }

    @Test("A13: an interrupted deletion is finished at the next start", arguments: [true, false])
    func cutOffDeletion(keepRequests: Bool) async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            for number in 1...30 { try await store.submitSample(number) }
            _ = try await store.claimSamples(5)
            let deletion = try await store.committer.perform { try $0.delete(api: "echo", keepRequests: keepRequests) }
            #expect(deletion != nil)
            try await afterKill(directory) { found in
                #expect(try await found.deployedAPIs().isEmpty)
                let rows = try await found.reading { db in
                    try Int.fetchOne(db, sql: "SELECT count(*) FROM request WHERE state IN (0, 1, 5)")
                }
                #expect(rows == 0)
                let kept = try await found.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM request") }
                #expect(kept == (keepRequests ? 30 : 0))
                let payloads = try await found.reading {
                    try Int.fetchOne($0, sql: "SELECT count(*) FROM payload WHERE api IS NOT NULL")
                }
                #expect(payloads == 0)
            }
            // An API that is deployed again before the old store was closed starts with an empty queue.
            try await store.deploySample()
            #expect(try await store.counts() == ["echo": QueueCounts()])
            #expect(try await store.claimSamples(10).isEmpty)
        }
    }

    @Test("A13: a long deletion continues in the background after a kill", arguments: [true, false])
    func killedInTheMiddle(keepRequests: Bool) async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...3000 { group.addTask { try await store.submitSample(number) } }
                try await group.waitForAll()
            }
            let deletion = try #require(
                try await store.committer.perform { try $0.delete(api: "echo", keepRequests: keepRequests) })
            for _ in 0..<2 {
                let hasMore = try await store.committer.perform { try $0.step(deletion, limit: 500, now: sampleStart) }
                #expect(hasMore)
            }
            try await afterKill(directory) { found in
                // Open at once: the rest is done in the background, without a call.
                try await expectEventually {
                    let rows = try await found.reading { db in
                        try Int.fetchOne(db, sql: "SELECT count(*) FROM request WHERE state IN (0, 1, 5)")
                    }
                    return rows == 0
                }
                try await expectEventually {
                    try await found.reading {
                        try Int.fetchOne($0, sql: "SELECT count(*) FROM api WHERE closing = 1 OR name IS NULL")
                    } == 0
                }
                let kept = try await found.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM request") }
                #expect(kept == (keepRequests ? 3000 : 0))
            }
        }
    }

    @Test("A13: a long deletion is done in many short steps, so that no other caller waits for more than one of them")
    func shortSteps() async throws {
        try await withStore { store, _ in
            try await store.deploySample()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...4000 { group.addTask { try await store.submitSample(number) } }
                try await group.waitForAll()
            }
            let before = store.committer.transactions
            #expect(try await store.delete(api: "echo", keepRequests: false, now: sampleStart))
            // The delete itself and the steps for which it waits: far fewer than all.
            #expect(store.committer.transactions - before <= 5)
            try await expectEventually {
                try await store.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM api") } == 0
            }
            #expect(store.committer.transactions - before >= 5 + 2000 / 100)
        }
    }

    @Test("A1: a database that was not completed is created again")
    func unfinishedDatabase() async throws {
        try await withTemporaryDirectory { directory in
            try Data("half".utf8).write(to: directory.appendingPathComponent("cortex.sqlite.new"))
            try Data("half".utf8).write(to: directory.appendingPathComponent("cortex.sqlite.new-journal"))
            let store = try await openSample(directory)
            try await store.deploySample()
            try await store.close()
            let names = try FileManager.default.contentsOfDirectory(atPath: directory.path)
            #expect(names.allSatisfy { !$0.contains(".new") })
        }
    }

    struct Poison: Error {}

    @Test("A1: only a failing item fails; the other items of the same transaction are committed")
    func poison() async throws {
        try await withStore { store, _ in
            try await store.deploySample()
            let results = try await together(store, 21) { number in
                if number == 10 {
                    try await store.committer.perform { transaction in
                        try transaction.run("INSERT INTO version (api, id, document) VALUES (99, 'x', x'00')", [])
                        throw Poison()
                    }
                } else if number == 11 {
                    try await store.committer.perform { _ = try $0.run("INSERT INTO nowhere VALUES (1)", []) }
                } else {
                    try await store.submitSample(number)
                }
            }
            for (number, result) in results.enumerated() {
                if number == 10 || number == 11 {
                    #expect(throws: PlatformError.self) { try result.get() }
                } else {
                    try result.get()
                    #expect(try await store.read(sampleID(number), api: "echo", now: sampleStart) != nil)
                }
            }
            #expect(try await store.counts() == ["echo": QueueCounts(inQueue: 19)])
            let versions = try await store.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM version") }
            #expect(versions == 1)
        }
    }

    @Test("A1: items that arrive together are committed together, with one hint")
    func groupCommit() async throws {
        try await withStore { store, _ in
            try await store.deploySample()
            // Hints follow the answers: the hint of the deploy must not be in the stream.
            try await store.committer.onWriterThread { _ in }
            let before = store.committer.transactions
            var hints = store.changes().makeAsyncIterator()
            for result in try await together(store, 64, { try await store.submitSample($0) }) { try result.get() }
            #expect(store.committer.transactions == before + 1)
            for result in try await together(
                store, 64, { _ = try await store.cancel(sampleID($0), api: "echo", now: sampleStart) })
            { try result.get() }
            #expect(store.committer.transactions == before + 2)
            try await store.committer.onWriterThread { _ in }
            #expect(await hints.next() == StoreChanges(queued: ["echo"], ended: Set((0..<64).map(sampleID))))
        }
    }

    /// Blocks the writer until `count` items wait, so that they share a transaction.
    private func together(
        _ store: SQLiteStore, _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> [Result<Void, any Error>] {
        let gate = DispatchSemaphore(value: 0)
        let isBlocked = Atomic(false)
        async let blocked: Void = store.committer.onWriterThread { _ in
            isBlocked.store(true, ordering: .relaxed)
            gate.wait()
        }
        // An item that came before would be committed alone.
        try await expectEventually { isBlocked.load(ordering: .relaxed) }
        let results = try await withThrowingTaskGroup(of: (Int, Result<Void, any Error>).self) { group in
            for number in 0..<count {
                group.addTask {
                    do {
                        try await body(number)
                        return (number, .success(()))
                    } catch {
                        return (number, .failure(error))
                    }
                }
            }
            let allWait = try await eventually { store.committer.waiting == count }
            gate.signal()
            #expect(allWait)
            return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        try await blocked
        return (0..<count).compactMap { results[$0] }
    }

    @Test("A4: a full disk refuses new work by name, loses nothing, keeps reading, and recovers by itself")
    func fullDisk() async throws {
        try await withStore(maxPages: 100) { store, _ in
            try await store.deploySample()
            var accepted: [Int] = []
            var refused = 0
            for number in 0..<200 {
                do {
                    try await store.submitSample(number, payload: .inline(Array(repeating: 1, count: 8000)))
                    accepted.append(number)
                } catch let error as PlatformError {
                    #expect(error.code == .storeUnavailable)
                    #expect(error.message.contains("full"))
                    refused += 1
                }
            }
            #expect(!accepted.isEmpty && refused > 0)
            #expect(try await store.counts() == ["echo": QueueCounts(inQueue: accepted.count)])
            for number in accepted {
                #expect(try await store.read(sampleID(number), api: "echo", now: sampleStart)?.status == .inQueue)
            }
            try await store.committer.onWriterThread { pool in
                try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA max_page_count = 100000") }
            }
            #expect(try await store.submitSample(500) == .accepted)
            #expect(try await store.claimSamples(1000).count == accepted.count + 1)
        }
    }

    @Test(
        "A9: a body on a failing disk is refused by name and leaves nothing; the store continues when the disk works again",
        arguments: [100_000, 300_000])
    func failingBodies(size: Int) async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            let blobs = directory.appendingPathComponent("blobs")
            let away = directory.appendingPathComponent("away")
            let writer = try await store.makeBodyWriter()
            try FileManager.default.moveItem(at: blobs, to: away)
            let error = await #expect(throws: PlatformError.self) {
                try await writer.write(Array(repeating: 1, count: size))
                _ = try await writer.finish()
            }
            #expect(error?.code == .storeUnavailable)
            #expect(error?.message.contains(directory.path) == false)
            await #expect(throws: PlatformError.self) { _ = try await writer.finish() }
            await writer.discard()
            #expect(try await store.submitSample(1) == .accepted)
            try FileManager.default.moveItem(at: away, to: blobs)
            #expect(try FileManager.default.contentsOfDirectory(atPath: blobs.path).isEmpty)
            let again = try await store.makeBodyWriter()
            try await again.write(Array(repeating: 1, count: size))
            #expect(try await store.submitSample(2, payload: try await again.finish()) == .accepted)
        }
    }

    @Test(
        "A9: after a failed commit a body stays until a commit shows that the failed one cannot reappear",
        arguments: [100_000, 300_000])
    func uncertainCommit(size: Int) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            try await store.deploySample()
            let writer = try await store.makeBodyWriter()
            try await writer.write(Array(repeating: 1, count: size))
            let payload = try await writer.finish()
            disk.fail(.writing, from: 1, code: EIO)
            await #expect(throws: PlatformError.self) { _ = try await store.submitSample(1, payload: payload) }
            #expect(store.committer.isUncertain)
            await writer.discard()
            disk.heal()
            await store.files.drain()
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.files.path).count == 1)
            let reader = try await store.reader(of: payload)
            #expect(try await reader.read(upTo: 1 << 20) == Array(repeating: 1, count: size))
            await reader.close()
            try await store.submitSample(2)
            #expect(!store.committer.isUncertain)
            try await store.close()
        }
    }

    @Test(
        "Errors of the disk are distinguished from bugs",
        arguments: [
            (ResultCode.SQLITE_FULL, PlatformError.Code.storeUnavailable), (.SQLITE_IOERR_FSYNC, .storeUnavailable),
            (.SQLITE_READONLY, .storeUnavailable), (.SQLITE_CORRUPT, .storeUnavailable),
            (.SQLITE_CONSTRAINT, .internal),
        ])
    func errorKinds(_ code: ResultCode, _ expected: PlatformError.Code) {
        let error = StoreFailure(DatabaseError(resultCode: code, message: "near SELECT", sql: "SELECT secret"))
            .platformError
        #expect(error.code == expected)
        #expect(!error.message.contains("SELECT"))
    }

    @Test("U5: a full disk is named as such", arguments: [ENOSPC, EDQUOT, EFBIG])
    func fullCodes(_ code: Int32) {
        errno = code
        let failure = StoreFailure(StoreFailure.SystemCall("write"))
        #expect(failure.platformError.code == .storeUnavailable)
        #expect(failure.whileOpening.code == .setup)
        #expect(failure.whileOpening.message.contains("full"))
    }
}
