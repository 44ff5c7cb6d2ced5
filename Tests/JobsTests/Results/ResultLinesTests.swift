import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Jobs

@Suite("Lines of results", .timeLimit(.minutes(5)))
struct ResultLinesTests {
    private let store = StoredResults()
    private let clock = ManualClock()

    private func lines(
        _ query: ResultLines.Query = .init(), batchSize: Int = 4, follow: Bool = false
    ) -> ResultLines {
        ResultLines(of: store.job(batchSize: batchSize), query, follow: follow, store: store, clock: clock)
    }

    /// All lines, each with its line break.
    private func text(_ query: ResultLines.Query = .init(), batchSize: Int = 4) async throws -> [String] {
        var lines = lines(query, batchSize: batchSize)
        var bytes: [UInt8] = []
        try await lines.send { bytes += $0 }
        return Self.split(bytes)
    }

    private static func split(_ bytes: [UInt8]) -> [String] {
        #expect(bytes.isEmpty || bytes.last == UInt8(ascii: "\n"))
        return bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast().map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private static let failure = RequestFailure(
        .containerStatus, "The container said \"no\".", statusCode: 500, body: "a\nb")

    /// Records of every shape.
    private func fill(isStored: Bool) {
        store.succeed(ItemSet(0..<1), store.body(#"{"sum": 12345678901234567890}"#, isStored: isStored))
        store.succeed(
            ItemSet(4..<8), store.body(#""four items, one answer""#, isStored: isStored), attempts: 2)
        store.succeed(ItemSet([12, 14]), store.body("[1,2]", isStored: isStored))
        store.fail(ItemSet(1..<2), Self.failure, attempts: 3)
        store.succeed(
            ItemSet([16, 17, 19]), store.body(" [1.0, {\"a\" : [2]}\r\n,\"]\"] ", isStored: isStored),
            isSplit: true, attempts: 2)
        store.succeed(ItemSet(20..<22), nil)
        store.fail(ItemSet([18, 22]), RequestFailure(.itemFailed, "no"))
        store.succeed(ItemSet(24..<25), store.body("[\n  1\n]", isStored: isStored), isSplit: true)
        store.succeed(ItemSet(26..<27), store.body("{\n\"a\": 1}", isStored: isStored))
    }

    private static let all = [
        #"{"index":0,"status":"succeeded","attempts":1,"result":{"sum": 12345678901234567890}}"#,
        #"{"index":4,"count":4,"status":"succeeded","attempts":2,"result":"four items, one answer"}"#,
        #"{"indexes":[12,14],"status":"succeeded","attempts":1,"result":[1,2]}"#,
        #"{"index":1,"status":"failed","attempts":3,"error":{"kind":"container_status","message":"The container said \"no\".","status_code":500,"body":"a\nb"}}"#,
        #"{"index":16,"status":"succeeded","attempts":2,"result":1.0}"#,
        #"{"index":17,"status":"succeeded","attempts":2,"result":{"a" : [2]}}"#,
        #"{"index":19,"status":"succeeded","attempts":2,"result":"]"}"#,
        #"{"index":20,"count":2,"status":"succeeded","attempts":1,"result":null}"#,
        #"{"indexes":[18,22],"status":"failed","attempts":1,"error":{"kind":"item_failed","message":"no"}}"#,
        #"{"index":24,"status":"succeeded","attempts":1,"result":1}"#,
        #"{"index":26,"status":"succeeded","attempts":1,"result":{ "a": 1}}"#,
    ]

    @Test("B8: every record becomes its lines, in the order of recording, replies verbatim", arguments: [false, true])
    func shapes(isStored: Bool) async throws {
        fill(isStored: isStored)
        let text = try await text()
        #expect(text == Self.all)
        #expect(store.state.withLock { $0.openReaders } == 0)
        for line in text { _ = try JSONSerialization.jsonObject(with: Data(line.utf8)) }
    }

    @Test("B8: in a job whose batch_size is 1 the result is the reply, also when that is an array of one element")
    func batchSizeOne() async throws {
        store.succeed(ItemSet(0..<1), store.body("[7]"), isSplit: true)
        #expect(try await text(batchSize: 1) == [#"{"index":0,"status":"succeeded","attempts":1,"result":[7]}"#])
        #expect(try await text(batchSize: 2) == [#"{"index":0,"status":"succeeded","attempts":1,"result":7}"#])
    }

    @Test("B8: status filters the lines", arguments: [false, true])
    func filter(isStored: Bool) async throws {
        fill(isStored: isStored)
        let failed = try await text(.init(status: .failed))
        #expect(failed == Self.all.filter { $0.contains(#""status":"failed""#) })
        let succeeded = try await text(.init(status: .succeeded))
        #expect(succeeded == Self.all.filter { $0.contains(#""status":"succeeded""#) })
    }

    @Test("B8: order=index sorts the lines by their first index, also between the items of one reply")
    func byIndex() async throws {
        fill(isStored: false)
        let text = try await text(.init(after: .init(order: .index)))
        #expect(text == [0, 3, 1, 2, 4, 5, 8, 6, 7, 9, 10].map { Self.all[$0] })
        let failed = try await self.text(.init(after: .init(order: .index), status: .failed))
        #expect(failed == [Self.all[3], Self.all[8]])
    }

    @Test(
        "B8: a read that continues at any cursor gives exactly the rest",
        arguments: [ResultCursor.Order.recorded, .index], [false, true])
    func cursors(_ order: ResultCursor.Order, isStored: Bool) async throws {
        fill(isStored: isStored)
        let whole = try await text(.init(after: .init(order: order)))
        #expect(whole.count == Self.all.count)
        // The lines of each record, or of each range of a split one.
        let groups: [Int64] = order == .recorded ? [1, 1, 1, 1, 3, 1, 1, 1, 1] : [1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
        var cursors: [ResultCursor] = []
        for (records, count) in groups.enumerated() {
            for lines in 0..<count {
                cursors.append(ResultCursor(order: order, records: Int64(records), lines: lines))
            }
        }
        cursors.append(ResultCursor(order: order, records: Int64(groups.count), lines: 0))
        #expect(cursors.count == whole.count + 1)
        for (position, cursor) in cursors.enumerated() {
            let read = try #require(ResultCursor(cursor.text))
            #expect(read == cursor)
            #expect(try await text(.init(after: read)) == Array(whole[position...]), "\(cursor)")
        }
    }

    @Test("B8: the cursor after each piece continues where the piece ends")
    func cursorOfPieces() async throws {
        let elements = (0..<3000).map { "\"\($0) " + String(repeating: "x", count: 100) + "\"" }
        let array = "[" + elements.joined(separator: ",") + "]"
        store.succeed(ItemSet(0..<3000), store.body(array, isStored: true), isSplit: true)
        for index in Int64(3000)..<3500 { store.succeed(ItemSet(index..<index + 1), store.body("\(index)")) }
        let whole = try await text().joined(separator: "\n") + "\n"
        var lines = lines()
        var read: [UInt8] = []
        var pieces = 0
        while let piece = try await lines.next() {
            pieces += 1
            read += piece
            // Where a line was cut, the cursor is in front of it.
            let complete = read.prefix(through: try #require(read.lastIndex(of: UInt8(ascii: "\n"))))
            let rest = try await text(.init(after: lines.cursor)).map { $0 + "\n" }.joined()
            #expect(String(decoding: complete, as: UTF8.self) + rest == whole)
        }
        await lines.close()
        #expect(store.state.withLock { $0.openReaders } == 0)
        #expect(String(decoding: read, as: UTF8.self) == whole)
        #expect(pieces > 3)
        #expect(lines.cursor == lines.end)
    }

    @Test("B8: what was sent is a prefix of what is sent later, and after continues there")
    func prefix() async throws {
        fill(isStored: false)
        let count = store.state.withLock { $0.lines.count }
        let before = lines()
        let first = try await text()
        store.succeed(ItemSet(30..<31), store.body("3"))
        // The cursor was sent before the lines: it does not depend on what is recorded meanwhile.
        #expect(before.end == ResultCursor(records: Int64(count)))
        var late = before
        var bytes: [UInt8] = []
        try await late.send { bytes += $0 }
        #expect(Self.split(bytes) == first)
        #expect(try await text() == first + [#"{"index":30,"status":"succeeded","attempts":1,"result":3}"#])
        #expect(try await text(.init(after: before.end)).count == 1)
        #expect(try await text(.init(after: lines().end)).isEmpty)
    }

    @Test("B8: a followed read sends what is recorded meanwhile and ends with the job")
    func follow() async throws {
        store.succeed(ItemSet(0..<1), store.body("0"))
        let rounds = Mutex(0)
        let read = Mutex<[UInt8]>([])
        var lines = lines(follow: true)
        try await lines.send(following: { [store] in
            let round = rounds.withLock { round in
                round += 1
                return Int64(round)
            }
            #expect(read.withLock { $0.count { $0 == UInt8(ascii: "\n") } } == round)
            store.succeed(ItemSet(round..<round + 1), .inline(Array("\(round)".utf8)))
            return round < 3
        }) { piece in read.withLock { $0 += piece } }
        #expect(Self.split(read.withLock { $0 }).count == 4)
        #expect(lines.cursor == ResultCursor(records: 4))
    }

    @Test(
        "B8: what is no cursor is refused",
        arguments: ["", "r", "r1", "1.0", "x1.0", "r1.0.0", "r-1.0", "r1.+0", "r1.", "r.1", "r99999999999999999999.0"])
    func badCursors(_ text: String) {
        #expect(ResultCursor(text) == nil)
        #expect(ItemCursor(text) == nil)
    }

    @Test("B8: a cursor behind the lines of a record continues with the next one")
    func cursorBehindRecord() async throws {
        fill(isStored: false)
        #expect(try await text(.init(after: .init(records: 4, lines: 99))) == Array(Self.all[7...]))
        #expect(try await text(.init(after: .init(records: 99, lines: 0))).isEmpty)
        #expect(try await text(.init(after: .init(order: .index, records: .max, lines: 0))).isEmpty)
    }

    @Test("B8: a huge reply is sent piece by piece, and many replies in small pages")
    func memory() async throws {
        let long = "\"" + String(repeating: "y", count: 3_000_000) + "\""
        store.succeed(
            ItemSet(0..<2), store.body("[" + long + "," + long + "]", isStored: true), isSplit: true)
        store.succeed(ItemSet(2..<4), store.body(long, isStored: true))
        let reply = store.body("\"" + String(repeating: "z", count: 60_000) + "\"")
        for index in Int64(4)..<300 { store.succeed(ItemSet(index..<index + 1), reply) }
        for order in ResultCursor.Order.allCases {
            var lines = lines(.init(after: .init(order: order)))
            var size = 0
            var largest = 0
            try await lines.send { piece in
                size += piece.count
                largest = max(largest, piece.count)
            }
            #expect(size > 3 * 3_000_000 + 296 * 60_000)
            #expect(largest <= 2 * LineText.piece + Limits.bodyPiece)
        }
        let (page, read) = store.state.withLock { ($0.largestPage, $0.largestRead) }
        #expect(page <= 5 << 20)
        #expect(read <= Limits.bodyPiece)
    }

    @Test("B8: a stored array that has fewer elements than items ends the read with an error, and nothing stays open")
    func damaged() async throws {
        store.succeed(ItemSet(0..<3), store.body("[1,2]", isStored: true), isSplit: true)
        var lines = lines()
        await #expect(throws: PlatformError.self) { try await lines.send { _ in } }
        #expect(store.state.withLock { $0.openReaders } == 0)
    }
}

@Suite("Merged results", .timeLimit(.minutes(5)))
struct MergedLinesTests {
    @Test("B10: merged=true has for each index of the chain of jobs its last line")
    func merged() async throws {
        let second = StoredResults()
        let first = StoredResults(retry: second)
        first.succeed(ItemSet(0..<2), first.body("[0,1]"), isSplit: true)
        first.fail(ItemSet(2..<6), RequestFailure(.timeout, "late"))
        first.fail(ItemSet(6..<7), RequestFailure(.timeout, "late"))
        second.succeed(ItemSet([2, 4]), second.body("[2,4]"), isSplit: true)
        second.fail(ItemSet(6..<7), RequestFailure(.itemFailed, "no"), attempts: 2)
        let chain = [second.job(StoredResults.retryID), first.job()]
        var lines = try await MergedLines(of: chain, store: first, clock: ManualClock())
        var bytes: [UInt8] = []
        try await lines.send { bytes += $0 }
        let late = #""status":"failed","attempts":1,"error":{"kind":"timeout","message":"late"}}"#
        #expect(
            String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init) == [
                #"{"index":0,"status":"succeeded","attempts":1,"result":0}"#,
                #"{"index":1,"status":"succeeded","attempts":1,"result":1}"#,
                #"{"indexes":[3,5],"# + late,
                #"{"index":2,"status":"succeeded","attempts":1,"result":2}"#,
                #"{"index":4,"status":"succeeded","attempts":1,"result":4}"#,
                #"{"index":6,"status":"failed","attempts":2,"error":{"kind":"item_failed","message":"no"}}"#,
            ])
        var failed = try await MergedLines(of: chain, status: .failed, store: first, clock: ManualClock())
        bytes = []
        try await failed.send { bytes += $0 }
        #expect(bytes.count { $0 == UInt8(ascii: "\n") } == 2)
    }

    @Test("B8, B10: merged=true with order=index has the same lines by their first index, for every status")
    func sorted() async throws {
        let second = StoredResults()
        let first = StoredResults(retry: second)
        first.fail(ItemSet(8..<9), RequestFailure(.timeout, "late"))
        first.fail(ItemSet(0..<4), RequestFailure(.timeout, "late"))
        first.succeed(ItemSet([4, 6]), first.body("[4,6]", isStored: true), isSplit: true)
        second.succeed(ItemSet([0, 2, 8]), second.body("[0,2,8]"), isSplit: true)
        second.fail(ItemSet(1..<2), RequestFailure(.itemFailed, "no"), attempts: 2)
        let chain = [second.job(StoredResults.retryID), first.job()]
        let text: (ResultLines.Query.Status?) async throws -> [String] = { status in
            var lines = try await MergedLines(
                of: chain, status: status, order: .index, store: first, clock: ManualClock())
            var bytes: [UInt8] = []
            try await lines.send { bytes += $0 }
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        }
        let ok = { (index: Int) in #"{"index":\#(index),"status":"succeeded","attempts":1,"result":\#(index)}"# }
        let failures = [
            #"{"index":1,"status":"failed","attempts":2,"error":{"kind":"item_failed","message":"no"}}"#,
            #"{"index":3,"status":"failed","attempts":1,"error":{"kind":"timeout","message":"late"}}"#,
        ]
        #expect(try await text(nil) == [ok(0), failures[0], ok(2), failures[1], ok(4), ok(6), ok(8)])
        #expect(try await text(.failed) == failures)
        #expect(try await text(.succeeded) == [0, 2, 4, 6, 8].map(ok))
        #expect(first.state.withLock { $0.openReaders } == 0)
    }
}

@Suite("Lines of items", .timeLimit(.minutes(5)))
struct ItemLinesTests {
    private let store = StoredResults()
    private let clock = ManualClock()

    private func add(
        _ index: Int64, _ items: ItemSet, _ body: String?, _ state: StoredBatch.State, attempts: Int = 0,
        failure: RequestFailure? = nil, isStored: Bool = false
    ) {
        let batch = Batch(
            index: index, of: StoredResults.id, items: items,
            body: store.body(body ?? "", isStored: isStored))
        store.state.withLock {
            $0.batches.append(
                StoredBatch(batch: batch, state: state, isKept: body != nil, attempts: attempts, failure: failure))
        }
    }

    private func text(_ query: ItemLines.Query) async throws -> (lines: [String], end: ItemCursor?) {
        var lines = try await ItemLines(of: StoredResults.id, query, store: store, clock: clock)
        var bytes: [UInt8] = []
        try await lines.send { bytes += $0 }
        #expect(store.state.withLock { $0.openReaders } == 0)
        let text = bytes.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
        return (text, lines.end)
    }

    private func fill(isStored: Bool) {
        add(0, ItemSet(0..<2), "[1.0, {\"a\":\n2}]", .cancelled, isStored: isStored)
        add(
            2, ItemSet([5, 7]), "[\"five\",\"seven\"]", .failed, attempts: 3,
            failure: RequestFailure(.itemFailed, "no"), isStored: isStored)
        add(3, ItemSet(8..<9), nil, .failed, attempts: 1, failure: RequestFailure(.timeout, "late"))
        add(4, ItemSet(9..<10), "[9]", .inQueue, attempts: 1, isStored: isStored)
        add(5, ItemSet(10..<12), "[10,11]", .inProgress, isStored: isStored)
    }

    private static let all = [
        #"{"index":0,"status":"cancelled","attempts":0,"item":1.0}"#,
        #"{"index":1,"status":"cancelled","attempts":0,"item":{"a": 2}}"#,
        #"{"index":5,"status":"failed","attempts":3,"error":{"kind":"item_failed","message":"no"},"item":"five"}"#,
        #"{"index":7,"status":"failed","attempts":3,"error":{"kind":"item_failed","message":"no"},"item":"seven"}"#,
        #"{"index":8,"status":"failed","attempts":1,"error":{"kind":"timeout","message":"late"}}"#,
        #"{"index":9,"status":"in_queue","attempts":1,"item":9}"#,
        #"{"index":10,"status":"in_progress","attempts":0,"item":10}"#,
        #"{"index":11,"status":"in_progress","attempts":0,"item":11}"#,
    ]

    @Test("B8: every item without success is a line, verbatim as long as it is kept", arguments: [false, true])
    func items(isStored: Bool) async throws {
        fill(isStored: isStored)
        let all = Set(StoredBatch.State.allCases)
        #expect(try await text(.init(states: all)).lines == Self.all)
        #expect(try await text(.init(states: [.failed])).lines == Array(Self.all[2...4]))
        #expect(try await text(.init(states: [.inQueue])).lines == [Self.all[5]])
        let empty = try await text(.init(states: []))
        #expect(empty.lines.isEmpty && empty.end == nil)
    }

    @Test("B8: pages of any size together are all items", arguments: [1, 2, 3, 5, 8, 1000])
    func pages(_ limit: Int) async throws {
        fill(isStored: limit % 2 == 0)
        let all = Set(StoredBatch.State.allCases)
        var read: [String] = []
        var cursor: ItemCursor?
        while true {
            let page = try await text(.init(states: all, after: cursor, limit: limit))
            #expect(page.lines.count <= limit)
            if page.lines.isEmpty {
                #expect(page.end == cursor)
                break
            }
            read += page.lines
            cursor = page.end.flatMap { ItemCursor($0.text) }
            #expect(cursor == page.end)
        }
        #expect(read == Self.all)
    }

    @Test("B8: a page continues behind the last item, also when its batch has become smaller meanwhile")
    func smaller() async throws {
        add(0, ItemSet(0..<4), "[0,1,2,3]", .inQueue)
        let first = try await text(.init(states: [.inQueue], limit: 2))
        #expect(first.lines.count == 2)
        store.state.withLock { state in
            state.batches[0].batch.items = ItemSet([1, 3])
            state.batches[0].batch.body = .inline(Array("[1,3]".utf8))
        }
        let rest = try await text(.init(states: [.inQueue], after: first.end))
        #expect(rest.lines == [#"{"index":3,"status":"in_queue","attempts":0,"item":3}"#])
    }

    @Test("B8: an item whose body was erased meanwhile is a line without it")
    func erased() async throws {
        let batch = Batch(
            index: 0, of: StoredResults.id, items: ItemSet(0..<1), body: .stored(key: "gone", size: 100_000))
        store.state.withLock {
            $0.batches = [StoredBatch(batch: batch, state: .cancelled, isKept: true, attempts: 0)]
        }
        let lines = try await text(.init(states: [.cancelled])).lines
        #expect(lines == [#"{"index":0,"status":"cancelled","attempts":0}"#])
    }
}
