package import Core
import Support

extension MemoryStore {
    // MARK: Submission

    package func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws {
        guard deployed(job.api) != nil else { throw Job.unknownAPI }
        var queue = try stagedQueue(of: job)
        try add(batches, to: &queue, now: now)
        apis[job.queue] = queue
    }

    package func discardStaged(_ job: RequestID) async throws {
        guard apis[Job.queue(of: job)]?.job?.isStaged == true else { return }
        eraseQueue(Job.queue(of: job))
    }

    package func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        var result: JobCreation?
        if deployed(job.api) == nil || apis[job.queue]?.job?.isVoid == true { result = .unknownAPI }
        if let refusal = result ?? collision(of: job, now: now) {
            try await discardStaged(job.id)
            return refusal
        }
        var queue = try stagedQueue(of: job)
        var created = job
        let counts = queue.job?.job.counts ?? JobCounts()
        created.added(batches: counts.batches, items: counts.items)
        queue.job?.job = created
        queue.job?.isStaged = false
        try add(batches, to: &queue, now: now)
        if case .batch = job.submission.work, job.isInputComplete { queue.job?.job.completeInput(now: now) }
        apis[job.queue] = queue
        guard let stored = queue.job?.job else { throw Job.unknownAPI }
        hints.publish(StoreChanges(queued: stored.counts.openBatches > 0 ? [job.queue] : [], jobs: [job.id]))
        return .created(stored)
    }

    /// Why a job cannot be created, or the job that is there in its place.
    private func collision(of job: Job, now: Timestamp) -> JobCreation? {
        let others = jobs(of: job.api)
        if let key = job.submission.idempotency {
            let used = others.first { $0.submission.idempotency?.key == key.key && !$0.isPurged(at: now) }
            if let used {
                return used.submission.idempotency == key ? .existing(used) : .idempotencyMismatch
            }
        }
        if let time = job.submission.schedule, !time.isManual,
            let used = others.first(where: { $0.submission.schedule == time })
        {
            return .existing(used)
        }
        if let limit = job.version.specification.jobs?.maxQueuedJobs, others.count(where: \.isPending) >= limit {
            return .queueFull
        }
        return nil
    }

    package func append(
        _ batches: [Batch], to id: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp
    ) async throws -> Job? {
        guard var queue = jobQueue(id), var job = queue.job?.job, job.acceptsInput else { return nil }
        job.cursor = cursor
        queue.job?.job = job
        try add(batches, to: &queue, now: now)
        if isLast { queue.job?.job.completeInput(now: now) }
        callWhenDue(&queue, now: now)
        return publish(queue, queued: !batches.isEmpty || queue.job?.job.completion == .running)
    }

    // MARK: State

    package func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? {
        guard let stored = visible(id, now: now), stored.owner == api else { return nil }
        return stored.job
    }

    package func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] {
        guard deployed(api) != nil else { return [] }
        let limit = min(max(filter.limit, 0), Limits.listPage)
        let matching = jobs(of: api).filter { job in
            !job.isPurged(at: now) && filter.statuses?.contains(job.status) ?? true
                && filter.before.map { job.id < $0 } ?? true
        }
        return Array(matching.sorted { $0.id > $1.id }.prefix(limit))
    }

    package func openJobs() async throws -> [Job] {
        apis.values.compactMap(\.job).filter { !$0.isStaged && $0.job.status.isOpen }.map(\.job)
            .sorted { $0.id < $1.id }
    }

    package func jobCounts(of api: String) async throws -> (pending: Int, active: Int) {
        guard deployed(api) != nil else { return (0, 0) }
        let open = jobs(of: api).filter(\.status.isOpen)
        let pending = open.count(where: \.isPending)
        return (pending, open.count - pending)
    }

    package func change(_ id: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        guard var queue = jobQueue(id), queue.job?.job.change(to: status, reason: reason, now: now) == true else {
            return nil
        }
        return publish(queue)
    }

    package func stop(_ id: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? {
        guard var queue = jobQueue(id), queue.job?.job.stop(by: stop) == true else { return nil }
        return publish(queue)
    }

    package func cancelRest(of id: RequestID, limit: Int, now: Timestamp) async throws -> Int {
        guard var queue = jobQueue(id), let job = queue.job?.job else { return 0 }
        guard job.stop != nil else { return job.openRequests }
        let open = queue.requests.values.filter { !$0.status.isEnded }.sorted { $0.id < $1.id }
        var ended: Set<RequestID> = []
        for request in open.prefix(max(0, limit)) {
            if request.status == .inProgress { ended.insert(request.id) }
            guard let place = request.place, !place.isCompletion else {
                queue.job?.job.cancelledCompletion()
                erase(request.id, of: &queue)
                continue
            }
            queue.job?.job.cancelled(items: Int64(place.items.count), isDelivered: request.status == .inProgress)
            end(request.id, of: &queue, as: .cancelled, now: now)
        }
        hints.publish(StoreChanges(ended: ended))
        return publish(queue)?.openRequests ?? 0
    }

    // MARK: Deliveries

    /// Counts the batches that a claim takes.
    func beganDelivery(of places: [BatchPlace], from name: String, now: Timestamp) {
        guard !places.isEmpty, var job = apis[name]?.job?.job else { return }
        let batches = places.filter { !$0.isCompletion }
        let status = job.status
        job.began(
            batches: Int64(batches.count), items: Int64(batches.reduce(0) { $0 + $1.items.count }), now: now)
        apis[name]?.job?.job = job
        if status != job.status { hints.publish(StoreChanges(jobs: [job.id])) }
    }

    /// Records the end of a delivery from the queue of a job; the lease is valid.
    func finish(_ lease: Lease, at place: BatchPlace, _ outcome: Outcome, now: Timestamp) throws -> LeaseResult {
        guard var queue = apis[lease.api], let end = JobDeliveryEnd(outcome, of: place) else { return .stale }
        var isQueued = false
        switch end {
        case .batch(let outcome):
            guard outcome.fits(place.items) else { throw BatchOutcome.misfit }
            queue.requests[lease.id]?.attempts += 1
            isQueued = record(outcome, of: lease.id, at: place, &queue, now: now)
            callWhenDue(&queue, now: now)
            isQueued = isQueued || queue.job?.job.completion == .running
        case .completion(let completion):
            erase(lease.id, of: &queue)
            queue.job?.job.ended(by: completion, now: now)
        case .retriedCompletion(let notBefore):
            queue.requests[lease.id]?.attempts += 1
            queue.requests[lease.id]?.notBefore = notBefore
            requeue(lease.id, of: &queue, by: .retryAttempt)
            isQueued = true
        case .interrupted:
            queue.requests[lease.id]?.interruptions += 1
            requeue(lease.id, of: &queue, by: .giveBack)
            isQueued = true
        }
        if queue.requests[lease.id]?.status.isEnded ?? true { hints.publish(StoreChanges(ended: [lease.id])) }
        publish(queue, queued: isQueued)
        return .applied
    }

    /// - Returns: whether it is in the queue again.
    private func record(
        _ outcome: BatchOutcome, of id: RequestID, at place: BatchPlace, _ queue: inout MemoryAPI, now: Timestamp
    ) -> Bool {
        guard let request = queue.requests[id], var job = queue.job?.job else { return false }
        let lines = job.ended(outcome, items: Int64(place.items.count), attempts: request.attempts)
        queue.job?.job = job
        queue.job?.lines += lines
        if let remainder = outcome.remainder {
            if let payload = request.payload { bodies.erase(payload) }
            queue.requests[id]?.payload = remainder.body
            queue.requests[id]?.place?.items = remainder.items
        }
        switch outcome.next {
        case .retry(_, let notBefore):
            queue.requests[id]?.notBefore = notBefore
            requeue(id, of: &queue, by: .retryAttempt)
            return true
        case .ended:
            guard let failure = lines.lazy.compactMap(\.line.failure).first else {
                erase(id, of: &queue)
                return false
            }
            if outcome.remainder == nil, let failed = outcome.unsucceeded(of: place.items), failed != place.items {
                // The body has items that succeeded.
                queue.requests[id]?.place?.items = failed
                erasePayload(id, of: &queue)
            }
            queue.requests[id]?.failure = failure
            end(id, of: &queue, as: .failed, now: now)
            return false
        }
    }

    /// Ends a batch without success: its items are kept for a while.
    private func end(_ id: RequestID, of queue: inout MemoryAPI, as status: RequestStatus, now: Timestamp) {
        queue.requests[id]?.status = status
        queue.requests[id]?.endedAt = now
        queue.requests[id]?.leaseEnd = nil
        queue.requests[id]?.holder = nil
        queue.requests[id]?.notBefore = nil
        let keepFailed = queue.policy.keepFailed
        if keepFailed > .zero, queue.requests[id]?.payload != nil {
            queue.requests[id]?.keepUntil = now + keepFailed
        } else {
            erasePayload(id, of: &queue)
        }
    }

    /// Makes the request of the call after the last batch when it is due.
    private func callWhenDue(_ queue: inout MemoryAPI, now: Timestamp) {
        guard let job = queue.job?.job, job.isCompletionDue else { return }
        queue.job?.job.completion = .running
        let call = Batch(index: Batch.completionIndex, of: job.id, items: ItemSet([]), body: .empty)
        queue.requests[call.id] = MemoryRequest(call, now: now)
    }

    // MARK: Results

    package func lines(of id: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws
        -> [RecordedLine]
    {
        guard let stored = visible(id, now: now) else { return [] }
        return Array(stored.lines.dropFirst(Int(clamping: max(0, number))).prefix(min(max(limit, 0), Limits.listPage)))
    }

    package func batches(
        of id: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] {
        guard visible(id, now: now) != nil, let queue = apis[Job.queue(of: id)] else { return [] }
        let stored = queue.requests.values.compactMap { request -> StoredBatch? in
            guard let place = request.place, !place.isCompletion, place.index > index ?? -1,
                let state = StoredBatch.State(request.status), states.contains(state)
            else { return nil }
            let isKept = request.payload != nil && request.keepUntil.map { now < $0 } ?? true
            return StoredBatch(
                batch: Batch(
                    index: place.index, of: id, items: place.items,
                    body: isKept ? request.payload ?? .empty : .empty),
                state: state, isKept: isKept, attempts: request.attempts, failure: request.failure)
        }
        return Array(stored.sorted { $0.batch.index < $1.batch.index }.prefix(min(max(limit, 0), Limits.listPage)))
    }

    // MARK: Runs

    package func save(_ run: JobRun, of id: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        guard var queue = createdQueue(id), !(queue.job?.job.isPurged(at: now) ?? true) else { return false }
        let last = queue.job?.runs.lastIndex { $0.worker == run.worker && $0.attempt == run.attempt }
        if let last, let old = queue.job?.runs[last] {
            switch old.replacement(by: run) {
            case .refused: return false
            case .same: return true
            case .change: queue.job?.runs[last] = run
            case .next: queue.job?.runs.append(run)
            }
        } else {
            queue.job?.runs.append(run)
        }
        add(files, to: &queue)
        publish(queue)
        return true
    }

    package func runs(of id: RequestID, limit: Int) async throws -> [JobRun] {
        Array((createdQueue(id)?.job?.runs ?? []).reversed().prefix(max(0, limit)))
    }

    package func add(_ files: [JobFile], to id: RequestID, now: Timestamp) async throws {
        guard !files.isEmpty, var queue = createdQueue(id) else { return files.forEach(eraseBody) }
        add(files, to: &queue)
        publish(queue)
    }

    package func files(of id: RequestID, kind: JobFile.Kind) async throws -> [JobFile] {
        (createdQueue(id)?.job?.files ?? []).filter { $0.kind == kind }.sorted(by: JobFile.isOrderedBefore)
    }

    private func add(_ files: [JobFile], to queue: inout MemoryAPI) {
        guard var present = queue.job?.files else { return }
        queue.job?.files = []
        var indices = Dictionary(uniqueKeysWithValues: present.enumerated().map { ($1.place, $0) })
        for file in files {
            if let index = indices[file.place] {
                if present[index].content != file.content { eraseBody(present[index]) }
                present[index] = file
            } else {
                indices[file.place] = present.count
                present.append(file)
            }
        }
        queue.job?.files = present
    }

    private func eraseBody(_ file: JobFile) {
        if let body = file.body { bodies.erase(body) }
    }

    // MARK: Schedules

    package func schedules(of api: String) async throws -> [String: ScheduleState] { deployed(api)?.schedules ?? [:] }

    package func save(_ state: ScheduleState, of schedule: String, api: String) async throws {
        guard deployed(api) != nil else { return }
        apis[api]?.schedules[schedule] = state
    }

    package func removeSchedule(_ schedule: String, of api: String) async throws {
        guard deployed(api) != nil else { return }
        apis[api]?.schedules[schedule] = nil
    }

    // MARK: The end of an API, and of jobs

    /// Stops the open jobs of an API that is deleted with its requests kept.
    func stopJobs(of api: String, _ changes: inout StoreChanges) {
        for (name, queue) in apis where queue.job?.owner == api && queue.job?.isStaged == false {
            guard var job = queue.job?.job, job.stop(by: .apiDeleted) else { continue }
            apis[name]?.job?.job = job
            changes.jobs.insert(job.id)
        }
    }

    /// Erases the jobs of an API that is deleted.
    func eraseJobs(of api: String, _ changes: inout StoreChanges) {
        for (name, queue) in apis where queue.job?.owner == api {
            guard let stored = queue.job else { continue }
            changes.ended.formUnion(queue.requests.values.filter { $0.status == .inProgress }.map(\.id))
            eraseQueue(name)
            if stored.isStaged {
                var void = MemoryJob(job: stored.job, owner: api)
                void.isVoid = true
                apis[name] = MemoryAPI(isDeployed: true, job: void)
            } else {
                changes.jobs.insert(stored.job.id)
            }
        }
    }

    func purgeJobs(at now: Timestamp) -> Int {
        let old = apis.values.compactMap(\.job).filter { !$0.isStaged && $0.job.isPurged(at: now) }.map(\.job)
        for job in old { eraseQueue(job.queue) }
        if !old.isEmpty { hints.publish(StoreChanges(jobs: Set(old.map(\.id)))) }
        return old.count
    }

    /// Erases a job with everything that was recorded of it.
    private func eraseQueue(_ name: String) {
        guard var queue = apis.removeValue(forKey: name) else { return }
        for id in Array(queue.requests.keys) { erase(id, of: &queue) }
        for line in queue.job?.lines ?? [] {
            if case .succeeded(let reply?, _) = line.line.verdict { bodies.erase(reply) }
        }
        for file in queue.job?.files ?? [] { eraseBody(file) }
    }

    // MARK: Tools

    /// The queue of a created job.
    private func createdQueue(_ id: RequestID) -> MemoryAPI? {
        guard let queue = apis[Job.queue(of: id)], queue.job?.isStaged == false else { return nil }
        return queue
    }

    /// The queue of an open job.
    private func jobQueue(_ id: RequestID) -> MemoryAPI? {
        createdQueue(id).flatMap { $0.job?.job.status.isOpen == true ? $0 : nil }
    }

    /// A job that callers see.
    private func visible(_ id: RequestID, now: Timestamp) -> MemoryJob? {
        guard let stored = createdQueue(id)?.job, deployed(stored.owner) != nil, !stored.job.isPurged(at: now) else {
            return nil
        }
        return stored
    }

    private func jobs(of api: String) -> [Job] {
        apis.values.compactMap(\.job).filter { $0.owner == api && !$0.isStaged }.map(\.job)
    }

    private func stagedQueue(of job: Job) throws -> MemoryAPI {
        guard let present = apis[job.queue] else {
            return MemoryAPI(isDeployed: true, versions: [job.version], job: MemoryJob(job: job, owner: job.api))
        }
        guard present.job?.isStaged == true else { throw Job.idIsUsed }
        return present
    }

    private func add(_ batches: [Batch], to queue: inout MemoryAPI, now: Timestamp) throws {
        for batch in batches {
            guard queue.requests[batch.id] == nil else { throw Job.idIsUsed }
            queue.requests[batch.id] = MemoryRequest(batch, now: now)
        }
        queue.job?.job.added(
            batches: Int64(batches.count), items: Int64(batches.reduce(0) { $0 + $1.items.count }))
    }

    /// Saves the changed queue of a job.
    @discardableResult
    private func publish(_ queue: MemoryAPI, queued: Bool = false) -> Job? {
        guard let job = queue.job?.job else { return nil }
        apis[job.queue] = queue
        hints.publish(StoreChanges(queued: queued ? [job.queue] : [], jobs: [job.id]))
        return job
    }
}
