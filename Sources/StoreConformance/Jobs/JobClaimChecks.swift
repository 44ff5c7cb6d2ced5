import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobClaims = [
        StoreCheck("J4, B5: batches are claimed in order with their places; the first claim makes the job running") {
            fixture in
            try await fixture.deploySum()
            let reason = "no capacity"
            try await fixture.create(1, batches: 3, size: 2)
            try await fixture.create(2, batches: 1)
            #expect(
                try await fixture.store.change(fixture.id(1), to: .pending, reason: reason, now: fixture.at(1)) != nil)
            #expect(try await fixture.read(job: 1)?.reason == reason)
            var hints = HintReader(fixture.store.changes([.jobs]))
            let claimed = try await fixture.claim(job: 1, 2, now: fixture.at(5))
            try await hints.expect { $0.jobs == [fixture.id(1)] }
            #expect(claimed.map(\.batch) == [0, 1].map { BatchPlace(index: $0, items: ItemSet($0 * 2..<$0 * 2 + 2)) })
            #expect(claimed.map(\.id) == [0, 1].map { Batch.id(index: $0, of: fixture.id(1)) })
            #expect(claimed.map(\.payload) == [0..<2, 2..<4].map { StoreFixture.items(ItemSet($0)) })
            #expect(claimed.allSatisfy { $0.headers.isEmpty && $0.query == nil && $0.attempts == 0 })
            #expect(claimed.allSatisfy { $0.lease.api == fixture.queue(1) && $0.lease.token == 1 })
            let job = try #require(try await fixture.read(job: 1))
            #expect(job.status == .running && job.runningSince == fixture.at(5) && job.reason == nil)
            #expect(job.counts.deliveredBatches == 2 && job.counts.itemsInProgress == 4)
            #expect(job.counts.batchesInQueue == 1 && job.counts.itemsInQueue == 2)
            #expect(try await fixture.claim(job: 1, 5, now: fixture.at(6)).map(\.batch?.index) == [2])
            #expect(try await fixture.claim(job: 1, 5, now: fixture.at(6)).isEmpty)
            #expect(try await fixture.read(job: 1)?.runningSince == fixture.at(5))
            #expect(try await fixture.read(job: 2)?.status == .pending)
            for number in 1...2 { try await fixture.expectConsistent(job: number) }
        },
        StoreCheck("B5: any set of items comes back with its batch, and a large body as well") { fixture in
            try await fixture.deploySum()
            let bytes = StoreFixture.bytes(300_000)
            let sets = [
                ItemSet([3, 5, 6, 7, 1 << 40]), ItemSet(0..<3), ItemSet((0..<3000).map { Int64(1000 + $0 * 2) }),
            ]
            var batches: [Batch] = []
            for (index, items) in sets.enumerated() {
                let body = index == 1 ? try await fixture.body(bytes) : .empty
                batches.append(Batch(index: Int64(index * 7), of: fixture.id(1), items: items, body: body))
            }
            _ = try await fixture.store.createJob(fixture.job(1), batches: batches, now: fixture.at(0))
            let claimed = try await fixture.claim(job: 1, 5)
            #expect(claimed.map(\.batch) == batches.map { BatchPlace(index: $0.index, items: $0.items) })
            #expect(try await fixture.bytes(of: claimed[1].payload) == bytes)
            #expect(try await fixture.read(job: 1)?.counts.itemsInProgress == 3008)
            let stored = try await fixture.batches(job: 1, [.inProgress])
            #expect(stored.map(\.batch) == batches)
        },
        StoreCheck("A10: a released, an expired and an interrupted delivery of a batch return to their place uncounted")
        {
            fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 3, size: 2)
            var hints = HintReader(store.changes())
            let leases = try await fixture.claim(job: 1, 3).map(\.lease)
            #expect(try await store.extend(leases, visibility: .seconds(60), now: fixture.at(1)).isEmpty)
            try await store.release([leases[0]], now: fixture.at(2))
            try await hints.expect { $0.queued.contains(fixture.queue(1)) }
            #expect(try await fixture.finish(leases[0], StoreFixture.ended([])) == .stale)
            #expect(try await fixture.read(job: 1)?.counts.itemsInProgress == 4)
            #expect(try await fixture.finish(leases[1], .interrupted) == .applied)
            #expect(try await fixture.finish(leases[1], .interrupted) == .stale)
            #expect(try await fixture.read(job: 1)?.counts.deliveredBatches == 1)
            #expect(try await store.maintain(now: fixture.at(60)) == Upkeep())
            #expect(try await store.maintain(now: fixture.at(61)) == Upkeep(rescued: 1))
            try await fixture.expectConsistent(job: 1)
            let again = try await fixture.claim(job: 1, 3, now: fixture.at(61))
            #expect(again.map(\.batch?.index) == [0, 1, 2])
            #expect(again.map(\.interruptions) == [0, 1, 0])
            #expect(again.allSatisfy { $0.attempts == 0 && $0.lease.token == 2 })
            #expect(try await store.extend(leases, visibility: .seconds(60), now: fixture.at(62)) == leases)
            #expect(try await store.releaseLeases(heldBy: "worker", now: fixture.at(62)) == 3)
            #expect(try await fixture.read(job: 1)?.counts.batchesInQueue == 3)
            #expect(try await fixture.read(job: 1)?.counts.deliveriesFailed == 0)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("A13: the queue of a job is in no list, and only deliveries concern it") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2)
            let queue = fixture.queue(1)
            #expect(try await store.deployedAPIs().map(\.name) == ["sum"])
            #expect(try await store.counts() == ["sum": QueueCounts()])
            #expect(try await store.versions(of: queue).isEmpty)
            #expect(try await store.list(api: queue, filter: .init(), now: fixture.at(0)).isEmpty)
            #expect(try await store.list(api: "sum", filter: .init(), now: fixture.at(0)).isEmpty)
            let submission = fixture.submission(9, api: queue)
            #expect(try await store.submit(submission, maxQueueLength: nil, now: fixture.at(0)) == .unknownAPI)
            let first = Batch.id(index: 0, of: fixture.id(1))
            #expect(try await store.cancel(first, api: queue, now: fixture.at(0)) == nil)
            #expect(try await store.retry(first, api: queue, now: fixture.at(0)) == nil)
            #expect(try await !store.delete(api: queue, keepRequests: false, now: fixture.at(0)))
            #expect(try await store.requestedReplicas(of: queue) == nil)
            #expect(try await store.read(first, api: queue, now: fixture.at(0))?.status == .inQueue)
            #expect(try await fixture.claim(job: 1, 5).count == 2)
        },
    ]

    static let jobOutcomes = [
        StoreCheck("B8, B9: a batch that succeeds leaves its line, and nothing else") { fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 3, size: 2)
            var hints = HintReader(fixture.store.changes([.jobs, .ended]))
            let claimed = try await fixture.claim(job: 1, 2)
            let second = try #require(claimed[1].batch)
            let large = try await fixture.body(StoreFixture.bytes(200_000))
            let line = ResultLine(items: second.items, verdict: .succeeded(reply: large, isSplit: true))
            #expect(
                try await fixture.finish(claimed[1].lease, StoreFixture.ended([line]), now: fixture.at(1)) == .applied)
            try await hints.expect { $0.jobs.contains(fixture.id(1)) && $0.ended.contains(claimed[1].id) }
            #expect(
                try await fixture.finish(claimed[1].lease, StoreFixture.ended([line]), now: fixture.at(1)) == .stale)
            let first = try #require(claimed[0].batch)
            let silent = ResultLine(items: first.items, verdict: .succeeded(reply: nil, isSplit: false))
            #expect(try await fixture.finish(claimed[0].lease, StoreFixture.ended([silent])) == .applied)
            let lines = try await fixture.lines(job: 1)
            #expect(
                lines == [
                    RecordedLine(number: 1, attempts: 1, line: line),
                    RecordedLine(number: 2, attempts: 1, line: silent),
                ])
            #expect(try await fixture.bytes(of: large) == StoreFixture.bytes(200_000))
            #expect(try await fixture.batches(job: 1, Set(StoredBatch.State.allCases)).map(\.batch.index) == [2])
            #expect(try await fixture.store.read(claimed[0].id, api: fixture.queue(1), now: fixture.at(1)) == nil)
            let counts = try #require(try await fixture.read(job: 1)?.counts)
            #expect(counts.batches == 3 && counts.openBatches == 1 && counts.deliveredBatches == 0)
            #expect(counts.items == 6 && counts.itemsSucceeded == 4 && counts.itemsInQueue == 2)
            #expect(counts.deliveriesSucceeded == 2 && counts.busy == .seconds(1) && counts.deliveriesFailed == 0)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B8, B9, B10: a batch that fails is one line, and its items are kept") { fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2, size: 3)
            try await fixture.deliver(job: 1) { _ in StoreFixture.retry() }
            let (lease, place) = try await fixture.claimBatch(job: 1)
            #expect(try await fixture.finish(lease, StoreFixture.ended([StoreFixture.failed(place.items)])) == .applied)
            let lines = try await fixture.lines(job: 1)
            #expect(lines == [RecordedLine(number: 1, attempts: 2, line: StoreFixture.failed(place.items))])
            let failed = try #require(try await fixture.batches(job: 1, [.failed]).first)
            #expect(failed.batch.items == place.items && failed.batch.body == StoreFixture.items(place.items))
            #expect(failed.isKept && failed.attempts == 2 && failed.failure == StoreFixture.failure)
            let counts = try #require(try await fixture.read(job: 1)?.counts)
            #expect(counts.failedBatches == 1 && counts.itemsFailed == 3 && counts.openBatches == 1)
            #expect(counts.deliveriesFailed == 2 && counts.deliveriesSucceeded == 0 && counts.busy == .zero)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B6, B9: what succeeds is recorded at once; the rest is delivered again as the same batch") {
            fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2, size: 5)
            let (lease, place) = try await fixture.claimBatch(job: 1)
            let good = place.items.at([0, 3])
            let rest = place.items.at([1, 2, 4])
            let body = try await fixture.body(StoreFixture.bytes(150_000))
            var hints = HintReader(fixture.store.changes())
            let outcome = StoreFixture.retry(
                [StoreFixture.succeeded(good, isSplit: true)], remainder: .init(items: rest, body: body),
                notBefore: fixture.at(10))
            #expect(try await fixture.finish(lease, outcome, now: fixture.at(1)) == .applied)
            try await hints.expect { $0.queued.contains(fixture.queue(1)) && $0.jobs.contains(fixture.id(1)) }
            var counts = try #require(try await fixture.read(job: 1)?.counts)
            #expect(counts.itemsSucceeded == 2 && counts.itemsInQueue == 8 && counts.openBatches == 2)
            #expect(counts.failedBatches == 0 && counts.deliveriesFailed == 1 && counts.batches == 2)
            try await fixture.expectConsistent(job: 1)
            #expect(try await fixture.claim(job: 1, 5, now: fixture.at(9)).map(\.batch?.index) == [1])
            let again = try #require(try await fixture.claim(job: 1, 5, now: fixture.at(10)).first)
            #expect(again.id == lease.id && again.attempts == 1)
            #expect(again.batch == BatchPlace(index: 0, items: rest))
            #expect(try await fixture.bytes(of: again.payload) == StoreFixture.bytes(150_000))
            // Again only a part; the last item fails for good.
            let last = rest.at([2])
            let kept = BatchOutcome.Remainder(items: last, body: .inline(Array("[4]".utf8)))
            #expect(
                try await fixture.finish(
                    again.lease,
                    StoreFixture.ended(
                        [StoreFixture.succeeded(rest.at([0, 1])), StoreFixture.failed(last)], remainder: kept),
                    now: fixture.at(11)) == .applied)
            counts = try #require(try await fixture.read(job: 1)?.counts)
            #expect(counts.itemsSucceeded == 4 && counts.itemsFailed == 1 && counts.failedBatches == 1)
            #expect(counts.deliveriesFailed == 2 && counts.deliveriesSucceeded == 0)
            let failed = try #require(try await fixture.batches(job: 1, [.failed]).first)
            #expect(failed.batch.items == last && failed.batch.body == kept.body && failed.batch.index == 0)
            #expect(try await fixture.lines(job: 1).map(\.attempts) == [1, 2, 2])
            _ = try await fixture.store.maintain(now: fixture.at(30))
            #expect(try await fixture.isGone(body), "the body that the remainder replaced")
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B8: results that do not fit the items of the batch are refused, and nothing changes") { fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 1, size: 3)
            let (lease, place) = try await fixture.claimBatch(job: 1)
            let (first, rest) = (place.items.at([0]), place.items.at([1, 2]))
            let remainder = BatchOutcome.Remainder(items: rest, body: .inline([91, 93]))
            let wrong = [
                StoreFixture.ended([]),
                StoreFixture.ended([StoreFixture.succeeded(first)]),
                StoreFixture.ended([StoreFixture.succeeded(place.items), StoreFixture.failed(first)]),
                StoreFixture.ended([StoreFixture.succeeded(ItemSet(0..<4))]),
                StoreFixture.ended([StoreFixture.succeeded(ItemSet(1..<4))]),
                StoreFixture.ended([StoreFixture.succeeded(place.items)], remainder: remainder),
                StoreFixture.retry([StoreFixture.succeeded(first)]),
                StoreFixture.retry([StoreFixture.failed(first)], remainder: remainder),
                StoreFixture.retry([StoreFixture.succeeded(place.items)]),
                StoreFixture.retry([], remainder: remainder),
            ]
            for outcome in wrong {
                await fixture.expectError(.internal) { _ = try await fixture.finish(lease, outcome) }
            }
            #expect(try await fixture.finish(lease, .completion(.succeeded)) == .stale)
            #expect(try await fixture.lines(job: 1).isEmpty)
            try await fixture.expectConsistent(job: 1)
            #expect(try await fixture.finish(lease, StoreFixture.success(place)) == .applied)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B7: the outcomes of requests hold for whole batches, and for the call after the last one") {
            fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 3, size: 2)
            try await fixture.deliver(job: 1) { _ in .completed(.inline(Array("1".utf8))) }
            try await fixture.deliver(job: 1) { _ in .failed(StoreFixture.failure) }
            try await fixture.deliver(job: 1) { _ in .retry(StoreFixture.failure, notBefore: fixture.at(3)) }
            #expect(try await fixture.claim(job: 1).isEmpty)
            try await fixture.deliver(job: 1, now: fixture.at(3)) { _ in .completed(.empty) }
            #expect(try await fixture.lines(job: 1).map(\.line.isSuccess) == [true, false, true])
            #expect(try await fixture.lines(job: 1).map(\.attempts) == [1, 1, 2])
            try await fixture.deliver(job: 1) { _ in .interrupted }
            try await fixture.deliver(job: 1) { _ in .retry(StoreFixture.failure, notBefore: fixture.at(4)) }
            let call = try #require(try await fixture.claim(job: 1, now: fixture.at(4)).first)
            #expect(call.batch?.isCompletion == true && call.attempts == 1 && call.interruptions == 1)
            #expect(try await fixture.finish(call.lease, StoreFixture.ended([])) == .stale)
            #expect(try await fixture.finish(call.lease, .failed(StoreFixture.failure)) == .applied)
            let job = try #require(try await fixture.read(job: 1))
            #expect(job.status == .completedWithFailures && job.completion == .failed(StoreFixture.failure))
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("A10: deliveries of batches and of requests that end together end each for itself") { fixture in
            try await fixture.deploySum()
            try await fixture.deploy()
            try await fixture.submit(50...51)
            for number in 1...2 { try await fixture.create(number, batches: 2) }
            var deliveries: [(lease: Lease, outcome: Outcome)] = []
            for number in 1...2 {
                for request in try await fixture.claim(job: number, 2) {
                    deliveries.append((request.lease, StoreFixture.success(try #require(request.batch))))
                }
            }
            deliveries.append((try await fixture.claimOne(), .completed(.empty)))
            deliveries.append((try await fixture.claimOne(), .failed(StoreFixture.failure)))
            deliveries[1].outcome = StoreFixture.ended([])
            let results = await fixture.store.finish(deliveries, now: fixture.at(1))
            #expect(results.count == 6)
            for (place, result) in results.enumerated() {
                if place == 1 {
                    #expect(throws: PlatformError.self) { try result.get() }
                } else {
                    #expect(try result.get() == .applied)
                }
            }
            #expect(try await fixture.read(job: 1)?.counts.openBatches == 1)
            #expect(try await fixture.read(job: 2)?.counts.openBatches == 0)
            for number in 1...2 { try await fixture.expectConsistent(job: number) }
            #expect(try await fixture.status(51) == .failed)
        },
    ]
}
