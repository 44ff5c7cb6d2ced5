package import Core

extension WrappedStore {
    package func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws {
        try await base.stage(batches, of: job, now: now)
    }
    package func discardStaged(_ job: RequestID) async throws {
        try await base.discardStaged(job)
    }
    package func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        try await base.createJob(job, batches: batches, now: now)
    }
    package func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp)
        async throws
        -> Job?
    {
        try await base.append(batches, to: job, cursor: cursor, isLast: isLast, now: now)
    }
    package func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? {
        try await base.job(id, api: api, now: now)
    }
    package func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] {
        try await base.jobs(of: api, filter: filter, now: now)
    }
    package func openJobs() async throws -> [Job] {
        try await base.openJobs()
    }
    package func jobCounts(of api: String) async throws -> (pending: Int, active: Int) {
        try await base.jobCounts(of: api)
    }
    package func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        try await base.change(job, to: status, reason: reason, now: now)
    }
    package func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? {
        try await base.stop(job, stop, now: now)
    }
    package func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int {
        try await base.cancelRest(of: job, limit: limit, now: now)
    }
    package func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws
        -> [RecordedLine]
    {
        try await base.lines(of: job, after: number, limit: limit, now: now)
    }
    package func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] {
        try await base.batches(of: job, in: states, after: index, limit: limit, now: now)
    }
    package func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        try await base.save(run, of: job, files: files, now: now)
    }
    package func runs(of job: RequestID, limit: Int) async throws -> [JobRun] {
        try await base.runs(of: job, limit: limit)
    }
    package func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws {
        try await base.add(files, to: job, now: now)
    }
    package func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile] {
        try await base.files(of: job, kind: kind)
    }
    package func schedules(of api: String) async throws -> [String: ScheduleState] {
        try await base.schedules(of: api)
    }
    package func save(_ state: ScheduleState, of schedule: String, api: String) async throws {
        try await base.save(state, of: schedule, api: api)
    }
    package func removeSchedule(_ schedule: String, of api: String) async throws {
        try await base.removeSchedule(schedule, of: api)
    }
}

/// A store of a test that has nothing to do with jobs.
package protocol StoreWithoutJobs: Store {}

extension StoreWithoutJobs {
    private var withoutJobs: PlatformError { PlatformError(.internal, "The store of this test has no jobs.") }

    package func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws { throw withoutJobs }
    package func discardStaged(_ job: RequestID) async throws { throw withoutJobs }
    package func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        throw withoutJobs
    }
    package func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp)
        async throws
        -> Job?
    { throw withoutJobs }
    package func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? { throw withoutJobs }
    package func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] { throw withoutJobs }
    package func openJobs() async throws -> [Job] { throw withoutJobs }
    package func jobCounts(of api: String) async throws -> (pending: Int, active: Int) { throw withoutJobs }
    package func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        throw withoutJobs
    }
    package func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? { throw withoutJobs }
    package func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int { throw withoutJobs }
    package func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws
        -> [RecordedLine]
    { throw withoutJobs }
    package func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] { throw withoutJobs }
    package func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        throw withoutJobs
    }
    package func runs(of job: RequestID, limit: Int) async throws -> [JobRun] { throw withoutJobs }
    package func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws { throw withoutJobs }
    package func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile] { throw withoutJobs }
    package func schedules(of api: String) async throws -> [String: ScheduleState] { throw withoutJobs }
    package func save(_ state: ScheduleState, of schedule: String, api: String) async throws { throw withoutJobs }
    package func removeSchedule(_ schedule: String, of api: String) async throws { throw withoutJobs }
}
