import Core
import Foundation
import TestSupport
import Testing
import Wire

@testable import Commands

@Suite("J13: jobs in tables and in the line of progress")
struct JobViewTests {
    private static func job<Document: Decodable>(_ text: String) throws -> Document {
        try JSONDecoder().decode(Document.self, from: Data(text.utf8))
    }

    private static func id(_ last: Int) -> String { "0190f3a2-5d1c-7aaa-8bbb-00000000000\(last)" }

    private static func status(_ last: Int, _ status: JobStatus) throws -> BatchJobStatusDocument {
        let document: JobDocument = try job(
            JobCommandTests.batch(status).replacing(/"job_id":"[^"]*"/, with: #""job_id":"\#(id(last))""#))
        guard case .batch(let batch) = document else { throw CancellationError() }
        return batch.jobStatus
    }

    /// An API as the operator lists it.
    private func api(_ name: String, _ kind: APIKind, jobs: [BatchJobStatusDocument] = []) throws -> APIDocument {
        var api: APIDocument = try Self.job(
            #"{"metadata":{"name":"\#(name)","kind":"\#(kind.rawValue)","id":"i","deployment_id":"d","last_updated":1799999988}}"#
        )
        api.endpoint = "http://x/\(name)"
        if kind == .batch { api.batchJobStatuses = jobs } else { api.taskJobStatuses = [] }
        return api
    }

    @Test("J13: get lists Batch and Task APIs first, with the running jobs and the newest one")
    func list() throws {
        let now = Timestamp(seconds: 1_796_005_800 + 184)
        var sum = try api(
            "sum", .batch,
            jobs: [try Self.status(2, .running), try Self.status(3, .pending), try Self.status(1, .stopped)])
        sum.metadata?.lastUpdated = now.seconds - 12
        var train = try api("train", .task)
        train.metadata?.lastUpdated = now.seconds - 12
        let rows = [sum, train].map { APITable.Row(environment: "local", api: $0) }
        #expect(
            APITable.render(rows, showsEnvironment: true, now: now, style: .plain) == """
                env     batch api   running jobs   latest job id                                               last update
                local   sum         1              \(Self.id(3)) (submitted 3m4s ago)   12s

                env     task api   running jobs   latest job id   last update
                local   train      0              -               12s
                """)
    }

    @Test("J13: get API lists its jobs as the original does, and the endpoint")
    func one() throws {
        let now = Timestamp(seconds: 1_796_005_800 + 12)
        let text = try APIView.render(
            try api("sum", .batch, jobs: [try Self.status(1, .running)]), environment: "local", showsEnvironment: true,
            verbose: false, now: now, style: .plain)
        #expect(
            text == """
                job id                                 status    total batches   start time               duration   succeeded   failed
                \(Self.id(1))   running   4               30 Nov 26 02:30:00 UTC   12s        8           1

                endpoint: http://x/sum
                """)
        let none = try APIView.render(
            try api("train", .task), environment: "local", showsEnvironment: true, verbose: false, now: now,
            style: .plain)
        #expect(none == "no submitted task jobs\n\nendpoint: http://x/train")
    }

    @Test("J13: the words of the statuses")
    func words() {
        #expect(
            JobStatus.allCases.map(\.words) == [
                "pending", "enqueuing", "running", "succeeded", "completed with failures", "failed while enqueuing",
                "worker error", "out of memory", "timed out", "stopped", "unexpected error",
            ])
    }

    @Test("O3: deploy --wait does not wait for pods of an API whose pods belong to jobs")
    func deploys() throws {
        var progress = DeployProgress()
        #expect(progress.look(at: try api("sum", .batch), now: Instant(seconds: 1)) == .ready)
    }

    // MARK: Progress

    private static func batch(items: Int, ended: Int, batches: Int, failed: Int = 0, more: String = "") throws
        -> JobDocument
    {
        let counts =
            #""item_counts":{"total":\#(items),"succeeded":\#(ended - failed),"failed":\#(failed),"cancelled":0,"#
            + #""in_queue":\#(items - ended),"in_progress":0}"#
        return try job(
            JobCommandTests.batch(.running, more).replacing(/"item_counts":\{[^}]*\}/, with: counts)
                .replacing(#""total_batch_count":4"#, with: #""total_batch_count":\#(batches)"#))
    }

    @Test("J15: the line of a Batch job, with the time that is left once it can be estimated")
    func batchProgress() throws {
        var progress = JobProgress()
        let start = Instant(seconds: 100)
        func line(_ ended: Int, after seconds: Int, failed: Int = 0, more: String = "") throws -> String {
            progress.line(
                try Self.batch(items: 1_000_000, ended: ended, batches: 62_500, failed: failed, more: more),
                now: start + .seconds(seconds))
        }
        #expect(try line(0, after: 0) == "0/62500 batches, 0 failed")
        #expect(try line(10_000, after: 1) == "625/62500 batches, 0 failed")
        #expect(try line(19_200, after: 2) == "1200/62500 batches, 0 failed", "a second is too short")
        #expect(try line(200_000, after: 41) == "12500/62500 batches, 0 failed, about 3m left")
        #expect(try line(900_000, after: 101, failed: 1) == "56250/62500 batches, 1 item failed, about 12s left")
        #expect(
            try line(900_000, after: 102, failed: 2, more: #","reason":"no capacity""#).hasSuffix("left (no capacity)"))
        #expect(try line(1_000_000, after: 110) == "62500/62500 batches, 0 failed")
        let pending = try Self.batch(items: 0, ended: 0, batches: 0, more: #","reason":"waits for its turn""#)
        guard case .batch(var document) = pending else {
            Issue.record("it is not a Batch job")
            return
        }
        #expect(progress.line(.batch(document), now: start) == "0/0 batches, 0 failed (waits for its turn)")
        document.jobStatus.isEnqueuing = true
        #expect(progress.line(.batch(document), now: start).contains("the input is being listed"))
        document.jobStatus.status = .pending
        #expect(progress.line(.batch(document), now: start) == "pending (waits for its turn)")
    }

    private static func task(_ workers: Int, _ attempts: [(Int, JobRun.Status)], _ more: String = "") throws
        -> JobDocument
    {
        let attempts = attempts.map {
            #"{"worker":\#($0.0),"attempt":1,"status":"\#($0.1.rawValue)","started_at":"2026-11-30T02:30:00Z"}"#
        }
        return try job(
            #"{"api_spec":{},"job_status":{"job_id":"\#(id(1))","api_name":"train","kind":"TaskAPI","workers":\#(workers),"#
                + #""config":null,"timeout":null,"api_id":"i","spec_id":"s","pod_id":"p","start_time":"2026-11-30T02:30:00Z","#
                + #""status":"running","created_time":"2026-11-30T02:30:00Z","attempts":[\#(attempts.joined(separator: ","))],"#
                + #""artifacts":0\#(more)},"endpoint":"http://x"}"#)
    }

    @Test("J15, T7: the line of a Task job has its workers and their progress")
    func taskProgress() throws {
        var progress = JobProgress()
        let now = Instant(seconds: 100)
        #expect(progress.line(try Self.task(1, [(0, .running)]), now: now) == "running")
        #expect(
            progress.line(try Self.task(3, [(0, .exit), (0, .running), (1, .succeeded)]), now: now)
                == "1 running, 1/3 succeeded")
        let one = #","progress":{"worker":0,"done":3,"total":10,"message":"epoch 3"}"#
        #expect(progress.line(try Self.task(1, [(0, .running)], one), now: now) == "running, 3/10, epoch 3")
        let later = #","progress":{"worker":0,"done":5,"total":10}"#
        #expect(
            progress.line(try Self.task(1, [(0, .running)], later), now: now + .seconds(10))
                == "running, 5/10, about 25s left")
        let several = #","progress":[{"worker":0,"done":1,"total":4},{"worker":1,"done":1,"total":4}]"#
        var other = JobProgress()
        #expect(
            other.line(try Self.task(2, [(0, .running), (1, .running)], several), now: now)
                == "2 running, 0/2 succeeded, 2/8")
        for strange in [#""x""#, "{}", #"{"done":"x","total":-1}"#, #"[{"done":1}]"#] {
            #expect(
                progress.line(try Self.task(1, [(0, .running)], #","progress":\#(strange)"#), now: now) == "running")
        }
    }

    @Test("J13: attempts of a Task job are shown with their exit codes")
    func taskView() throws {
        let text = try JobView.render(
            try Self.task(1, [(0, .exit)]), config: nil, now: Timestamp(seconds: 1_796_005_812), style: .plain)
        #expect(
            text.contains(
                """
                attempts
                worker   attempt   status   exit code   start time               duration
                0        1         exit     -           30 Nov 26 02:30:00 UTC   12s
                """))
    }

    @Test(
        "J14: planned times are shown with the abbreviation of their zone, or the offset",
        arguments: [
            ("2026-11-29T03:00:00+01:00", "Europe/Berlin", "29 Nov 03:00 CET"),
            ("2026-07-01T03:00:00+02:00", "Europe/Berlin", "01 Jul 03:00 CEST"),
            ("2026-07-01T03:00:05-04:00", "America/New_York", "01 Jul 03:00:05 EDT"),
            ("2026-07-01T03:00:00Z", "UTC", "01 Jul 03:00 UTC"),
            ("2026-07-01T03:00:00+13:00", "Pacific/Apia", "01 Jul 03:00 +13:00"),
            ("nonsense", "UTC", "nonsense"),
        ])
    func moments(text: String, zone: String, shown: String) {
        #expect(ScheduleView.moment(text, in: zone) == shown)
    }
}
