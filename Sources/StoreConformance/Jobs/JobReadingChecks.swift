import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobReading = [
        StoreCheck("J3: jobs are listed newest first, by status, in pages") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.deployJobs(fixture.batchAPI("other"))
            let statuses = JobStatus.allCases
            for (number, status) in statuses.enumerated() { try await fixture.bring(job: number, to: status) }
            try await fixture.create(100, batches: 1, of: fixture.batchAPI("other"))
            func list(_ filter: JobFilter) async throws -> [RequestID] {
                try await store.jobs(of: "sum", filter: filter, now: fixture.at(0)).map(\.id)
            }
            let all = statuses.indices.reversed().map { fixture.id($0) }
            #expect(try await list(.init()) == all)
            #expect(try await list(.init(limit: 3)) == Array(all.prefix(3)))
            #expect(try await list(.init(before: all[2], limit: 3)) == Array(all[3..<6]))
            #expect(try await list(.init(limit: 0)).isEmpty)
            for (number, status) in statuses.enumerated() {
                #expect(try await list(.init(statuses: [status])) == [fixture.id(number)])
            }
            #expect(try await list(.init(statuses: [.stopped, .pending], limit: 1)) == [fixture.id(9)])
            #expect(try await list(.init(statuses: JobStatus.open)) == [2, 1, 0].map(fixture.id))
            #expect(
                try await store.jobs(of: "other", filter: .init(), now: fixture.at(0)).map(\.id) == [fixture.id(100)])
            #expect(try await store.jobs(of: "unknown", filter: .init(), now: fixture.at(0)).isEmpty)
            #expect(try await store.openJobs().map(\.id) == [0, 1, 2, 100].map(fixture.id))
            for job in try await store.jobs(of: "sum", filter: .init(), now: fixture.at(0)) {
                #expect(try await store.job(job.id, api: "sum", now: fixture.at(0)) == job)
            }
        },
        StoreCheck("B8: lines are read in pages, and those read once stay as they are") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 20, size: 2)
            try await fixture.deliver(job: 1, 9) {
                $0.index % 3 == 0
                    ? StoreFixture.ended([StoreFixture.failed($0.items)])
                    : StoreFixture.ended([StoreFixture.succeeded($0.items, isSplit: $0.index % 3 == 1)])
            }
            let first = try await fixture.lines(job: 1)
            #expect(first.count == 9)
            #expect(
                try await store.lines(of: fixture.id(1), after: 3, limit: 2, now: fixture.at(0)) == Array(first[3..<5]))
            #expect(try await store.lines(of: fixture.id(1), after: 9, limit: 2, now: fixture.at(0)).isEmpty)
            #expect(try await store.lines(of: fixture.id(1), after: 0, limit: 0, now: fixture.at(0)).isEmpty)
            #expect(try await store.lines(of: fixture.id(2), after: 0, limit: 5, now: fixture.at(0)).isEmpty)
            try await fixture.deliver(job: 1, 11)
            try await fixture.complete(job: 1)
            let all = try await fixture.lines(job: 1)
            #expect(Array(all.prefix(9)) == first && all.count == 20)
            #expect(all.map(\.line.items.first) == (0..<20).map { Int64($0 * 2) })
        },
        StoreCheck("B8: batches are read by state in the order of their indexes, in pages") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 30)
            for index in 0..<12 {
                try await fixture.deliver(job: 1) {
                    index % 3 == 0
                        ? StoreFixture.ended([StoreFixture.failed($0.items)])
                        : index % 3 == 1 ? StoreFixture.success($0) : StoreFixture.retry(notBefore: fixture.at(60))
                }
            }
            _ = try await fixture.claim(job: 1, 6)
            func indexes(_ states: Set<StoredBatch.State>) async throws -> [Int64] {
                try await fixture.batches(job: 1, states).map(\.batch.index)
            }
            #expect(try await indexes([.failed]) == [0, 3, 6, 9])
            #expect(try await indexes([.inQueue]) == [2, 5, 8, 11] + (18..<30).map(Int64.init))
            #expect(try await indexes([.inProgress]) == (12..<18).map(Int64.init))
            #expect(try await indexes([.inProgress, .failed]) == [0, 3, 6, 9] + (12..<18).map(Int64.init))
            for states: Set<StoredBatch.State> in [[.cancelled], []] { #expect(try await indexes(states).isEmpty) }
            let queued = try await store.batches(
                of: fixture.id(1), in: [.inQueue], after: 5, limit: 2, now: fixture.at(0))
            #expect(queued.map(\.batch.index) == [8, 11] && queued.allSatisfy { $0.attempts == 1 && $0.isKept })
            _ = try await store.stop(fixture.id(1), .init(status: .stopped, reason: "r"), now: fixture.at(0))
            _ = try await store.cancelRest(of: fixture.id(1), limit: 100, now: fixture.at(0))
            #expect(try await indexes([.cancelled]) == [2, 5, 8] + (11..<30).map(Int64.init))
            for stored in try await fixture.batches(job: 1, [.cancelled]) {
                #expect(stored.batch.body == StoreFixture.items(stored.batch.items))
                #expect(stored.batch.id == Batch.id(index: stored.batch.index, of: fixture.id(1)))
            }
            try await fixture.expectConsistent(job: 1)
        },
    ]

    static let jobRetention = [
        StoreCheck("J11: a job is readable for its retention, to the microsecond, then it is gone with all its bytes") {
            fixture in
            let store = fixture.store
            let api = fixture.batchAPI(jobs: .init(retention: .seconds(60)), keepFailed: .seconds(600))
            try await fixture.deployJobs(api)
            let bytes = StoreFixture.bytes(100_000)
            var bodies: [Body] = []
            for _ in 0..<4 { bodies.append(try await fixture.body(bytes)) }
            for number in 1...2 {
                var batches = fixture.batches(2..<3, of: number)
                for index in 0..<2 {
                    let body = number == 1 ? bodies[index] : nil
                    batches.insert(contentsOf: fixture.batches(index..<index + 1, of: number, body: body), at: index)
                }
                _ = try await store.createJob(fixture.job(number, of: api), batches: batches, now: fixture.at(0))
            }
            try await fixture.deliver(job: 1) { StoreFixture.ended([StoreFixture.failed($0.items)]) }
            let (lease, place) = try await fixture.claimBatch(job: 1)
            let line = ResultLine(items: place.items, verdict: .succeeded(reply: bodies[2], isSplit: false))
            #expect(try await fixture.finish(lease, StoreFixture.ended([line])) == .applied)
            let log = JobFile(
                kind: .log, worker: 0, attempt: 1, path: "main", content: .kept(bodies[3], digest: []))
            try await store.add([log], to: fixture.id(1), now: fixture.at(0))
            try await fixture.end(job: 1, now: fixture.at(0))
            _ = try await store.maintain(now: fixture.at(20))
            #expect(try await fixture.isGone(bodies[1]), "the batch succeeded")
            let last = fixture.at(60) - .microseconds(1)
            #expect(try await store.maintain(now: last) == Upkeep())
            #expect(try await fixture.read(job: 1, now: last)?.status == .stopped)
            for body in [bodies[0], bodies[2], bodies[3]] { #expect(try await !fixture.isGone(body)) }
            // Gone for readers at once, whether or not the upkeep ran.
            #expect(try await fixture.read(job: 1, now: fixture.at(60)) == nil)
            #expect(try await fixture.lines(job: 1, now: fixture.at(60)).isEmpty)
            #expect(try await fixture.batches(job: 1, [.failed, .cancelled], now: fixture.at(60)).isEmpty)
            #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(60)).map(\.id) == [fixture.id(2)])
            var hints = HintReader(store.changes([.jobs]))
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep(purged: 1))
            try await hints.expect { $0.jobs.contains(fixture.id(1)) }
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep())
            _ = try await store.maintain(now: fixture.at(80))
            for body in bodies { #expect(try await fixture.isGone(body)) }
            // Even a clock that is set back does not bring it back.
            #expect(try await fixture.read(job: 1, now: fixture.at(0)) == nil)
            #expect(try await store.files(of: fixture.id(1), kind: .log).isEmpty)
            // Another job has lost nothing.
            try await fixture.expectConsistent(job: 2)
        },
        StoreCheck("J11: many ended jobs with many lines are purged") { fixture in
            let store = fixture.store
            let api = fixture.batchAPI(jobs: .init(retention: .seconds(60)))
            try await fixture.deployJobs(api)
            try await fixture.create(1, batches: 1500, of: api)
            let claimed = try await fixture.claim(job: 1, 1000)
            let ends = try claimed.map { (lease: $0.lease, outcome: StoreFixture.success(try #require($0.batch))) }
            for result in await store.finish(ends, now: fixture.at(0)) { #expect(try result.get() == .applied) }
            try await fixture.end(job: 1)
            for number in 2...40 {
                try await fixture.create(number, batches: 1, of: api)
                try await fixture.end(job: number)
            }
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep(purged: 40))
            #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(0)).isEmpty)
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep())
        },
        StoreCheck(
            "J11, B10: items of failed and cancelled batches are kept for keep_failed; what they were stays known"
        ) {
            fixture in
            let store = fixture.store
            try await fixture.deploySum(jobs: .init(retention: .seconds(600)), keepFailed: .seconds(60))
            let api = fixture.batchAPI(jobs: .init(retention: .seconds(600)), keepFailed: .seconds(60))
            let body = try await fixture.body(StoreFixture.bytes(100_000))
            let batches = fixture.batches(0..<2, of: 1, size: 3, body: body) + fixture.batches(2..<4, of: 1, size: 3)
            _ = try await store.createJob(
                fixture.job(1, of: api), batches: Array(batches.dropFirst()), now: fixture.at(0))
            try await fixture.deliver(job: 1) { StoreFixture.ended([StoreFixture.failed($0.items)]) }
            try await fixture.deliver(job: 1) {
                StoreFixture.ended(
                    [StoreFixture.succeeded($0.items.at([0, 2])), StoreFixture.failed($0.items.at([1]))],
                    remainder: .init(items: $0.items.at([1]), body: .inline([91, 49, 93])))
            }
            try await fixture.end(job: 1, now: fixture.at(0))
            let last = fixture.at(60) - .microseconds(1)
            _ = try await store.maintain(now: last)
            #expect(try await !fixture.isGone(body))
            let kept = try await fixture.batches(job: 1, [.failed, .cancelled], now: last)
            #expect(kept.map(\.isKept) == [true, true, true])
            let after = try await fixture.batches(job: 1, [.failed, .cancelled], now: fixture.at(60))
            #expect(after.map(\.isKept) == [false, false, false], "whether or not the upkeep ran")
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep())
            _ = try await store.maintain(now: fixture.at(80))
            #expect(try await fixture.isGone(body))
            let gone = try await fixture.batches(job: 1, [.failed, .cancelled], now: fixture.at(80))
            #expect(gone.map(\.batch.items) == kept.map(\.batch.items) && gone.map(\.batch.index) == [1, 2, 3])
            #expect(gone.map(\.state) == [.failed, .failed, .cancelled])
            #expect(gone.allSatisfy { !$0.isKept && $0.batch.body == .empty })
            #expect(gone.map(\.failure) == [StoreFixture.failure, StoreFixture.failure, nil])
            try await fixture.expectConsistent(job: 1, now: fixture.at(80))
        },
        StoreCheck("B10: without keep_failed no items are kept") { fixture in
            try await fixture.deploySum(keepFailed: .zero)
            let api = fixture.batchAPI(keepFailed: .zero)
            try await fixture.create(1, batches: 3, size: 2, of: api)
            try await fixture.deliver(job: 1) { StoreFixture.ended([StoreFixture.failed($0.items)]) }
            try await fixture.deliver(job: 1) {
                StoreFixture.ended(
                    [StoreFixture.succeeded($0.items.at([0])), StoreFixture.failed($0.items.at([1]))],
                    remainder: nil)
            }
            try await fixture.end(job: 1)
            let stored = try await fixture.batches(job: 1, [.failed, .cancelled])
            #expect(stored.map(\.batch.items) == [ItemSet(0..<2), ItemSet(3..<4), ItemSet(4..<6)])
            #expect(stored.allSatisfy { !$0.isKept && $0.batch.body == .empty })
            try await fixture.expectConsistent(job: 1)
        },
    ]
}
