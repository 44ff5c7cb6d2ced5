import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobCreation = [
        StoreCheck("J1, J7: a job is read back with everything that its submission fixed, for its API only") {
            fixture in
            let api = fixture.batchAPI(version: 3, jobs: .init(retention: .seconds(77), maxQueuedJobs: 5))
            try await fixture.deployJobs(api)
            try await fixture.deployJobs(fixture.batchAPI("other"))
            var job = Job(
                id: fixture.id(1), version: api,
                submission: JobSubmission(
                    workers: 7, timeout: .seconds(3600), config: Array(#"{"k": 1.0, "k": "\u00e9"}"#.utf8),
                    ignoredFields: ["wokers", "a.b"], retryOf: fixture.id(0),
                    schedule: .init(name: "nightly", plannedAt: fixture.at(5), isManual: true),
                    idempotency: .init(key: "key", fingerprint: [0, 255]),
                    work: .batch(
                        .init(
                            batchSize: 9, maxFailedBatches: 4,
                            files: .init(
                                use: .contents, paths: ["s3://b/p", "file:///d"], includes: ["**"], excludes: ["*.x"])))
                ),
                createdAt: fixture.at(3))
            job.isInputComplete = false
            job.cursor = [0, 1, 255]
            let batches = fixture.batches(0..<3, of: 1, size: 2)
            var expected = job
            expected.counts.batches = 3
            expected.counts.openBatches = 3
            expected.counts.items = 6
            #expect(try await fixture.store.createJob(job, batches: batches, now: fixture.at(4)) == .created(expected))
            #expect(try await fixture.read(job: 1) == expected)
            #expect(try await fixture.read(job: 1, api: "other") == nil)
            #expect(try await fixture.read(job: 2) == nil)
            #expect(try await fixture.store.openJobs() == [expected])
            // A later version of the API changes nothing in it.
            try await fixture.deployJobs(fixture.batchAPI(version: 4))
            #expect(try await fixture.read(job: 1)?.version == api)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("T1: a Task job has no batches, is read back with its own part, and stays open") { fixture in
            let api = fixture.taskAPI()
            try await fixture.deployJobs(api)
            let job = Job(
                id: fixture.id(1), version: api,
                submission: JobSubmission(
                    workers: 3,
                    work: .task(
                        .init(
                            args: ["a", ""], env: ["A": "ü"], retries: Array(#"{"on":["exit"]}"#.utf8), indexes: [0, 2])
                    )), createdAt: fixture.at(0))
            #expect(try await fixture.store.createJob(job, batches: [], now: fixture.at(0)) == .created(job))
            #expect(try await fixture.read(job: 1, api: "report") == job)
            #expect(try await fixture.store.change(job.id, to: .running, reason: nil, now: fixture.at(5)) != nil)
            let running = try #require(try await fixture.read(job: 1, api: "report"))
            #expect(running.status == .running && running.runningSince == fixture.at(5))
            #expect(try await fixture.store.change(job.id, to: .succeeded, reason: nil, now: fixture.at(9)) != nil)
            #expect(try await fixture.read(job: 1, api: "report")?.endedAt == fixture.at(9))
        },
        StoreCheck("J1: without its API a job is not created, and an id is used once") { fixture in
            let store = fixture.store
            let batches = fixture.batches(0..<1, of: 1)
            #expect(try await store.createJob(fixture.job(1), batches: batches, now: fixture.at(0)) == .unknownAPI)
            try await fixture.deploySum()
            #expect(try await fixture.read(job: 1) == nil)
            try await fixture.create(1, batches: 1)
            await fixture.expectError(.conflict) {
                _ = try await store.createJob(fixture.job(1), batches: batches, now: fixture.at(0))
            }
            try await fixture.expectConsistent(job: 1)
            #expect(try await fixture.claim(job: 1, 10).count == 1)
        },
        StoreCheck("B4: a job without a batch ends at once when its input is complete") { fixture in
            try await fixture.deploySum()
            let job = try await fixture.create(1, batches: 0, now: fixture.at(2))
            #expect(job.status == .succeeded && job.endedAt == fixture.at(2) && job.completion == nil)
            try await fixture.create(2, batches: 0, isInputComplete: false)
            #expect(try await fixture.read(job: 2)?.status == .pending)
            _ = try await fixture.store.change(fixture.id(2), to: .enqueuing, reason: nil, now: fixture.at(1))
            let ended = try await fixture.store.append(
                [], to: fixture.id(2), cursor: [1], isLast: true, now: fixture.at(3))
            #expect(ended?.status == .succeeded && ended?.endedAt == fixture.at(3))
            #expect(try await fixture.store.openJobs().isEmpty)
        },
        StoreCheck("J2, A6: a key with the same submission gives the first job; with another one it is refused") {
            fixture in
            let store = fixture.store
            try await fixture.deploySum(jobs: .init(retention: .seconds(60)))
            try await fixture.deployJobs(fixture.batchAPI("other"))
            let api = fixture.batchAPI(jobs: .init(retention: .seconds(60)))
            func create(_ number: Int, _ key: String, _ fingerprint: [UInt8], now: Timestamp) async throws
                -> JobCreation
            {
                try await store.createJob(
                    fixture.job(number, of: api, idempotency: .init(key: key, fingerprint: fingerprint)),
                    batches: fixture.batches(0..<2, of: number), now: now)
            }
            guard case .created(let first) = try await create(1, "k", [1], now: fixture.at(0)) else {
                Issue.record("not created")
                return
            }
            #expect(try await create(2, "k", [1], now: fixture.at(1)) == .existing(first))
            #expect(try await create(2, "k", [2], now: fixture.at(1)) == .idempotencyMismatch)
            #expect(try await fixture.read(job: 2) == nil)
            #expect(try await fixture.claim(job: 2, 10).isEmpty)
            guard case .created = try await create(3, "l", [1], now: fixture.at(1)) else {
                Issue.record("another key")
                return
            }
            let other = fixture.job(4, of: fixture.batchAPI("other"), idempotency: .init(key: "k", fingerprint: [9]))
            guard
                case .created = try await store.createJob(
                    other, batches: fixture.batches(0..<1, of: 4), now: fixture.at(1))
            else {
                Issue.record("another API")
                return
            }
            // Many at once: one is created.
            let results = try await withThrowingTaskGroup(of: JobCreation.self) { group in
                for number in 10..<20 { group.addTask { try await create(number, "m", [1], now: fixture.at(1)) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let created = results.compactMap { if case .created(let job) = $0 { job.id } else { nil } }
            let existing = results.compactMap { if case .existing(let job) = $0 { job.id } else { nil } }
            #expect(created.count == 1 && existing == Array(repeating: created[0], count: 9))
            // After the retention the key is free, whether or not the upkeep ran.
            try await fixture.end(job: 1, now: fixture.at(2))
            guard case .created(let again) = try await create(5, "k", [2], now: fixture.at(62)) else {
                Issue.record("the key is not free")
                return
            }
            #expect(again.id == fixture.id(5))
            _ = try await store.maintain(now: fixture.at(63))
            #expect(try await create(6, "k", [2], now: fixture.at(63)) == .existing(again))
        },
        StoreCheck("J9: only so many jobs are pending; one more is refused, and nothing of it is stored") { fixture in
            let store = fixture.store
            let api = fixture.batchAPI(jobs: .init(maxQueuedJobs: 2))
            try await fixture.deployJobs(api)
            for number in 1...2 { try await fixture.create(number, batches: 1, of: api) }
            func create(_ number: Int) async throws -> JobCreation {
                try await store.stage(
                    fixture.batches(0..<1, of: number), of: fixture.job(number, of: api), now: fixture.at(0))
                return try await store.createJob(
                    fixture.job(number, of: api), batches: fixture.batches(1..<2, of: number), now: fixture.at(0))
            }
            #expect(try await create(3) == .queueFull)
            #expect(try await fixture.read(job: 3) == nil)
            #expect(try await store.jobCounts(of: "sum") == (2, 0))
            // A running job is not pending, nor is one that is being stopped.
            _ = try await fixture.claimBatch(job: 1)
            #expect(try await store.jobCounts(of: "sum") == (1, 1))
            guard case .created = try await create(3) else {
                Issue.record("there was a place")
                return
            }
            #expect(try await create(4) == .queueFull)
            _ = try await store.stop(fixture.id(2), .init(status: .stopped, reason: "r"), now: fixture.at(0))
            #expect(try await store.jobCounts(of: "sum") == (1, 2))
            guard case .created = try await create(4) else {
                Issue.record("there was a place")
                return
            }
            #expect(try await store.jobCounts(of: "unknown") == (0, 0))
        },
        StoreCheck("J14: a planned time leads to one job; what is run by hand is not planned") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            func create(_ number: Int, _ name: String, _ second: Int, isManual: Bool = false) async throws
                -> JobCreation
            {
                let time = ScheduledTime(name: name, plannedAt: fixture.at(second), isManual: isManual)
                return try await store.createJob(
                    fixture.job(number, schedule: time), batches: fixture.batches(0..<1, of: number), now: fixture.at(0)
                )
            }
            guard case .created(let first) = try await create(1, "a", 60) else {
                Issue.record("not created")
                return
            }
            #expect(first.submission.schedule == ScheduledTime(name: "a", plannedAt: fixture.at(60)))
            #expect(try await create(2, "a", 60) == .existing(first))
            for (number, name, second, isManual) in [
                (3, "a", 61, false), (4, "b", 60, false), (5, "a", 60, true), (6, "a", 60, true),
            ] {
                guard case .created = try await create(number, name, second, isManual: isManual) else {
                    Issue.record("\(number) is not created")
                    continue
                }
            }
            #expect(try await store.openJobs().map(\.id) == [1, 3, 4, 5, 6].map(fixture.id))
        },
        StoreCheck("J6, B4: batches are appended together with the cursor until the input is complete") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await fixture.create(1, batches: 2, isInputComplete: false)
            var hints = HintReader(store.changes())
            let job = try #require(
                try await store.append(
                    fixture.batches(2..<4, of: 1), to: fixture.id(1), cursor: [1], isLast: false, now: fixture.at(1)))
            try await hints.expect { $0.queued.contains(fixture.queue(1)) && $0.jobs.contains(fixture.id(1)) }
            #expect(job.counts.batches == 4 && job.cursor == [1] && !job.isInputComplete)
            #expect(try await fixture.read(job: 1) == job)
            #expect(try await fixture.claim(job: 1, 10).map(\.batch?.index) == [0, 1, 2, 3])
            await fixture.expectError(.conflict) {
                _ = try await store.append(
                    fixture.batches(3..<5, of: 1), to: fixture.id(1), cursor: [9], isLast: true, now: fixture.at(1))
            }
            #expect(try await fixture.read(job: 1)?.cursor == [1])
            let last = try await store.append(
                fixture.batches(4..<5, of: 1), to: fixture.id(1), cursor: [2], isLast: true, now: fixture.at(1))
            #expect(last?.isInputComplete == true && last?.counts.batches == 5)
            let late = try await store.append(
                fixture.batches(5..<6, of: 1), to: fixture.id(1), cursor: [3], isLast: true, now: fixture.at(1))
            #expect(late == nil)
            #expect(try await fixture.read(job: 1)?.cursor == [2])
            try await fixture.expectConsistent(job: 1)
            // Not to a job that is being stopped, nor to none.
            try await fixture.create(2, batches: 0, isInputComplete: false)
            _ = try await store.stop(fixture.id(2), .init(status: .stopped, reason: "r"), now: fixture.at(1))
            for number in 2...3 {
                let none = try await store.append(
                    fixture.batches(0..<1, of: number), to: fixture.id(number), cursor: [3], isLast: true,
                    now: fixture.at(1))
                #expect(none == nil)
            }
            #expect(try await fixture.read(job: 2)?.counts == JobCounts())
        },
    ]

    static let jobStaging = [
        StoreCheck("B2: staged batches are not seen before their job is created, and then come first") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            try await store.stage(fixture.batches(0..<3, of: 1), of: fixture.job(1), now: fixture.at(0))
            try await store.stage(fixture.batches(3..<5, of: 1), of: fixture.job(1), now: fixture.at(0))
            #expect(try await fixture.claim(job: 1, 10).isEmpty)
            #expect(try await fixture.read(job: 1) == nil)
            #expect(try await fixture.lines(job: 1).isEmpty)
            #expect(try await fixture.batches(job: 1, Set(StoredBatch.State.allCases)).isEmpty)
            #expect(try await store.openJobs().isEmpty)
            #expect(try await store.jobs(of: "sum", filter: .init(), now: fixture.at(0)).isEmpty)
            #expect(
                try await store.stop(fixture.id(1), .init(status: .stopped, reason: "r"), now: fixture.at(0)) == nil)
            #expect(try await store.change(fixture.id(1), to: .running, reason: nil, now: fixture.at(0)) == nil)
            let result = try await store.createJob(
                fixture.job(1), batches: fixture.batches(5..<6, of: 1), now: fixture.at(1))
            guard case .created(let job) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(job.counts.batches == 6 && job.counts.openBatches == 6 && job.counts.items == 6)
            #expect(try await fixture.claim(job: 1, 10).map(\.batch?.index) == [0, 1, 2, 3, 4, 5])
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B2: what was staged for a job that is not created is gone, with its bodies") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            let body = try await fixture.body(StoreFixture.bytes(100_000))
            try await store.stage(fixture.batches(0..<1, of: 1, body: body), of: fixture.job(1), now: fixture.at(0))
            try await store.discardStaged(fixture.id(1))
            try await store.discardStaged(fixture.id(1))
            try await store.discardStaged(fixture.id(2))
            _ = try await store.maintain(now: fixture.at(20))
            #expect(try await fixture.isGone(body))
            // The same id again, as if nothing had been.
            try await fixture.create(1, batches: 1)
            try await store.discardStaged(fixture.id(1))
            #expect(try await fixture.claim(job: 1, 10).count == 1)
            try await fixture.expectConsistent(job: 1)
        },
        StoreCheck("B2: a job whose API went while its batches were staged is not created") { fixture in
            let store = fixture.store
            await fixture.expectError(.notFound) {
                try await store.stage(fixture.batches(0..<1, of: 1), of: fixture.job(1), now: fixture.at(0))
            }
            try await fixture.deploySum()
            try await store.stage(fixture.batches(0..<2, of: 1), of: fixture.job(1), now: fixture.at(0))
            _ = try await store.delete(api: "sum", keepRequests: false, now: fixture.at(1))
            try await fixture.deploySum()
            let result = try await store.createJob(
                fixture.job(1), batches: fixture.batches(2..<3, of: 1), now: fixture.at(2))
            #expect(result == .unknownAPI)
            #expect(try await fixture.read(job: 1) == nil)
            try await fixture.create(1, batches: 1)
            #expect(try await fixture.claim(job: 1, 10).map(\.batch?.index) == [0])
        },
        StoreCheck("B2: many batches are staged, and created at once, each once and in order") { fixture in
            let store = fixture.store
            try await fixture.deploySum()
            for start in stride(from: 0, to: 4000, by: 1000) {
                try await store.stage(
                    fixture.batches(start..<start + 1000, of: 1), of: fixture.job(1), now: fixture.at(0))
            }
            _ = try await store.createJob(
                fixture.job(1), batches: fixture.batches(4000..<9000, of: 1), now: fixture.at(0))
            #expect(try await fixture.read(job: 1)?.counts.openBatches == 9000)
            var seen: [Int64] = []
            while seen.count < 9000 {
                let claimed = try await fixture.claim(job: 1, 1000)
                try #require(!claimed.isEmpty)
                for request in claimed {
                    let place = try #require(request.batch)
                    seen.append(place.index)
                    #expect(request.payload == StoreFixture.items(place.items))
                }
            }
            #expect(seen == (0..<9000).map(Int64.init))
        },
    ]
}
