import Core

@testable import StoreMemory

/// The store of jobs under the same faults as that of requests.
extension SimulatedStore {
    func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws {
        try await perform("staging") { try await $0.stage(batches, of: job, now: now) }
    }

    func discardStaged(_ job: RequestID) async throws {
        try await perform("removal of what was staged") { try await $0.discardStaged(job) }
    }

    func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation {
        try await perform("creation of a job") { try await $0.createJob(job, batches: batches, now: now) }
    }

    func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp) async throws
        -> Job?
    {
        try await perform("append") { try await $0.append(batches, to: job, cursor: cursor, isLast: isLast, now: now) }
    }

    func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? {
        try await perform("read job") { try await $0.job(id, api: api, now: now) }
    }

    func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] {
        try await perform("list of jobs") { try await $0.jobs(of: api, filter: filter, now: now) }
    }

    func openJobs() async throws -> [Job] {
        try await perform("open jobs") { try await $0.openJobs() }
    }

    func jobCounts(of api: String) async throws -> (pending: Int, active: Int) {
        try await perform("counts of jobs") { try await $0.jobCounts(of: api) }
    }

    func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        try await perform("change of a job") { try await $0.change(job, to: status, reason: reason, now: now) }
    }

    func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? {
        try await perform("stop of a job") { try await $0.stop(job, stop, now: now) }
    }

    func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int {
        try await perform("cancelling of batches") { try await $0.cancelRest(of: job, limit: limit, now: now) }
    }

    func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws -> [RecordedLine] {
        try await perform("read lines") { try await $0.lines(of: job, after: number, limit: limit, now: now) }
    }

    func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] {
        try await perform("read batches") {
            try await $0.batches(of: job, in: states, after: index, limit: limit, now: now)
        }
    }

    func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        try await perform("save run") { try await $0.save(run, of: job, files: files, now: now) }
    }

    func runs(of job: RequestID, limit: Int) async throws -> [JobRun] {
        try await perform("read runs") { try await $0.runs(of: job, limit: limit) }
    }

    func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws {
        try await perform("add files") { try await $0.add(files, to: job, now: now) }
    }

    func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile] {
        try await perform("list files") { try await $0.files(of: job, kind: kind) }
    }

    func schedules(of api: String) async throws -> [String: ScheduleState] {
        try await perform("read schedules") { try await $0.schedules(of: api) }
    }

    func save(_ state: ScheduleState, of schedule: String, api: String) async throws {
        try await perform("save schedule") { try await $0.save(state, of: schedule, api: api) }
    }

    func removeSchedule(_ schedule: String, of api: String) async throws {
        try await perform("remove schedule") { try await $0.removeSchedule(schedule, of: api) }
    }
}
