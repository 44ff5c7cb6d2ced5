import Core
import Foundation
import GRDB
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: erasing, space and migrations", .timeLimit(.minutes(1)))
struct SQLiteErasureTests {
    /// Whether any file of the store holds these bytes.
    private func isOnDisk(_ text: String, _ directory: URL) throws -> Bool {
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
            guard let data = FileManager.default.contents(atPath: "\(directory.path)/\(name)") else { continue }
            if data.range(of: Data(text.utf8)) != nil { return true }
        }
        return false
    }

    /// A body in which a marker stands at the beginning, in the middle and at the end.
    private func marked(_ number: Int, _ kind: String, size: Int) -> [UInt8] {
        let mark = Array("<\(kind)-\(number)-mark>".utf8)
        let filler = [UInt8](repeating: UInt8(ascii: "."), count: size / 2)
        return mark + filler + mark + filler + mark
    }

    @Test(
        "A12, C6: payloads, headers, results and keys are gone from every file, whatever their size and order",
        arguments: [1, 2, 3])
    func secureErase(seed: UInt64) async throws {
        try await withStore { store, directory in
            try await store.deploySample(policy: .init(retention: .seconds(100), keepFailed: .zero))
            var generator = SeededGenerator(seed: seed)
            let sizes = [10, 300, 900, 1100, 3000, 5000, 20_000, 60_000, 100_000]
            let count = 150
            for number in 0..<count {
                let writer = try await store.makeBodyWriter()
                try await writer.write(marked(number, "payload", size: sizes.randomElement(using: &generator) ?? 10))
                try await store.submitSample(
                    number, payload: try await writer.finish(),
                    headers: [HeaderField("authorization", "<header-\(number)-mark>")])
            }
            var leases = try await store.claimSamples(count)
            leases.shuffle(using: &generator)
            // Two thirds end, so that pages are split, merged and moved around those that stay.
            let ended = leases.prefix(100)
            for (index, lease) in ended.enumerated() {
                switch index % 3 {
                case 0: _ = try await store.cancel(lease.id, api: "echo", now: sampleStart)
                case 1:
                    _ = try await store.finish(
                        lease, outcome: .failed(RequestFailure(.timeout, "late")), now: sampleStart)
                default:
                    let writer = try await store.makeBodyWriter()
                    let number = try #require((0..<count).first { sampleID($0) == lease.id })
                    try await writer.write(marked(number, "result", size: sizes.randomElement(using: &generator) ?? 10))
                    _ = try await store.finish(lease, outcome: .completed(try await writer.finish()), now: sampleStart)
                }
            }
            _ = try await store.maintain(now: sampleStart + .seconds(20))
            let endedIDs = Set(ended.map(\.id))
            var leftovers: [String] = []
            for number in 0..<count {
                let hasEnded = endedIDs.contains(sampleID(number))
                for kind in ["payload", "header"] {
                    let found = try isOnDisk("<\(kind)-\(number)-mark>", directory)
                    if hasEnded, found { leftovers.append("\(kind) \(number)") }
                    if !hasEnded { #expect(found) }
                }
            }
            #expect(leftovers == [])
            #expect(try isOnDisk("<result-", directory))
            _ = try await store.maintain(now: sampleStart + .seconds(100))
            #expect(try !isOnDisk("<result-", directory))
        }
    }

    @Test("A12: of a failed request's headers the credentials are gone from every file while the payload is kept")
    func credentials() async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            for number in 1...20 {
                try await store.submitSample(
                    number, payload: .inline(Array("kept-payload".utf8)),
                    headers: [HeaderField("cookie", "secret-cookie"), HeaderField("x", "kept-header")])
            }
            for lease in try await store.claimSamples(20) {
                _ = try await store.finish(lease, outcome: .failed(RequestFailure(.timeout, "late")), now: sampleStart)
            }
            _ = try await store.maintain(now: sampleStart + .seconds(20))
            #expect(try !isOnDisk("secret-cookie", directory))
            #expect(try isOnDisk("kept-payload", directory))
            #expect(try isOnDisk("kept-header", directory))
        }
    }

    @Test("The file does not grow without bound: its space is used again, and given back when much is free")
    func space() async throws {
        try await withStore(durability: .normal) { store, directory in
            try await store.deploySample(policy: .init(retention: .seconds(60)))
            func size() throws -> Int {
                try Data(contentsOf: directory.appendingPathComponent("cortex.sqlite")).count
            }
            var sizes: [Int] = []
            for round in 0..<3 {
                let now = sampleStart + .seconds(round * 100)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<1500 {
                        group.addTask {
                            let payload = Body.inline(Array(repeating: 1, count: 4000))
                            try await store.submitSample(round * 10_000 + number, payload: payload)
                        }
                    }
                    try await group.waitForAll()
                }
                for lease in try await store.claimSamples(1500) {
                    _ = try await store.cancel(lease.id, api: "echo", now: now)
                }
                _ = try await store.maintain(now: now + .seconds(60))
                _ = try await store.maintain(now: now + .seconds(80))
                sizes.append(try size())
            }
            #expect(sizes.allSatisfy { $0 < 6_000_000 }, "\(sizes)")
        }
    }

    @Test("Migrations run in order, each once, and a failing one leaves the version before it")
    func migrations() async throws {
        try await withTemporaryDirectory { directory in
            let queue = try DatabaseQueue(path: directory.path + "/test.sqlite")
            let steps = [
                "CREATE TABLE one (a INTEGER)", "ALTER TABLE one ADD COLUMN b INTEGER; INSERT INTO one VALUES (1, 2)",
            ]
            try await queue.writeWithoutTransaction { db in
                try Schema.migrate(db, migrations: Array(steps.prefix(1)))
                #expect(try Schema.version(db) == 1)
                try Schema.migrate(db, migrations: steps)
                try Schema.migrate(db, migrations: steps)
                #expect(try Schema.version(db) == 2)
                #expect(try Int.fetchOne(db, sql: "SELECT count(*) FROM one") == 1)
                let broken = steps + ["CREATE TABLE two (a INTEGER); INSERT INTO nowhere VALUES (1)"]
                #expect(throws: DatabaseError.self) { try Schema.migrate(db, migrations: broken) }
                #expect(try Schema.version(db) == 2)
                #expect(try !db.tableExists("two"))
                #expect(throws: PlatformError.self) { try Schema.migrate(db, migrations: Array(steps.prefix(1))) }
            }
            try queue.close()
        }
    }
}
