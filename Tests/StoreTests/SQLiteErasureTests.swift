import Core
import Foundation
import GRDB
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: erasing, space and migrations", .timeLimit(.minutes(10)))
struct SQLiteErasureTests {
    /// Whether any file of the store contains these bytes.
    private func isOnDisk(_ text: String, _ directory: URL) throws -> Bool {
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
            guard let data = FileManager.default.contents(atPath: "\(directory.path)/\(name)") else { continue }
            if data.range(of: Data(text.utf8)) != nil { return true }
        }
        return false
    }

    /// Every `<…-mark>` in any file of the store.
    private func marks(_ directory: URL) throws -> Set<String> {
        var marks: Set<String> = []
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
            let data = [UInt8](FileManager.default.contents(atPath: "\(directory.path)/\(name)") ?? Data())
            var start: Int?
            for (index, byte) in data.enumerated() {
                if byte == UInt8(ascii: "<") { start = index }
                guard byte == UInt8(ascii: ">"), let begin = start else { continue }
                let text = String(decoding: data[begin...index].prefix(40), as: UTF8.self)
                if text.hasSuffix("-mark>") { marks.insert(text) }
                start = nil
            }
        }
        return marks
    }

    /// A body with a marker at its beginning and its end.
    private func marked(_ number: Int, _ kind: String, size: Int) -> [UInt8] {
        let mark = Array("<\(kind)-\(number)-mark>".utf8)
        return mark + [UInt8](repeating: UInt8(ascii: "."), count: size) + mark
    }

    /// Two thirds of the requests end in random order, so that a plain `DELETE` would split, merge and copy pages
    /// around those that stay.
    @Test(
        "A12, C6: payloads, headers and results are erased from every file, for any size and order",
        arguments: 1...8)
    func secureErase(seed: Int) async throws {
        try await withStore(durability: .normal) { store, directory in
            try await store.deploySample(policy: .init(retention: .seconds(100), keepFailed: .zero))
            var generator = SeededGenerator(seed: UInt64(seed))
            let sizes = [0, 1, 5, 10, 20, 40, 80, 150, 300, 900, 1100, 3000, 5000]
            /// Every 25th is in a segment, every 100th in its own file.
            func body(_ number: Int, _ kind: String) async throws -> Body {
                let size =
                    switch number {
                    case _ where number % 100 == 0: 270_000
                    case _ where number % 25 == 0: [65_600, 70_000, 100_000, 250_000].randomElement(using: &generator)
                    default: sizes.randomElement(using: &generator)
                    }
                let writer = try await store.makeBodyWriter()
                try await writer.write(marked(number, kind, size: size ?? 0))
                return try await writer.finish()
            }
            let count = 600
            for number in 0..<count {
                try await store.submitSample(
                    number, payload: try await body(number, "payload"),
                    headers: [HeaderField("authorization", "<header-\(number)-mark>")])
            }
            let leases = try await store.claimSamples(count)
            var order = Array(0..<count)
            order.shuffle(using: &generator)
            let ended = Set(order.prefix(430))
            for number in order.prefix(430) {
                switch number % 3 {
                case 0: _ = try await store.cancel(sampleID(number), api: "echo", now: sampleStart)
                case 1:
                    let failure = RequestFailure(
                        .containerStatus, "no", statusCode: 500, body: "<failure-\(number)-mark>")
                    _ = try await store.finish(leases[number], outcome: .failed(failure), now: sampleStart)
                default:
                    let result = try await body(number, "result")
                    let now = sampleStart + .seconds(number % 2)
                    _ = try await store.finish(leases[number], outcome: .completed(result), now: now)
                }
            }
            func expected(_ kinds: [String], _ numbers: some Sequence<Int>) -> Set<String> {
                Set(numbers.flatMap { number in kinds.map { "<\($0)-\(number)-mark>" } })
            }
            let alive = expected(["payload", "header"], order.suffix(170))
            let results = ended.filter { $0 % 3 == 2 }
            let failures = ended.filter { $0 % 3 == 1 }
            _ = try await store.maintain(now: sampleStart + .seconds(20))
            let first = try marks(directory)
            let answers = expected(["result"], results).union(expected(["failure"], failures))
            #expect(first.subtracting(alive).subtracting(answers) == [])
            #expect(first.isSuperset(of: alive.union(answers)))
            // The first half of the results is erased, then the other half.
            _ = try await store.maintain(now: sampleStart + .seconds(100))
            let second = try marks(directory)
            #expect(second == alive.union(expected(["result"], results.filter { $0 % 2 == 1 })))
            _ = try await store.maintain(now: sampleStart + .seconds(120))
            #expect(try marks(directory) == alive)
        }
    }

    @Test("A13: a body is not removed before the deletion of its row is on the disk")
    func unsyncedRemoval() async throws {
        try await withStore(durability: .full) { store, directory in
            let writer = try await store.makeBodyWriter()
            try await writer.write(marked(1, "large", size: 300_000))
            let name = try #require(try await writer.finish().fileName)
            try await store.committer.perform(durable: false) { transaction in
                transaction.orphanedFiles.append(name)
                transaction.erasesBytes = true
            }
            await store.files.drain()
            #expect(try marks(directory) == ["<large-1-mark>"], "a power cut may bring its row back")
            _ = try await store.maintain(now: sampleStart)
            #expect(try marks(directory) == [])
        }
    }

    @Test("C6, A13: the steps of a long erasure take as many rows as this machine erases in a few milliseconds")
    func pace() {
        var pace = StepPace()
        for _ in 0..<20 { pace.adapt(to: .microseconds(2) * pace.limit) }
        #expect((2000...2500).contains(pace.limit))
        // One step that was delayed has a limited effect, and so has one that was short.
        pace.adapt(to: .seconds(3))
        #expect((500...625).contains(pace.limit))
        pace.adapt(to: .zero)
        #expect((1000...1250).contains(pace.limit))
        for _ in 0..<20 { pace.adapt(to: .seconds(1)) }
        #expect(pace.limit == 50)
        #expect(StepPace.pause(after: .milliseconds(20)) == .milliseconds(5))
        #expect(
            StepPace.pause(after: .zero) == .milliseconds(1) && StepPace.pause(after: .seconds(9)) == .milliseconds(100)
        )
    }

    @Test("The tables of bodies stay proportional to their content, also when old rows stay among many erased ones")
    func compaction() async throws {
        try await withStore(durability: .normal) { store, directory in
            try await store.deploySample()
            let id: @Sendable (Int64) -> Data = { sampleID(Int($0)).data }
            // With the log's own interface: every 100th row stays, the rest is erased at once.
            for step in 0..<24 {
                try await store.committer.perform { transaction in
                    for number in Int64(step * 10_000)..<Int64((step + 1) * 10_000) {
                        let isKept = number % 100 == 0
                        let head = RequestHead(headers: [], query: "row \(number)").bytes
                        if isKept {
                            try transaction.run(
                                "INSERT INTO request (api, id, state, submitted_at, payload) VALUES (1, ?, 2, 0, ?)",
                                [id(number), transaction.state.payloads.next])
                        }
                        let row = try transaction.append(
                            to: .payload, api: 1, id: sampleID(Int(number)), head: head, body: .empty)
                        if !isKept { try transaction.erase(.init(number: row, file: nil), in: .payload) }
                    }
                }
                _ = try await store.maintain(now: sampleStart)
            }
            let log = store.committer.state.payloads
            #expect(log.next - log.first < 60_000)
            let heads = try await store.reading { db in
                try Row.fetchAll(
                    db,
                    sql:
                        "SELECT r.id, p.head, (SELECT count(*) FROM payload) FROM request r JOIN payload p ON p.number = r.payload"
                )
                .map { ($0[0] as Data, try RequestHead(decoding: $0[1]).query, $0[2] as Int64) }
            }
            #expect(heads.count == 2400)
            #expect(heads.first?.2 ?? .max < 60_000)
            let byID = Dictionary(uniqueKeysWithValues: heads.map { ($0.0, $0.1) })
            for number in stride(from: Int64(0), to: 240_000, by: 100) { #expect(byID[id(number)] == "row \(number)") }
        }
    }

    @Test("A12: the credentials in a failed request's headers are erased from every file while the payload is kept")
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

    @Test("The file does not grow without bound: its space is reused, and released when much is free")
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
