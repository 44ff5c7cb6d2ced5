import Core
import Foundation
import GRDB
import Records
import StoreConformance
import TestSupport
import Testing

@testable import StoreSQLite

/// What the conformance suite cannot see of jobs: bytes on the disk, rows, and files of earlier versions.
@Suite("StoreSQLite: jobs", .timeLimit(.minutes(5)))
struct SQLiteJobTests {
    static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/jobs1")

    private func api(retention: Duration = .seconds(100), keepFailed: Duration = .seconds(50)) -> DeployedAPI {
        var api = sampleAPI(policy: .init())
        api.specification.kind = .batch(
            BatchSpecification(
                pod: .init(containers: [.init(name: "main", image: "i")]), jobs: .init(retention: retention),
                keepFailed: keepFailed))
        return api
    }

    private func create(
        _ number: Int, batches: Int, mark: String = "item", in store: SQLiteStore, of api: DeployedAPI
    ) async throws -> Job {
        let job = Job(
            id: sampleID(number), version: api,
            submission: JobSubmission(
                workers: 1, config: Array(#"{"m": "<config-\#(number)-mark>"}"#.utf8),
                work: .batch(.init(batchSize: 1))),
            createdAt: sampleStart)
        let batches = (0..<batches).map { index in
            Batch(
                index: Int64(index), of: job.id, items: ItemSet(Int64(index)..<Int64(index) + 1),
                body: .inline(Array("[\"<\(mark)-\(number * 1000 + index)-mark>\"]".utf8)))
        }
        guard case .created(let created) = try await store.createJob(job, batches: batches, now: sampleStart) else {
            throw PlatformError(.internal, "not created")
        }
        return created
    }

    private func marks(_ directory: URL) throws -> Set<String> {
        var marks: Set<String> = []
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) {
            let data = FileManager.default.contents(atPath: "\(directory.path)/\(name)") ?? Data()
            for match in String(decoding: data, as: UTF8.self).matches(of: /<([a-z]+)-[0-9]+-mark>/) {
                marks.insert(String(match.1))
            }
        }
        return marks
    }

    @Test("J11, C6: items, results, errors, files, reasons and the submission of a job leave the disk in their time")
    func erasure() async throws {
        try await withStore(durability: .normal) { store, directory in
            let api = api()
            try await store.deploy(api, now: sampleStart)
            let job = try await create(1, batches: 300, in: store, of: api)
            let claimed = try await store.claim(
                api: job.queue, limit: 300, visibility: .seconds(30), holder: "w", now: sampleStart)
            let ends = claimed.enumerated().map { place, request -> (lease: Lease, outcome: Outcome) in
                let items = request.batch?.items ?? ItemSet([])
                let failure = RequestFailure(.containerStatus, "<error-\(place)-mark>", body: "<body-\(place)-mark>")
                let reply = Body.inline(Array("\"<result-\(place)-mark>\"".utf8))
                let verdict: ResultLine.Verdict =
                    place % 3 == 0 ? .failed(failure) : .succeeded(reply: reply, isSplit: false)
                return (
                    request.lease,
                    .batch(BatchOutcome(lines: [.init(items: items, verdict: verdict)], next: .ended, duration: .zero))
                )
            }
            for result in await store.finish(ends, now: sampleStart) { #expect(try result.get() == .applied) }
            let file = JobFile(
                kind: .artifact, worker: 0, attempt: 1, path: "<path-1-mark>",
                content: .kept(.inline(Array("<file-1-mark>".utf8)), digest: []))
            try await store.add([file], to: job.id, now: sampleStart)
            let stop = JobStop(status: .stopped, reason: "<reason-1-mark>")
            #expect(try await store.stop(job.id, stop, now: sampleStart) != nil)
            #expect(try await store.cancelRest(of: job.id, limit: 1000, now: sampleStart) == 0)
            #expect(try await store.change(job.id, to: .stopped, reason: nil, now: sampleStart) != nil)
            _ = try await store.maintain(now: sampleStart + .seconds(20))
            let kept: Set = ["config", "result", "error", "body", "path", "file", "reason"]
            #expect(try marks(directory) == kept.union(["item"]), "items of failed batches are kept")
            _ = try await store.maintain(now: sampleStart + .seconds(50))
            #expect(try marks(directory) == kept)
            // Another job stays.
            _ = try await create(2, batches: 1, mark: "other", in: store, of: api)
            for second in [100, 115, 130] { _ = try await store.maintain(now: sampleStart + .seconds(second)) }
            #expect(try marks(directory) == ["config", "other"])
            let left = try await store.reading { db in
                try ["outcome", "job_file", "run"].map { try Int.fetchOne(db, sql: "SELECT count(*) FROM \($0)") ?? -1 }
            }
            #expect(left == [0, 0, 0])
        }
    }

    @Test(
        "J11, C6: a job with more lines than a caller waits for is erased in the background, between those of another")
    func erasureInBackground() async throws {
        let count: Int64 = 12_000
        try await withStore(durability: .full) { store, directory in
            let api = api()
            try await store.deploy(api, now: sampleStart)
            let old = try await create(1, batches: 1, in: store, of: api)
            let other = try await create(2, batches: 1, mark: "other", in: store, of: api)
            let jobs = store.committer.state.jobs
            let numbers = [try #require(jobs[old.id]).number, try #require(jobs[other.id]).number]
            try await store.committer.perform { transaction in
                let statements = try transaction.hotPath.batchStatements()
                for line in 1...count {
                    // Every tenth line is that of the job that stays.
                    let (job, mark) = line % 10 == 0 ? (numbers[1], "kept") : (numbers[0], "result")
                    let verdict = ResultLine.Verdict.succeeded(reply: .empty, isSplit: false)
                    let recorded = RecordedLine(
                        number: line, attempts: 1, line: ResultLine(items: ItemSet(line..<line + 1), verdict: verdict))
                    let answer = try transaction.append(
                        to: .answer, api: job, id: LogOwner.outcome(line: line).id, head: nil,
                        body: .inline(Array("<\(mark)-\(line)-mark>".utf8)))
                    try statements.insert(recorded, job: job, answer: answer)
                }
            }
            #expect(try await store.stop(old.id, JobStop(status: .stopped, reason: "r"), now: sampleStart) != nil)
            #expect(try await store.cancelRest(of: old.id, limit: 10, now: sampleStart) == 0)
            #expect(try await store.change(old.id, to: .stopped, reason: nil, now: sampleStart) != nil)
            _ = try await store.maintain(now: sampleStart + .seconds(100))
            try await expectEventually {
                try await store.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM outcome") } == Int(count / 10)
            }
            try await expectEventually {
                try await store.reading { try Int.fetchOne($0, sql: "SELECT count(*) FROM api WHERE name IS NULL") }
                    == 0
            }
            for second in [115, 130] { _ = try await store.maintain(now: sampleStart + .seconds(second)) }
            #expect(try marks(directory) == ["config", "other", "kept"])
            let lines = try await store.lines(of: other.id, after: 0, limit: 1000, now: sampleStart)
            #expect(lines.count == 1000 && lines.first?.number == 10)
        }
    }

    @Test("B9: a batch that succeeded has no row but its outcome, and a commit writes the counts of a job once")
    func rows() async throws {
        try await withStore(durability: .normal) { store, _ in
            let api = api()
            try await store.deploy(api, now: sampleStart)
            let job = try await create(1, batches: 50, in: store, of: api)
            let claimed = try await store.claim(
                api: job.queue, limit: 40, visibility: .seconds(30), holder: "w", now: sampleStart)
            let ends = claimed.map { request -> (lease: Lease, outcome: Outcome) in (request.lease, .completed(.empty))
            }
            let before = try await store.committer.perform { $0.db.totalChangesCount }
            _ = await store.finish(ends, now: sampleStart)
            let after = try await store.committer.perform { $0.db.totalChangesCount }
            // Answer, outcome, emptied payload and removed request of each batch, and one row of counts.
            #expect(after - before == 40 * 4 + 1)
            let found = try await store.reading { db in
                try [
                    "SELECT count(*) FROM request", "SELECT count(*) FROM payload WHERE bytes IS NOT NULL",
                    "SELECT count(*) FROM outcome", "SELECT open_batches FROM job", "SELECT items_succeeded FROM job",
                    "SELECT lines FROM job", "SELECT count(*) FROM outcome WHERE line BETWEEN 1 AND 40",
                ].map { try Int.fetchOne(db, sql: $0) }
            }
            #expect(found == [10, 11, 40, 10, 40, 40, 40])
        }
    }

    @Test("J6: rows that the compaction of the tables of bodies moves stay those of their job")
    func compaction() async throws {
        try await withStore(durability: .normal) { store, directory in
            let api = api()
            try await store.deploy(api, now: sampleStart)
            let job = try await create(1, batches: 3, in: store, of: api)
            let queue = job.queue
            let first = try #require(
                try await store.claim(api: queue, limit: 1, visibility: .seconds(30), holder: "w", now: sampleStart)
                    .first)
            #expect(
                try await store.finish(first.lease, outcome: .completed(.inline([49])), now: sampleStart) == .applied)
            let second = try #require(
                try await store.claim(api: queue, limit: 1, visibility: .seconds(30), holder: "w", now: sampleStart)
                    .first)
            let failure = RequestFailure(.timeout, "late")
            #expect(try await store.finish(second.lease, outcome: .failed(failure), now: sampleStart) == .applied)
            let run = JobRun(worker: 0, attempt: 1, pod: "p", status: .running, startedAt: sampleStart)
            let file = JobFile(
                kind: .artifact, worker: 0, attempt: 1, path: "a", content: .kept(.inline([7]), digest: [8]))
            #expect(try await store.save(run, of: job.id, files: [file], now: sampleStart))
            let stored = try await store.job(job.id, api: api.name, now: sampleStart)
            let lines = try await store.lines(of: job.id, after: 0, limit: 10, now: sampleStart)
            let batches = try await store.batches(
                of: job.id, in: [.failed, .inQueue], after: nil, limit: 10, now: sampleStart)
            let oldest = store.committer.state.answers.next
            // Enough emptied rows behind those of the job.
            for _ in 0..<6 {
                try await store.committer.perform { transaction in
                    for table in [BodyLog.Table.payload, .answer] {
                        for _ in 0..<10_000 {
                            let row = try transaction.append(
                                to: table, api: 1, id: sampleID(9), head: [1, 0], body: .empty)
                            try transaction.erase(.init(number: row, file: nil), in: table)
                        }
                    }
                }
            }
            _ = try await store.maintain(now: sampleStart)
            #expect(store.committer.state.answers.first > oldest, "the rows of the job moved")
            func check(_ store: SQLiteStore) async throws {
                #expect(try await store.job(job.id, api: api.name, now: sampleStart) == stored)
                #expect(try await store.lines(of: job.id, after: 0, limit: 10, now: sampleStart) == lines)
                let found = try await store.batches(
                    of: job.id, in: [.failed, .inQueue], after: nil, limit: 10, now: sampleStart)
                #expect(found == batches)
                #expect(try await store.runs(of: job.id, limit: 5) == [run])
                #expect(try await store.files(of: job.id, kind: .artifact) == [file])
            }
            #expect(lines.count == 2 && batches.count == 2)
            try await check(store)
            try await store.close()
            let again = try await openSample(directory)
            try await check(again)
            try await again.close()
        }
    }

    @Test("J6: records of the first release with jobs are read, and written back as they were")
    func goldenRecords() throws {
        func read<Record: Codable>(_ name: String, _ type: Record.Type) throws -> Record {
            let data = try Data(contentsOf: Self.golden.appending(path: name))
            let record = try JSONDecoder().decode(Record.self, from: data)
            #expect(
                String(decoding: try JSONCoding.encode(record), as: UTF8.self) == String(decoding: data, as: UTF8.self))
            return record
        }
        let batch = try read("batch.json", JobRecord.self)
        #expect(batch.submission.workers == 7 && batch.submission.timeout == .seconds(3600))
        #expect(batch.submission.schedule?.plannedAt == Timestamp(seconds: 1_800_000_060))
        let task = try read("task.json", JobRecord.self)
        #expect(
            task.submission.work == .task(.init(args: ["a"], env: ["A": "b"], retries: [123, 125], indexes: [0, 2])))
        var job = Job(
            id: sampleID(1), version: sampleAPI(policy: .init()), submission: task.submission, createdAt: task.createdAt
        )
        try read("state.json", JobStateRecord.self).restore(&job)
        #expect(job.stop == JobStop(status: .timedOut, reason: "late") && job.cursor == [1, 0, 255])
        #expect(job.completion == .failed(RequestFailure(.containerStatus, "m", statusCode: 500, body: "b")))
        #expect(try read("run.json", JobRunRecord.self).run().status == .oom)
        #expect(try read("file.json", JobFileRecord.self).content(.empty) == .kept(.empty, digest: [1, 2]))
        #expect(try read("schedule.json", ScheduleStateRecord.self).state().skips.count == 1)
    }

    @Test("B5: the place of a batch survives its head, and changed bytes are refused or read, never a crash")
    func heads() throws {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            let indexes = (0..<Int64(60)).filter { _ in Bool.random(using: &generator) }
            let place = BatchPlace(index: Int64.random(in: -1...1 << 40, using: &generator), items: ItemSet(indexes))
            var bytes = BatchHead(place).bytes
            #expect(try BatchHead(decoding: Data(bytes)).place == place)
            #expect(throws: RequestHead.Damaged.self) { try RequestHead(decoding: Data(bytes)) }
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            bytes.removeLast(Int.random(in: 0...3, using: &generator))
            if let head = try? BatchHead(decoding: Data(bytes)) {
                #expect(try BatchHead(decoding: Data(head.bytes)) == head)
            }
        }
    }
}
