import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobEnds = [
        StoreCheck("B11: the end of the last batch makes one call after it, and its answer ends the job") { fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2)
            let claimed = try await fixture.claim(job: 1, 5)
            #expect(
                try await fixture.finish(claimed[0].lease, StoreFixture.success(try #require(claimed[0].batch)))
                    == .applied)
            #expect(try await fixture.read(job: 1)?.completion == nil)
            var hints = HintReader(fixture.store.changes())
            #expect(
                try await fixture.finish(claimed[1].lease, StoreFixture.success(try #require(claimed[1].batch)))
                    == .applied)
            try await hints.expect { $0.queued.contains(fixture.queue(1)) }
            let job = try #require(try await fixture.read(job: 1))
            #expect(job.completion == .running && job.status == .running && job.counts.openBatches == 0)
            #expect(job.counts.batches == 2 && job.counts.items == 2)
            #expect(try await fixture.batches(job: 1, Set(StoredBatch.State.allCases)).isEmpty)
            #expect(
                try await fixture.store.change(fixture.id(1), to: .succeeded, reason: nil, now: fixture.at(1)) == nil)
            let calls = try await fixture.claim(job: 1, 5, now: fixture.at(2))
            #expect(calls.map(\.batch) == [BatchPlace(index: Batch.completionIndex, items: ItemSet([]))])
            #expect(try await fixture.read(job: 1)?.counts.deliveredBatches == 0)
            #expect(try await fixture.finish(calls[0].lease, .completion(.succeeded), now: fixture.at(3)) == .applied)
            try await hints.expect { $0.jobs.contains(fixture.id(1)) && $0.ended.contains(calls[0].id) }
            let ended = try #require(try await fixture.read(job: 1))
            #expect(ended.status == .succeeded && ended.endedAt == fixture.at(3) && ended.reason == nil)
            #expect(ended.completion == .succeeded)
            #expect(try await fixture.finish(calls[0].lease, .completion(.succeeded), now: fixture.at(3)) == .stale)
            #expect(try await fixture.claim(job: 1, 5).isEmpty)
            #expect(try await fixture.store.openJobs().isEmpty)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B11, J4: what the call answered, and whether an item failed, decide between the two ends") {
            fixture in
            try await fixture.deploySum()
            let cases: [(JobCompletion, failedItem: Bool, JobStatus, reason: String?)] = [
                (.succeeded, false, .succeeded, nil), (.notHandled, false, .succeeded, nil),
                (
                    .failed(StoreFixture.failure), false, .completedWithFailures,
                    "on-job-complete failed: The container answered 500."
                ),
                (.succeeded, true, .completedWithFailures, "2 of 4 items failed"),
                (.notHandled, true, .completedWithFailures, "2 of 4 items failed"),
                (
                    .failed(StoreFixture.failure), true, .completedWithFailures,
                    "on-job-complete failed: The container answered 500."
                ),
            ]
            for (number, (completion, fails, status, reason)) in cases.enumerated() {
                try await fixture.create(number, batches: 2, size: 2)
                try await fixture.deliver(job: number)
                try await fixture.deliver(job: number) {
                    fails ? StoreFixture.ended([StoreFixture.failed($0.items)]) : StoreFixture.success($0)
                }
                try await fixture.complete(job: number, completion, now: fixture.at(number))
                let job = try #require(try await fixture.read(job: number))
                #expect(job.status == status && job.completion == completion && job.reason == reason)
                #expect(job.endedAt == fixture.at(number))
                try await fixture.expectConsistent(job: number)
            }
        },
        StoreCheck("B4, B11: the call waits for the end of the input") { fixture in
            try await fixture.deploySum()
            for number in 1...2 {
                try await fixture.create(number, batches: 1, isInputComplete: false)
                try await fixture.deliver(job: number)
                #expect(try await fixture.read(job: number)?.completion == nil)
                #expect(try await fixture.claim(job: number).isEmpty)
            }
            var hints = HintReader(fixture.store.changes())
            let done = try await fixture.store.append(
                [], to: fixture.id(1), cursor: [1], isLast: true, now: fixture.at(1))
            #expect(done?.completion == .running)
            try await hints.expect { $0.queued.contains(fixture.queue(1)) }
            try await fixture.complete(job: 1)
            #expect(try await fixture.read(job: 1)?.status == .succeeded)
            let more = try await fixture.store.append(
                fixture.batches(1..<2, of: 2), to: fixture.id(2), cursor: [1], isLast: true, now: fixture.at(1))
            #expect(more?.completion == nil)
            try await fixture.deliver(job: 2)
            try await fixture.complete(job: 2)
            for number in 1...2 { try await fixture.expectConsistent(job: number) }
        },
        StoreCheck("J4: a status changes as the table says, for every pair, and never leaves an end") { fixture in
            try await fixture.deploySum()
            var number = 0
            for from in JobStatus.allCases {
                for to in JobStatus.allCases {
                    number += 1
                    try await fixture.bring(job: number, to: from)
                    let before = try #require(try await fixture.read(job: number))
                    #expect(before.status == from)
                    // An end needs that nothing is open, which only a stop brings about.
                    let stop = JobStop(status: to, reason: "r")
                    if !to.isOpen, from.isOpen, to.origins.contains(from) {
                        #expect(
                            try await fixture.store.change(before.id, to: to, reason: "r", now: fixture.at(9)) == nil,
                            "a batch is open")
                        #expect(try await fixture.store.stop(before.id, stop, now: fixture.at(9)) != nil)
                        #expect(try await fixture.store.cancelRest(of: before.id, limit: 10, now: fixture.at(9)) == 0)
                    } else {
                        #expect(
                            try await fixture.store.stop(before.id, stop, now: fixture.at(9)) == nil, "\(from) → \(to)")
                    }
                    let isAllowed = to.origins.contains(from) || (from == to && from.isOpen)
                    let changed = try await fixture.store.change(before.id, to: to, reason: "why", now: fixture.at(10))
                    #expect((changed != nil) == isAllowed, "\(from) → \(to)")
                    let after = try #require(try await fixture.read(job: number))
                    #expect(after.status == (isAllowed ? to : from), "\(from) → \(to)")
                    #expect(after.reason == (isAllowed ? "why" : before.reason), "\(from) → \(to)")
                    #expect(
                        after.endedAt == (isAllowed && !to.isOpen ? fixture.at(10) : before.endedAt), "\(from) → \(to)")
                    if isAllowed, to == .running, from != .running { #expect(after.runningSince == fixture.at(10)) }
                    try await fixture.expectConsistent(job: number)
                }
            }
        },
        StoreCheck("J4: an open job's reason changes alone, and an unknown job does not change") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 1)
            var hints = HintReader(store.changes([.jobs]))
            #expect(try await store.change(fixture.id(1), to: .pending, reason: "a", now: fixture.at(1))?.reason == "a")
            try await hints.expect { $0.jobs == [fixture.id(1)] }
            #expect(try await fixture.read(job: 1)?.reason == "a")
            #expect(try await store.change(fixture.id(1), to: .pending, reason: nil, now: fixture.at(1)) != nil)
            #expect(try await fixture.read(job: 1)?.reason == nil)
            #expect(try await store.change(fixture.id(2), to: .running, reason: nil, now: fixture.at(1)) == nil)
            #expect(
                try await store.stop(fixture.id(2), .init(status: .stopped, reason: "r"), now: fixture.at(1)) == nil)
            #expect(try await store.cancelRest(of: fixture.id(2), limit: 1, now: fixture.at(1)) == 0)
        },
    ]

    static let jobStops = [
        StoreCheck("J5: from a stop on nothing is claimed; what is delivered may still be recorded") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 4, size: 2)
            let claimed = try await fixture.claim(job: 1, 2)
            var hints = HintReader(store.changes())
            let stop = JobStop(status: .timedOut, reason: "longer than 5 s")
            let stopped = try #require(try await store.stop(fixture.id(1), stop, now: fixture.at(5)))
            #expect(stopped.stop == stop && stopped.status == .running)
            try await hints.expect { $0.jobs.contains(fixture.id(1)) }
            let second = try await store.stop(
                fixture.id(1), .init(status: .stopped, reason: "user"), now: fixture.at(6))
            #expect(second?.stop == stop)
            #expect(try await fixture.claim(job: 1, 5).isEmpty)
            #expect(try await store.extend(claimed.map(\.lease), visibility: .seconds(60), now: fixture.at(6)).isEmpty)
            #expect(
                try await fixture.finish(
                    claimed[0].lease, StoreFixture.success(try #require(claimed[0].batch)), now: fixture.at(6))
                    == .applied)
            #expect(
                try await store.change(fixture.id(1), to: .timedOut, reason: nil, now: fixture.at(7)) == nil,
                "batches are open")
            #expect(try await store.cancelRest(of: fixture.id(1), limit: 10, now: fixture.at(7)) == 0)
            try await hints.expect { $0.ended.contains(claimed[1].id) }
            #expect(
                try await fixture.finish(claimed[1].lease, StoreFixture.success(try #require(claimed[1].batch)))
                    == .stale)
            #expect(
                try await store.extend(claimed.map(\.lease), visibility: .seconds(60), now: fixture.at(7))
                    == claimed.map(\.lease))
            #expect(
                try await store.change(fixture.id(1), to: .stopped, reason: nil, now: fixture.at(8)) == nil,
                "another end")
            #expect(try await store.change(fixture.id(1), to: .timedOut, reason: nil, now: fixture.at(8)) != nil)
            let job = try #require(try await fixture.read(job: 1))
            #expect(job.status == .timedOut && job.reason == "longer than 5 s" && job.endedAt == fixture.at(8))
            #expect(job.counts.itemsCancelled == 6 && job.counts.itemsSucceeded == 2 && job.counts.failedBatches == 0)
            #expect(try await fixture.batches(job: 1, [.cancelled]).map(\.batch.index) == [1, 2, 3])
            #expect(try await fixture.batches(job: 1, [.cancelled]).allSatisfy { $0.isKept && $0.failure == nil })
            #expect(try await store.stop(fixture.id(1), stop, now: fixture.at(9)) == nil)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("J5: the rest is cancelled in slices, and only of a job that is being stopped") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2500)
            _ = try await fixture.claim(job: 1, 30)
            try await fixture.deliver(job: 1) { _ in StoreFixture.retry(notBefore: fixture.at(100)) }
            #expect(try await store.cancelRest(of: fixture.id(1), limit: 1000, now: fixture.at(1)) == 2500)
            try await fixture.expectConsistent(job: 1)
            _ = try await store.stop(fixture.id(1), .init(status: .stopped, reason: "r"), now: fixture.at(1))
            var left = 2500
            for expected in [1500, 500, 0, 0] {
                left = try await store.cancelRest(of: fixture.id(1), limit: 1000, now: fixture.at(2))
                #expect(left == expected)
            }
            #expect(try await fixture.read(job: 1)?.counts.itemsCancelled == 2500)
            #expect(try await store.change(fixture.id(1), to: .stopped, reason: nil, now: fixture.at(2)) != nil)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("J5, B11: a stop during the call after the last batch wins, whether or not the call is answered") {
            fixture in
            let store = fixture.store
            try await fixture.deploySum()
            for number in 1...3 {
                try await fixture.create(number, batches: 1)
                try await fixture.deliver(job: number)
                let call = try await fixture.claimBatch(job: number)
                if number == 3 { try await store.release([call.lease], now: fixture.at(1)) }
                _ = try await store.stop(fixture.id(number), .init(status: .stopped, reason: "r"), now: fixture.at(1))
                if number == 1 {
                    #expect(try await fixture.finish(call.lease, .completion(.succeeded)) == .applied)
                    #expect(try await fixture.read(job: 1)?.status == .running)
                }
                #expect(
                    try await store.change(fixture.id(number), to: .stopped, reason: nil, now: fixture.at(2)) == nil
                        || number == 1)
                #expect(try await store.cancelRest(of: fixture.id(number), limit: 5, now: fixture.at(2)) == 0)
                #expect(try await fixture.finish(call.lease, .completion(.succeeded)) == .stale)
                if number > 1 {
                    #expect(
                        try await store.change(fixture.id(number), to: .stopped, reason: nil, now: fixture.at(3)) != nil
                    )
                }
                let job = try #require(try await fixture.read(job: number))
                #expect(job.status == .stopped && job.completion == (number == 1 ? .succeeded : nil))
                try await fixture.expectConsistent(job: number)
            }
        },
        StoreCheck("J5: the end of the last batch of a job that is being stopped makes no call") { fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 1)
            let (lease, place) = try await fixture.claimBatch(job: 1)
            _ = try await fixture.store.stop(fixture.id(1), .init(status: .stopped, reason: "r"), now: fixture.at(1))
            #expect(try await fixture.finish(lease, StoreFixture.success(place)) == .applied)
            #expect(try await fixture.read(job: 1)?.completion == nil)
            #expect(try await fixture.store.cancelRest(of: fixture.id(1), limit: 5, now: fixture.at(2)) == 0)
            try await fixture.end(job: 1)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("A10, J5: a stop that races with finishes: each batch is recorded or cancelled, never both") {
            fixture in
            try await fixture.deploySum()
            try await fixture.create(1, batches: 200, size: 2)
            let claimed = try await fixture.claim(job: 1, 100)
            let applied = try await withThrowingTaskGroup(of: Int.self) { group in
                for request in claimed {
                    let place = try #require(request.batch)
                    group.addTask {
                        try await fixture.finish(request.lease, StoreFixture.success(place)) == .applied ? 1 : 0
                    }
                }
                group.addTask {
                    _ = try await fixture.store.stop(
                        fixture.id(1), .init(status: .stopped, reason: "r"), now: fixture.at(0))
                    while try await fixture.store.cancelRest(of: fixture.id(1), limit: 7, now: fixture.at(0)) > 0 {}
                    return 0
                }
                return try await group.reduce(0, +)
            }
            try await fixture.end(job: 1)
            let counts = try #require(try await fixture.read(job: 1)?.counts)
            #expect(counts.itemsSucceeded == Int64(applied * 2))
            #expect(counts.itemsCancelled == Int64(400 - applied * 2))
            try await fixture.expectConsistent(job: 1)
        },
    ]
}
