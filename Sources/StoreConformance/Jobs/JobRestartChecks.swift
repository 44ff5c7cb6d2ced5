import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobRestarts = [
        StoreCheck(
            "J6: jobs in every state, their batches, lines, runs, files and schedules survive a restart",
            needs: [.durable]
        ) {
            old in
            try await old.deploySum()
            try await old.deployJobs(old.taskAPI())
            let statuses = JobStatus.allCases
            for (number, status) in statuses.enumerated() { try await old.bring(job: number, to: status) }
            // Half done: a line, a partly failed batch, a retry, deliveries, a stop, a call, a cursor.
            try await old.create(20, batches: 9, size: 3, isInputComplete: false)
            try await old.deliver(job: 20)
            try await old.deliver(job: 20) {
                StoreFixture.ended(
                    [StoreFixture.succeeded($0.items.at([0, 2])), StoreFixture.failed($0.items.at([1]))],
                    remainder: .init(items: $0.items.at([1]), body: .inline([91, 49, 93])))
            }
            let large = try await old.body(StoreFixture.bytes(100_000))
            try await old.deliver(job: 20) {
                StoreFixture.retry(
                    [StoreFixture.succeeded($0.items.at([1]))],
                    remainder: .init(items: $0.items.at([0, 2]), body: large), notBefore: old.at(50))
            }
            let leases = try await old.claim(job: 20, 2).map(\.lease)
            _ = try await old.store.append(
                old.batches(9..<10, of: 20, size: 3), to: old.id(20), cursor: [4, 0, 255], isLast: false, now: old.at(1)
            )
            try await old.create(21, batches: 4)
            _ = try await old.claim(job: 21, 2)
            _ = try await old.store.stop(old.id(21), .init(status: .timedOut, reason: "late"), now: old.at(1))
            #expect(try await old.store.cancelRest(of: old.id(21), limit: 2, now: old.at(1)) == 2)
            try await old.create(22, batches: 1)
            try await old.deliver(job: 22)
            try await old.create(23, batches: 0, of: old.taskAPI())
            let run = JobRun(
                worker: 1, attempt: 2, pod: "p", status: .oom, exitCode: 137, reason: "r", startedAt: old.at(1),
                endedAt: old.at(2))
            let file = JobFile(
                kind: .artifact, worker: 1, attempt: 2, path: "x", content: .kept(.inline([1]), digest: [2]))
            #expect(try await old.store.save(run, of: old.id(23), files: [file], now: old.at(2)))
            let state = ScheduleState(fingerprint: "f", lastPlanned: old.at(9), waiting: old.at(10))
            try await old.store.save(state, of: "s", api: "sum")
            let numbers = Array(statuses.indices) + [20, 21, 22]
            var jobs: [Job] = []
            var lines: [[RecordedLine]] = []
            var batches: [[StoredBatch]] = []
            for number in numbers {
                jobs.append(try #require(try await old.read(job: number)))
                lines.append(try await old.lines(job: number))
                batches.append(try await old.batches(job: number, Set(StoredBatch.State.allCases)))
            }
            let open = try await old.store.openJobs()

            let new = try await old.reopened()
            for (place, number) in numbers.enumerated() {
                #expect(try await new.read(job: number) == jobs[place])
                #expect(try await new.lines(job: number) == lines[place])
                #expect(try await new.batches(job: number, Set(StoredBatch.State.allCases)) == batches[place])
                try await new.expectConsistent(job: number)
            }
            #expect(try await new.store.openJobs() == open)
            #expect(try await new.store.runs(of: new.id(23), limit: 5) == [run])
            #expect(try await new.store.files(of: new.id(23), kind: .artifact) == [file])
            #expect(try await new.store.schedules(of: "sum") == ["s": state])
            #expect(try await new.store.deployedAPIs().map(\.name) == ["report", "sum"])
            // The leases of the old process hold until they are released.
            #expect(try await new.store.extend(leases, visibility: .seconds(30), now: new.at(2)).isEmpty)
            #expect(try await new.store.beat(process: "next", now: new.at(2)) >= 2)
            try await new.expectConsistent(job: 20)
            let again = try await new.claim(job: 20, 10, now: new.at(50))
            #expect(again.map(\.batch?.index) == [2, 3, 4, 5, 6, 7, 8, 9])
            #expect(again[0].attempts == 1 && again[0].payload == large)
            for request in again {
                #expect(
                    try await new.finish(request.lease, StoreFixture.success(try #require(request.batch))) == .applied)
            }
            _ = try await new.store.append([], to: new.id(20), cursor: [5], isLast: true, now: new.at(51))
            try await new.complete(job: 20, now: new.at(52))
            #expect(try await new.read(job: 20)?.status == .completedWithFailures)
            #expect(try await new.store.cancelRest(of: new.id(21), limit: 9, now: new.at(52)) == 0)
            #expect(
                try await new.store.change(new.id(21), to: .timedOut, reason: nil, now: new.at(52))?.reason == "late")
            try await new.complete(job: 22, now: new.at(52))
            for number in 20...22 { try await new.expectConsistent(job: number) }
        },
        StoreCheck("B2: staged batches of a job that was not created are gone after a restart", needs: [.durable]) {
            old in
            try await old.deploySum()
            let body = try await old.body(StoreFixture.bytes(100_000))
            try await old.store.stage(old.batches(0..<1, of: 1, body: body), of: old.job(1), now: old.at(0))
            try await old.store.stage(old.batches(1..<700, of: 1), of: old.job(1), now: old.at(0))
            try await old.create(2, batches: 2)
            let new = try await old.reopened()
            #expect(try await new.read(job: 1) == nil)
            _ = try await new.store.maintain(now: new.at(20))
            #expect(try await new.isGone(body))
            try await new.create(1, batches: 1)
            #expect(try await new.claim(job: 1, 10).map(\.batch?.index) == [0])
            for number in 1...2 { try await new.expectConsistent(job: number) }
        },
        StoreCheck("J2, J9, J14: keys, planned times and pending jobs are known after a restart", needs: [.durable]) {
            old in
            let api = old.batchAPI(jobs: .init(maxQueuedJobs: 1))
            try await old.deployJobs(api)
            let time = ScheduledTime(name: "s", plannedAt: old.at(5))
            let first = old.job(1, of: api, idempotency: .init(key: "k", fingerprint: [1]), schedule: time)
            _ = try await old.store.createJob(first, batches: old.batches(0..<1, of: 1), now: old.at(0))
            let new = try await old.reopened()
            let stored = try #require(try await new.read(job: 1))
            func create(_ job: Job) async throws -> JobCreation {
                try await new.store.createJob(job, batches: new.batches(0..<1, of: 2), now: new.at(0))
            }
            #expect(
                try await create(new.job(2, of: api, idempotency: .init(key: "k", fingerprint: [1])))
                    == .existing(stored))
            #expect(
                try await create(new.job(2, of: api, idempotency: .init(key: "k", fingerprint: [2])))
                    == .idempotencyMismatch)
            #expect(try await create(new.job(2, of: api, schedule: time)) == .existing(stored))
            #expect(try await create(new.job(2, of: api)) == .queueFull)
        },
        StoreCheck("J7, J11: a deletion and a purge that a restart cuts short are finished", needs: [.durable]) { old in
            let api = old.batchAPI(jobs: .init(retention: .seconds(60)))
            try await old.deployJobs(api)
            try await old.deployJobs(old.batchAPI("other"))
            try await old.create(1, batches: 2000, of: api)
            try await old.create(2, batches: 2000, of: old.batchAPI("other"))
            try await old.create(3, batches: 1500, of: api)
            for _ in 0..<2 {
                let claimed = try await old.claim(job: 3, 1000)
                let ends = try claimed.map { (lease: $0.lease, outcome: StoreFixture.success(try #require($0.batch))) }
                _ = await old.store.finish(ends, now: old.at(0))
            }
            try await old.complete(job: 3, now: old.at(0))
            _ = try await old.store.maintain(now: old.at(60))
            _ = try await old.store.delete(api: "other", keepRequests: false, now: old.at(61))
            let new = try await old.reopened()
            #expect(try await new.read(job: 3, now: new.at(0)) == nil)
            #expect(try await new.store.openJobs().map(\.id) == [new.id(1)])
            try await new.deployJobs(new.batchAPI("other"))
            #expect(try await new.store.jobs(of: "other", filter: .init(), now: new.at(62)).isEmpty)
            _ = try await new.store.maintain(now: new.at(62))
            try await new.expectConsistent(job: 1, now: new.at(62))
        },
    ]

    static let jobProcesses = [
        StoreCheck("J6, B9: many workers claim, end, repeat and lose batches at once: every item is in one line") {
            fixture in
            let store = fixture.store
            try await fixture.deploySum()
            let count = 120
            for number in 1...2 { try await fixture.create(number, batches: count, size: 4) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for worker in 0..<6 {
                    group.addTask {
                        let number = 1 + worker % 2
                        var generator = SeededGenerator(seed: UInt64(worker))
                        while try #require(try await fixture.read(job: number)).counts.openBatches > 0 {
                            let claimed = try await fixture.claim(job: number, 5, holder: "worker-\(worker)")
                            if claimed.isEmpty { await Task.yield() }
                            for request in claimed {
                                let place = try #require(request.batch)
                                guard !place.isCompletion else {
                                    try await store.release([request.lease], now: fixture.at(0))
                                    continue
                                }
                                let (good, bad) = (place.items.at([0]), place.items.subtracting([place.items.at([0])]))
                                let rest = try #require(bad)
                                let remainder = BatchOutcome.Remainder(items: rest, body: StoreFixture.items(rest))
                                switch Int.random(in: 0..<5, using: &generator) {
                                case 0: try await store.release([request.lease], now: fixture.at(0))
                                case 1: try await fixture.finish(request.lease, .interrupted)
                                case 2 where !rest.isEmpty:
                                    try await fixture.finish(
                                        request.lease,
                                        StoreFixture.retry([StoreFixture.succeeded(good)], remainder: remainder))
                                case 3 where !rest.isEmpty:
                                    try await fixture.finish(
                                        request.lease,
                                        StoreFixture.ended(
                                            [StoreFixture.succeeded(good), StoreFixture.failed(rest)],
                                            remainder: remainder))
                                default: try await fixture.finish(request.lease, StoreFixture.success(place))
                                }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            for number in 1...2 {
                try await fixture.complete(job: number)
                let job = try #require(try await fixture.read(job: number))
                #expect(!job.status.isOpen && job.counts.items == Int64(4 * count))
                try await fixture.expectConsistent(job: number)
            }
        },
        StoreCheck("A10: batches of a process that is gone are in the queue again, and are counted so") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 4, size: 2)
            #expect(try await store.beat(process: "first", now: fixture.at(0)) == 0)
            _ = try await fixture.claim(job: 1, 3, holder: "first")
            let later = fixture.at(0) + Limits.processTimeout
            let released = try await store.beat(process: "second", now: later)
            #expect(try await released + store.maintain(now: later).rescued == 3)
            #expect(try await fixture.read(job: 1)?.counts.deliveredBatches == 0)
            try await fixture.expectConsistent(job: 1)
            #expect(
                try await fixture.claim(job: 1, 5, holder: "second", now: later).map(\.batch?.index) == [0, 1, 2, 3])
        },
        StoreCheck("J9, J2: processes that share a store create a job once and stay below the limit", needs: [.shared])
        {
            fixture in
            let store = fixture.store
            let api = fixture.batchAPI(jobs: .init(maxQueuedJobs: 3))
            try await fixture.deployJobs(api)
            let time = ScheduledTime(name: "s", plannedAt: fixture.at(5))
            let results = try await withThrowingTaskGroup(of: JobCreation.self) { group in
                for number in 1...8 {
                    group.addTask {
                        try await store.createJob(
                            fixture.job(number, of: api, schedule: number > 4 ? time : nil),
                            batches: fixture.batches(0..<1, of: number), now: fixture.at(0))
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let created = results.count { if case .created = $0 { true } else { false } }
            #expect(created == 3)
            let open = try await store.openJobs()
            #expect(open.count == 3 && open.count { $0.submission.schedule != nil } <= 1)
        },
    ]
}
