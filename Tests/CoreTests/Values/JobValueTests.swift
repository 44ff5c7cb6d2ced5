import Core
import Foundation
import Records
import TestSupport
import Testing

@Suite("Values of jobs")
struct JobValueTests {
    @Test("B8: items without others are the rest, and overlapping or foreign others are refused", arguments: 1...20)
    func subtracting(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let all = (0..<40).filter { _ in Int.random(in: 0..<3, using: &generator) > 0 }.map(Int64.init)
            var parts: [[Int64]] = [[], [], []]
            var rest: [Int64] = []
            for index in all {
                let part = Int.random(in: 0..<4, using: &generator)
                if part < 3 { parts[part].append(index) } else { rest.append(index) }
            }
            let set = ItemSet(all)
            let others = parts.map { ItemSet($0) }
            #expect(set.subtracting(others) == ItemSet(rest))
            #expect(Array(try #require(set.subtracting([])).indexes) == all)
            if let twice = parts.flatMap({ $0 }).randomElement(using: &generator) {
                #expect(set.subtracting(others + [ItemSet([twice])]) == nil)
            }
            if let missing = (0..<42).first(where: { !all.contains(Int64($0)) }) {
                #expect(set.subtracting([ItemSet([Int64(missing)])]) == nil)
            }
        }
    }

    @Test("B5: ids of batches ascend with the index, the call after the last one comes last, and queues name their job")
    func identifiers() {
        var generator = SeededGenerator(seed: 3)
        let job = RequestID(now: Timestamp(seconds: 1_800_000_000), using: &generator)
        let ids = [0, 1, 2, 255, 256, 1 << 20, 1 << 31, Batch.completionIndex].map { Batch.id(index: $0, of: job) }
        #expect(ids == ids.sorted() && Set(ids).count == ids.count)
        #expect(ids.allSatisfy { RequestID($0.description) == $0 && $0.description.dropFirst(14).first == "7" })
        #expect(Job.id(ofQueue: Job.queue(of: job)) == job)
        for name in ["b-", "sum", "\(job)", "c-\(job)", "b-\(job)0", "b-" + String(repeating: "x", count: 36)] {
            #expect(Job.id(ofQueue: name) == nil)
        }
    }

    /// Every field has another value than its default.
    static let job: Job = {
        var job = Job(
            id: RequestID(high: 0x0001_0002_0003_7004, low: 0x8000_0000_0000_0005), version: RecordTests.api,
            submission: JobSubmission(
                workers: 7, timeout: .seconds(3), config: Array(#"{"k": 1.0}"#.utf8), ignoredFields: ["a"],
                retryOf: RequestID(high: 0x7000, low: 0x8000_0000_0000_0006),
                schedule: .init(name: "s", plannedAt: Timestamp(microseconds: 9), isManual: true),
                idempotency: .init(key: "k", fingerprint: [0, 255]),
                work: .batch(
                    .init(
                        batchSize: 2, maxFailedBatches: 3,
                        files: .init(use: .contents, paths: ["p"], includes: ["i"], excludes: ["e"])))),
            createdAt: Timestamp(microseconds: 8))
        job.reason = "r"
        job.runningSince = Timestamp(microseconds: 10)
        job.endedAt = Timestamp(microseconds: 11)
        job.stop = JobStop(status: .timedOut, reason: "late")
        job.isInputComplete = false
        job.cursor = [1, 0, 255]
        job.completion = .failed(RequestFailure(.containerStatus, "m", statusCode: 500, body: "b"))
        return job
    }()
    static let run = JobRun(
        worker: 1, attempt: 2, pod: "p", status: .oom, exitCode: 137, reason: "r",
        startedAt: Timestamp(microseconds: 3),
        endedAt: Timestamp(microseconds: 4))
    static let schedule = ScheduleState(
        fingerprint: "f", lastPlanned: Timestamp(microseconds: 1), isSuspended: true,
        waiting: Timestamp(microseconds: 2), lastJob: RequestID(high: 0x7000, low: 0x8000_0000_0000_0007),
        skips: [.init(plannedAt: Timestamp(microseconds: 3), count: 4, reason: "r")])

    private func decoded<Record: Codable>(_ record: Record) throws -> Record {
        try JSONDecoder().decode(Record.self, from: JSONEncoder().encode(record))
    }

    @Test("J6: every field of a job, a run, a file and a schedule's state survives its record")
    func records() throws {
        let job = Self.job
        #expect(try decoded(JobRecord(job)).submission == job.submission)
        #expect(try decoded(JobRecord(job)).createdAt == job.createdAt)
        var task = job.submission
        task.work = .task(.init(args: ["a"], env: ["b": "c"], retries: Array("{}".utf8), indexes: [0, 2]))
        let taskJob = Job(id: job.id, version: job.version, submission: task, createdAt: job.createdAt)
        #expect(try decoded(JobRecord(taskJob)).submission == task)
        for completion in [nil, .running, .succeeded, .notHandled, job.completion] {
            var changed = job
            changed.completion = completion
            var restored = Job(id: job.id, version: job.version, submission: job.submission, createdAt: job.createdAt)
            try decoded(JobStateRecord(changed)).restore(&restored)
            restored.status = changed.status
            #expect(restored == changed)
        }
        #expect(try decoded(JobRunRecord(Self.run)).run() == Self.run)
        for content in [JobFile.Content.kept(.inline([1]), digest: [2]), .omitted(reason: "r")] {
            let file = JobFile(kind: .artifact, worker: 0, attempt: 1, path: "a/ü", content: content)
            let record = try decoded(JobFileRecord(file))
            #expect(try record.path == file.path && record.content(.inline([1])) == content)
        }
        #expect(try decoded(ScheduleStateRecord(Self.schedule)).state() == Self.schedule)
    }

    @Test("J6: no field of a job was added without its record")
    func fields() {
        func count(_ value: Any) -> Int { Mirror(reflecting: value).children.count }
        #expect(count(Self.job) == 10 && count(Self.job.submission) == 8)
        #expect(count(JobSubmission.BatchWork(batchSize: 1)) == 3 && count(JobSubmission.TaskWork()) == 4)
        #expect(count(JobSubmission.FileInput(use: .paths, paths: [])) == 4)
        #expect(count(JobCounts()) == 13, "each is a column of the table `job`, but for the two of deliveries")
        #expect(count(Self.run) == 8 && count(Self.schedule) == 6 && count(Self.schedule.skips[0]) == 3)
        #expect(count(JobStop(status: .stopped, reason: "")) == 2)
    }

    @Test("J6: records of a newer format are refused")
    func newerFormats() throws {
        let newer = Data(
            #"{"format":2,"worker":0,"attempt":1,"pod":"","status":"lost","startedAt":0,"fingerprint":"","lastPlanned":0,"path":""}"#
                .utf8)
        let decoder = JSONDecoder()
        #expect(throws: NewerFormat.self) { try decoder.decode(JobRecord.self, from: newer) }
        var job = Self.job
        #expect(throws: NewerFormat.self) { try decoder.decode(JobStateRecord.self, from: newer).restore(&job) }
        #expect(throws: NewerFormat.self) { try decoder.decode(JobRunRecord.self, from: newer).run() }
        #expect(throws: NewerFormat.self) { try decoder.decode(JobFileRecord.self, from: newer).content(nil) }
        #expect(throws: NewerFormat.self) { try decoder.decode(ScheduleStateRecord.self, from: newer).state() }
    }
}
