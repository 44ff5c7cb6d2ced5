import Core
import TestSupport
import Testing

/// Short words for what the checks of jobs do.
extension StoreFixture {
    // MARK: APIs

    func batchAPI(
        _ name: String = "sum", version: Int = 1, jobs: JobPolicy = .init(), keepFailed: Duration = .seconds(86_400)
    ) -> DeployedAPI {
        var api = api(name, version: version)
        api.specification.kind = .batch(
            BatchSpecification(
                pod: .init(containers: [.init(name: "main", image: "i")]), jobs: jobs, keepFailed: keepFailed))
        return api
    }

    func taskAPI(_ name: String = "report", version: Int = 1, jobs: JobPolicy = .init()) -> DeployedAPI {
        var api = api(name, version: version)
        api.specification.kind = .task(
            TaskSpecification(pod: .init(containers: [.init(name: "main", image: "i")]), jobs: jobs))
        return api
    }

    func deployJobs(_ api: DeployedAPI) async throws { try await store.deploy(api, now: Self.start) }

    func deploySum(jobs: JobPolicy = .init(), keepFailed: Duration = .seconds(86_400)) async throws {
        try await deployJobs(batchAPI(jobs: jobs, keepFailed: keepFailed))
    }

    // MARK: Jobs

    /// The n-th job: a larger number is younger.
    func job(
        _ number: Int, of api: DeployedAPI? = nil, isInputComplete: Bool = true,
        idempotency: Submission.Idempotency? = nil, schedule: ScheduledTime? = nil
    ) -> Job {
        let api = api ?? batchAPI()
        var job = Job(
            id: id(number), version: api,
            submission: JobSubmission(
                workers: 2, schedule: schedule, idempotency: idempotency,
                work: api.specification.kind.name == .task ? .task(.init()) : .batch(.init(batchSize: 1))),
            createdAt: Self.start)
        job.isInputComplete = isInputComplete
        return job
    }

    /// Consecutive batches of a job, of equal size.
    func batches(_ indexes: Range<Int>, of number: Int, size: Int = 1, body: Body? = nil) -> [Batch] {
        indexes.map { index in
            let items = ItemSet(Int64(index * size)..<Int64((index + 1) * size))
            return Batch(index: Int64(index), of: id(number), items: items, body: body ?? Self.items(items))
        }
    }

    /// The body of these items.
    static func items(_ items: ItemSet) -> Body {
        .inline(Array("[\(items.indexes.map { "\"item \($0)\"" }.joined(separator: ","))]".utf8))
    }

    /// Creates a job that must be created.
    @discardableResult
    func create(
        _ number: Int, batches count: Int, size: Int = 1, of api: DeployedAPI? = nil, isInputComplete: Bool = true,
        now: Timestamp = start
    ) async throws -> Job {
        let job = job(number, of: api, isInputComplete: isInputComplete)
        let result = try await store.createJob(job, batches: batches(0..<count, of: number, size: size), now: now)
        guard case .created(let created) = result else {
            Issue.record("not created: \(result)")
            return job
        }
        return created
    }

    func queue(_ number: Int) -> String { Job.queue(of: id(number)) }

    func read(job number: Int, api: String = "sum", now: Timestamp = start) async throws -> Job? {
        try await store.job(id(number), api: api, now: now)
    }

    func claim(job number: Int, _ limit: Int = 1, holder: LeaseHolder = "worker", now: Timestamp = start) async throws
        -> [ClaimedRequest]
    {
        try await claim(limit, api: queue(number), holder: holder, now: now)
    }

    /// Claims the next batch, which must be one.
    func claimBatch(job number: Int, now: Timestamp = start) async throws -> (lease: Lease, place: BatchPlace) {
        let claimed = try #require(try await claim(job: number, now: now).first)
        return (claimed.lease, try #require(claimed.batch))
    }

    @discardableResult
    func finish(_ lease: Lease, _ outcome: Outcome, now: Timestamp = start) async throws -> LeaseResult {
        try await store.finish(lease, outcome: outcome, now: now)
    }

    // MARK: Outcomes

    static func reply(_ items: ItemSet) -> Body { .inline(Array("\"reply \(items.first ?? -1)\"".utf8)) }

    static func succeeded(_ items: ItemSet, isSplit: Bool = false) -> ResultLine {
        ResultLine(items: items, verdict: .succeeded(reply: reply(items), isSplit: isSplit))
    }

    static func failed(_ items: ItemSet) -> ResultLine { ResultLine(items: items, verdict: .failed(failure)) }

    /// A delivery of half a second that ended with these lines.
    static func ended(_ lines: [ResultLine], remainder: BatchOutcome.Remainder? = nil) -> Outcome {
        .batch(BatchOutcome(lines: lines, next: .ended, remainder: remainder, duration: .milliseconds(500)))
    }

    static func success(_ place: BatchPlace) -> Outcome { ended([succeeded(place.items)]) }

    static func retry(
        _ lines: [ResultLine] = [], remainder: BatchOutcome.Remainder? = nil, notBefore: Timestamp = start
    ) -> Outcome {
        .batch(
            BatchOutcome(
                lines: lines, next: .retry(failure, notBefore: notBefore), remainder: remainder,
                duration: .milliseconds(500)))
    }

    /// Delivers the next batches, and ends each as `outcome` says.
    func deliver(
        job number: Int, _ count: Int = 1, now: Timestamp = start, as outcome: (BatchPlace) -> Outcome = success
    ) async throws {
        for _ in 0..<count {
            let (lease, place) = try await claimBatch(job: number, now: now)
            #expect(try await finish(lease, outcome(place), now: now) == .applied)
        }
    }

    /// Answers the call after the last batch.
    func complete(job number: Int, _ completion: JobCompletion = .succeeded, now: Timestamp = start) async throws {
        let (lease, place) = try await claimBatch(job: number, now: now)
        #expect(place.isCompletion)
        #expect(try await finish(lease, .completion(completion), now: now) == .applied)
    }

    /// Brings a new job of the API `sum` to a status, with one batch.
    func bring(job number: Int, to status: JobStatus, now: Timestamp = start) async throws {
        let isListed = status == .enqueuing || status == .enqueueFailed
        try await create(number, batches: 1, isInputComplete: !isListed, now: now)
        switch status {
        case .pending: break
        case .enqueuing, .enqueueFailed:
            #expect(try await store.change(id(number), to: .enqueuing, reason: nil, now: now) != nil)
        case .running: _ = try await claimBatch(job: number, now: now)
        case .succeeded, .completedWithFailures:
            try await deliver(job: number, now: now) {
                status == .succeeded ? Self.success($0) : Self.ended([Self.failed($0.items)])
            }
            try await complete(job: number, now: now)
        case .workerError, .workerOOM, .timedOut, .stopped, .unexpectedError: break
        }
        guard try await read(job: number, now: now)?.status != status else { return }
        try await end(job: number, as: status, now: now)
    }

    /// Stops a job and everything of it.
    func end(job number: Int, as status: JobStatus = .stopped, now: Timestamp = start) async throws {
        let stop = JobStop(status: status, reason: "the reason of \(status.rawValue)")
        #expect(try await store.stop(id(number), stop, now: now) != nil)
        #expect(try await store.cancelRest(of: id(number), limit: 1000, now: now) == 0)
        #expect(try await store.change(id(number), to: status, reason: nil, now: now)?.status == status)
    }

    // MARK: Truth

    /// All lines of a job.
    func lines(job number: Int, now: Timestamp = start) async throws -> [RecordedLine] {
        var lines: [RecordedLine] = []
        while true {
            let page = try await store.lines(of: id(number), after: lines.last?.number ?? 0, limit: 7, now: now)
            guard !page.isEmpty else { return lines }
            lines += page
        }
    }

    func batches(job number: Int, _ states: Set<StoredBatch.State>, now: Timestamp = start) async throws
        -> [StoredBatch]
    {
        var batches: [StoredBatch] = []
        while true {
            let page = try await store.batches(
                of: id(number), in: states, after: batches.last?.batch.index, limit: 5, now: now)
            guard !page.isEmpty else { return batches }
            batches += page
        }
    }

    /// B8, B9: the lines are numbered without gaps, every item is in exactly one line or in one batch that has not
    /// ended with a line, and the counts say the same.
    func expectConsistent(job number: Int, api: String = "sum", now: Timestamp = start) async throws {
        let job = try #require(try await read(job: number, api: api, now: now))
        let counts = job.counts
        let lines = try await lines(job: number, now: now)
        #expect(lines.map(\.number) == lines.indices.map { Int64($0 + 1) })
        #expect(counts.lines == Int64(lines.count))
        var found: [Int64: Int] = [:]
        var items: [StoredBatch.State: Int64] = [:]
        for line in lines {
            for index in line.line.items.indexes { found[index, default: 0] += 1 }
        }
        for state in [StoredBatch.State.inQueue, .inProgress, .cancelled] {
            for stored in try await batches(job: number, [state], now: now) {
                items[state, default: 0] += Int64(stored.batch.items.count)
                for index in stored.batch.items.indexes { found[index, default: 0] += 1 }
            }
        }
        #expect(found.count == Int(counts.items))
        #expect(found.values.allSatisfy { $0 == 1 })
        func sum(_ isCounted: (ResultLine) -> Bool) -> Int64 {
            lines.filter { isCounted($0.line) }.reduce(0) { $0 + Int64($1.line.items.count) }
        }
        #expect(counts.itemsSucceeded == sum(\.isSuccess))
        #expect(counts.itemsFailed == sum { !$0.isSuccess })
        #expect(counts.itemsInQueue == items[.inQueue] ?? 0)
        #expect(counts.itemsInProgress == items[.inProgress] ?? 0)
        #expect(counts.itemsCancelled == items[.cancelled] ?? 0)
        #expect(counts.batchesInQueue == Int64(try await batches(job: number, [.inQueue], now: now).count))
        #expect(counts.deliveredBatches == Int64(try await batches(job: number, [.inProgress], now: now).count))
        let failed = try await batches(job: number, [.failed], now: now)
        #expect(counts.failedBatches == Int64(failed.count))
        #expect(counts.itemsFailed == failed.reduce(0) { $0 + Int64($1.batch.items.count) })
        if !job.status.isOpen { #expect(counts.openBatches == 0 && counts.deliveredBatches == 0) }
    }
}
