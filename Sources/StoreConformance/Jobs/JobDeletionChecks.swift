import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobDeletions = [
        StoreCheck("A13, J7: deleting an API erases its jobs, with all their bytes; another API's jobs stay") {
            fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.deployJobs(fixture.batchAPI("other"))
            try await fixture.create(9, batches: 2, of: fixture.batchAPI("other"))
            let bytes = StoreFixture.bytes(100_000)
            let bodies = try await [fixture.body(bytes), fixture.body(bytes), fixture.body(bytes)]
            try await fixture.bring(job: 1, to: .succeeded)
            try await fixture.bring(job: 2, to: .completedWithFailures)
            _ = try await store.createJob(
                fixture.job(3),
                batches: fixture.batches(0..<1, of: 3, body: bodies[0])
                    + fixture.batches(1..<2, of: 3, body: bodies[1]) + fixture.batches(2..<5, of: 3), now: fixture.at(0)
            )
            let (lease, place) = try await fixture.claimBatch(job: 3)
            let line = ResultLine(items: place.items, verdict: .succeeded(reply: bodies[2], isSplit: false))
            #expect(try await fixture.finish(lease, StoreFixture.ended([line])) == .applied)
            let open = try await fixture.claim(job: 3, 2)
            var hints = HintReader(store.changes())
            #expect(try await store.delete(api: "sum", keepRequests: false, now: fixture.at(1)))
            try await hints.expect {
                $0.apis.contains("sum") && $0.jobs.contains(fixture.id(3)) && $0.ended.isSuperset(of: open.map(\.id))
            }
            #expect(try await store.openJobs().map(\.id) == [fixture.id(9)])
            for request in open {
                #expect(
                    try await fixture.finish(request.lease, StoreFixture.success(try #require(request.batch))) == .stale
                )
            }
            #expect(try await fixture.claim(job: 3, 5).isEmpty)
            #expect(
                try await store.stop(fixture.id(3), .init(status: .stopped, reason: "r"), now: fixture.at(1)) == nil)
            for attempt in 1...2 {
                for number in 1...3 {
                    #expect(try await fixture.read(job: number) == nil)
                    #expect(try await fixture.lines(job: number).isEmpty)
                    #expect(try await fixture.batches(job: number, [.failed, .inQueue]).isEmpty)
                }
                #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(1)).isEmpty)
                if attempt == 1 { try await fixture.deploySum() }
            }
            _ = try await store.maintain(now: fixture.at(20))
            _ = try await store.maintain(now: fixture.at(40))
            for body in bodies { #expect(try await fixture.isGone(body)) }
            try await fixture.create(3, batches: 1)
            #expect(try await fixture.claim(job: 3, 5).map(\.batch?.index) == [0])
            try await fixture.expectConsistent(job: 9, api: "other")
        },
        StoreCheck("A13, J7: kept jobs are stopped, unreadable, and readable again once the API is deployed again") {
            fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.bring(job: 1, to: .succeeded)
            for number in 2...3 { try await fixture.create(number, batches: 3) }
            let claimed = try await fixture.claim(job: 2, 2)
            _ = try await store.stop(fixture.id(3), .init(status: .timedOut, reason: "late"), now: fixture.at(0))
            var hints = HintReader(store.changes())
            #expect(try await store.delete(api: "sum", keepRequests: true, now: fixture.at(1)))
            try await hints.expect { $0.apis.contains("sum") && $0.jobs.contains(fixture.id(2)) }
            for number in 1...3 {
                #expect(try await fixture.read(job: number) == nil)
                #expect(try await fixture.lines(job: number).isEmpty)
            }
            #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(1)).isEmpty)
            #expect(try await fixture.claim(job: 2, 5).isEmpty)
            let open = try await store.openJobs()
            #expect(open.map(\.id) == [fixture.id(2), fixture.id(3)])
            #expect(open.map(\.stop) == [.apiDeleted, JobStop(status: .timedOut, reason: "late")])
            // What the workers have done until they are gone is recorded.
            #expect(
                try await fixture.finish(claimed[0].lease, StoreFixture.success(try #require(claimed[0].batch)))
                    == .applied)
            for job in open {
                #expect(try await store.cancelRest(of: job.id, limit: 10, now: fixture.at(2)) == 0)
                let status = try #require(job.stop?.status)
                #expect(try await store.change(job.id, to: status, reason: nil, now: fixture.at(2)) != nil)
            }
            #expect(try await store.openJobs().isEmpty)
            try await fixture.deployJobs(fixture.batchAPI(version: 2))
            #expect(try await fixture.read(job: 1)?.status == .succeeded)
            let stopped = try #require(try await fixture.read(job: 2))
            #expect(stopped.status == .stopped && stopped.reason == JobStop.apiDeleted.reason)
            #expect(stopped.counts.itemsSucceeded == 1 && stopped.counts.itemsCancelled == 2)
            #expect(stopped.version.id == "sum-1")
            #expect(try await fixture.read(job: 3)?.status == .timedOut)
            for number in 1...3 { try await fixture.expectConsistent(job: number) }
        },
        StoreCheck("A13: long jobs are gone at once, and their API's name is free") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            for number in 1...3 { try await fixture.create(number, batches: 2000) }
            let lease = try #require(try await fixture.claim(job: 2, 5).first).lease
            #expect(try await store.delete(api: "sum", keepRequests: false, now: fixture.at(1)))
            #expect(try await store.openJobs().isEmpty)
            #expect(try await fixture.finish(lease, .failed(StoreFixture.failure)) == .stale)
            try await fixture.deploySum()
            try await fixture.create(4, batches: 3)
            #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(1)).map(\.id) == [fixture.id(4)])
            #expect(try await fixture.claim(job: 4, 5).count == 3)
            _ = try await store.maintain(now: fixture.at(2))
            try await fixture.expectConsistent(job: 4)
        },
    ]
}
