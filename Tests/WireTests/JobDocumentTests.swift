import Core
import Foundation
import Testing
import Wire

@Suite("J: the documents of jobs")
struct JobDocumentTests {
    private static let start = Timestamp(seconds: 1_796_005_800)

    private static func id(_ last: Int) throws -> RequestID {
        try #require(RequestID("0190f3a2-5d1c-7aaa-8bbb-00000000000\(last)"))
    }

    private static func job(_ submission: JobSubmission, id last: Int = 1) throws -> Job {
        let workload = Workload(
            pod: PodSpecification(containers: [ContainerSpecification(name: "c", image: "img")]))
        let version = DeployedAPI(
            specification: APISpecification(
                name: "sum", networking: .init(endpoint: "/sum"),
                kind: .async(AsyncSpecification(workload: workload))),
            id: "api-1", specID: "spec-1", podID: "pod-1", deploymentID: "d", initialDeployment: start,
            lastUpdated: start)
        return Job(id: try id(last), version: version, submission: submission, createdAt: start)
    }

    private static func batch(config: String? = nil) throws -> Job {
        try job(
            JobSubmission(
                workers: 2, config: config.map { Array($0.utf8) }, work: .batch(.init(batchSize: 4))))
    }

    private static func text(_ value: some Encodable, _ form: OrderedJSON.Form = .compact) throws -> String {
        String(decoding: try OrderedJSON.bytes(of: value, form), as: UTF8.self)
    }

    // MARK: Order and verbatim parts

    private struct Sample: Encodable {
        var zebra = 1
        var apple: [Double] = [1, 0.5]
        var mango = VerbatimJSON(Array(#"{"b": 1.0,"a":[ ]}"#.utf8))
        var none: Int?
        var nothing = OrNull<Int>(wrappedValue: nil)
        var names = ["b": "2", "a": "\u{1}\""]
        var empty: [Int] = []
        var members: JSONValue = ["z": 1, "a": [true, .null]]
    }

    @Test("Documents: members stand in the order of their encoding, and a verbatim part is not changed")
    func order() throws {
        #expect(
            try Self.text(Sample())
                == #"{"zebra":1,"apple":[1,0.5],"mango":{"b": 1.0,"a":[ ]},"nothing":null,"#
                + #""names":{"a":"\u0001\"","b":"2"},"empty":[],"members":{"a":[true,null],"z":1}}"#)
        #expect(
            try Self.text(Sample(), .sorted)
                == #"{"apple":[1,0.5],"empty":[],"mango":{"b": 1.0,"a":[ ]},"members":{"a":[true,null],"z":1},"#
                + #""names":{"a":"\u0001\"","b":"2"},"nothing":null,"zebra":1}"#)
    }

    @Test("J8: job.json is indented by 2 spaces, config in it verbatim")
    func indented() throws {
        let document = JobSubmissionDocument(try Self.batch(config: #"{"k":1.0}"#))
        #expect(
            try Self.text(document, .indented) == """
                {
                  "job_id": "0190f3a2-5d1c-7aaa-8bbb-000000000001",
                  "api_name": "sum",
                  "kind": "BatchAPI",
                  "workers": 2,
                  "sqs_dead_letter_queue": null,
                  "config": {"k":1.0},
                  "timeout": null,
                  "api_id": "api-1",
                  "sqs_url": "",
                  "start_time": "2026-11-30T02:30:00Z",
                  "created_time": "2026-11-30T02:30:00Z"
                }

                """)
    }

    @Test("Documents: a part in the store is a piece of its own; a number that JSON does not have is an error")
    func pieces() throws {
        struct Holder: Encodable {
            var before = 1
            var part = VerbatimJSON.text(.stored(key: "k", size: 9))
            var after = "x"
        }
        #expect(
            try OrderedJSON.pieces(of: Holder()) == [
                .inline(Array(#"{"before":1,"part":"#.utf8)), .stored(key: "k", size: 9),
                .inline(Array(#","after":"x"}"#.utf8)),
            ])
        #expect(throws: EncodingError.self) { try OrderedJSON.bytes(of: Holder()) }
        #expect(throws: EncodingError.self) { try OrderedJSON.bytes(of: ["x": Double.infinity]) }
        // Another encoder would change the text.
        #expect(throws: EncodingError.self) { try JSONEncoder().encode(Holder()) }
    }

    @Test("O2: sorted documents are those of the encoder that was used before")
    func sorted() throws {
        let document = RequestDocument(
            RequestRecord(id: try Self.id(1), api: "a", status: .inQueue, attempts: 1, submittedAt: Self.start))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        for value in [
            try encoder.encode(document), try encoder.encode(SpecDocument(try Self.batch().version, submitted: .null)),
            try encoder.encode(
                JSONValue.array([.number(0.1), .number(2), .number(1e300), .string("ä/\u{7F}"), .bool(false)])),
        ] {
            let again = try JSONDecoder().decode(JSONValue.self, from: value)
            #expect(
                try Self.text(again, .sorted)
                    == String(decoding: value, as: UTF8.self).replacing("\u{7F}", with: "\\u007f"))
        }
        #expect(
            try Self.text(document, .sorted) == String(decoding: try encoder.encode(document), as: UTF8.self))
    }

    // MARK: Documents

    @Test("J3, B9: the document of a Batch job while it runs")
    func batchDocument() throws {
        var job = try Self.job(
            JobSubmission(
                workers: 2, timeout: .seconds(60), config: Array(#"{"k": 1.0}"#.utf8), ignoredFields: ["wokers"],
                retryOf: try Self.id(2),
                schedule: ScheduledTime(name: "nightly", plannedAt: Self.start, isManual: true),
                work: .batch(.init(batchSize: 4, maxFailedBatches: 10))))
        job.status = .running
        job.runningSince = Self.start + .seconds(1)
        job.isInputComplete = false
        job.counts.batches = 4
        job.counts.openBatches = 2
        job.counts.deliveredBatches = 1
        job.counts.items = 16
        job.counts.itemsSucceeded = 8
        job.counts.itemsFailed = 1
        job.counts.itemsInProgress = 3
        job.counts.deliveriesSucceeded = 2
        job.counts.deliveriesFailed = 1
        job.counts.busy = .seconds(1)
        job.completion = .failed(RequestFailure(.timeout, "late"))
        job.stop = JobStop(status: .stopped, reason: "stopped by its caller")
        let document = JobDocument.batch(
            .init(
                apiSpec: VerbatimJSON(Array(#"{"name":"sum"}"#.utf8)),
                jobStatus: BatchJobStatusDocument(
                    job, workers: WorkerCountsDocument([.ready: 1, .pending: 1, .failed: 0])),
                metrics: .init(job.counts), endpoint: "http://127.0.0.1:8889/sum?jobID=\(job.id)"))
        let text = try Self.text(document)
        #expect(
            text == #"{"api_spec":{"name":"sum"},"#
                + #""job_status":{"job_id":"0190f3a2-5d1c-7aaa-8bbb-000000000001","api_name":"sum","kind":"BatchAPI","#
                + #""workers":2,"sqs_dead_letter_queue":null,"config":{"k": 1.0},"timeout":60,"api_id":"api-1","#
                + #""sqs_url":"","total_batch_count":4,"start_time":"2026-11-30T02:30:00Z","status":"running","#
                + #""batches_in_queue":1,"worker_counts":{"pending":1,"ready":1},"#
                + #""created_time":"2026-11-30T02:30:00Z","running_since":"2026-11-30T02:30:01Z","is_enqueuing":true,"#
                + #""item_counts":{"total":16,"succeeded":8,"failed":1,"cancelled":0,"in_queue":4,"in_progress":3},"#
                + #""reason":"the job is being stopped: stopped by its caller","retry_of":"0190f3a2-5d1c-7aaa-8bbb-000000000002","#
                + #""schedule":{"name":"nightly","planned_at":"2026-11-30T02:30:00Z","manual":true},"#
                + #""max_failed_batches":10,"ignored_fields":["wokers"],"#
                + #""on_job_complete":{"status":"failed","error":{"kind":"timeout","message":"late"}}},"#
                + #""metrics":{"succeeded":2,"failed":1,"average_time_per_batch":0.5},"#
                + #""endpoint":"http://127.0.0.1:8889/sum?jobID=0190f3a2-5d1c-7aaa-8bbb-000000000001"}"#)
        let read = try JSONDecoder().decode(JobDocument.self, from: Data(text.utf8))
        guard case .batch(let batch) = read else {
            Issue.record("it is not a Batch job")
            return
        }
        #expect(batch.jobStatus.workerCounts?[.ready] == 1 && batch.jobStatus.workerCounts?[.failed] == 0)
        #expect(read.jobStatus.status == .running && read.jobStatus.jobID == job.id)
        #expect(read.jobStatus.reason == "the job is being stopped: stopped by its caller")

        job.status = .completedWithFailures
        job.stop = nil
        job.reason = "1 item failed"
        job.endedAt = Self.start + .seconds(9)
        job.counts.deliveriesSucceeded = 0
        let ended = try Self.text(BatchJobStatusDocument(job, workers: WorkerCountsDocument([.ready: 1])))
        #expect(
            ended.contains(
                #""status":"completed_with_failures","end_time":"2026-11-30T02:30:09Z","batches_in_queue":1,"#))
        #expect(ended.contains(#""is_enqueuing":false"#) && ended.contains(#""reason":"1 item failed""#))
        #expect(!ended.contains("worker_counts"))
        #expect(try Self.text(JobDocument.Metrics(job.counts)).contains(#""average_time_per_batch":null"#))
    }

    @Test("T8: the document of a Task job, with results and progress verbatim")
    func taskDocument() throws {
        var job = try Self.job(JobSubmission(workers: 1, work: .task(.init(args: ["-v"], env: ["B": "2", "A": "1"]))))
        #expect(
            try Self.text(JobSubmissionDocument(job))
                == #"{"job_id":"0190f3a2-5d1c-7aaa-8bbb-000000000001","api_name":"sum","kind":"TaskAPI","workers":1,"#
                + #""config":null,"timeout":null,"api_id":"api-1","spec_id":"spec-1","pod_id":"pod-1","#
                + #""start_time":"2026-11-30T02:30:00Z","created_time":"2026-11-30T02:30:00Z","args":["-v"],"#
                + #""env":{"A":"1","B":"2"}}"#)
        job.status = .workerError
        job.endedAt = Self.start + .seconds(5)
        let runs = [
            JobRun(
                worker: 0, attempt: 1, pod: "p", status: .exit, exitCode: 1, reason: "exit code 1",
                startedAt: Self.start, endedAt: Self.start + .seconds(2)),
            JobRun(worker: 0, attempt: 2, pod: "q", status: .running, startedAt: Self.start + .seconds(3)),
            JobRun(worker: 0, attempt: 3, pod: "r", status: .planned, startedAt: Self.start + .seconds(3)),
        ]
        let status = TaskJobStatusDocument(
            job, workers: nil,
            work: .init(
                runs: runs, progress: [0: Array(#" { "done": 3} "#.utf8)],
                results: [0: .inline(Array(#"{"b": 1.0}"#.utf8))], artifacts: 2))
        let document = JobDocument.task(
            .init(apiSpec: VerbatimJSON(Array("{}".utf8)), jobStatus: status, endpoint: "http://x"))
        let text = try Self.text(document)
        #expect(
            text == #"{"api_spec":{},"#
                + #""job_status":{"job_id":"0190f3a2-5d1c-7aaa-8bbb-000000000001","api_name":"sum","kind":"TaskAPI","#
                + #""workers":1,"config":null,"timeout":null,"api_id":"api-1","spec_id":"spec-1","pod_id":"pod-1","#
                + #""start_time":"2026-11-30T02:30:00Z","end_time":"2026-11-30T02:30:05Z","status":"worker_error","#
                + #""created_time":"2026-11-30T02:30:00Z","attempts":[{"worker":0,"attempt":1,"status":"exit","exit_code":1,"#
                + #""reason":"exit code 1","started_at":"2026-11-30T02:30:00Z","ended_at":"2026-11-30T02:30:02Z"},"#
                + #"{"worker":0,"attempt":2,"status":"running","started_at":"2026-11-30T02:30:03Z"}],"#
                + #""progress":{"worker":0,"done": 3},"result":{"b": 1.0},"artifacts":2},"endpoint":"http://x"}"#)
        #expect(try JSONDecoder().decode(JobDocument.self, from: Data(text.utf8)).jobStatus.status == .workerError)

        let several = try Self.job(JobSubmission(workers: 3, work: .task(.init())))
        let part = try Self.text(
            TaskJobStatusDocument(
                several, workers: nil,
                work: .init(
                    progress: [2: Array("{}".utf8), 1: Array(#"{"done":1}"#.utf8)],
                    results: [1: .inline(Array("[1]".utf8))])))
        #expect(
            part.hasSuffix(
                #""attempts":[],"progress":[{"worker":1,"done":1},{"worker":2}],"results":[null,[1],null],"artifacts":0}"#
            ))
    }

    @Test("J1: another kind has no job documents")
    func otherKinds() {
        let text = #"{"job_id":"0190f3a2-5d1c-7aaa-8bbb-000000000001","kind":"AsyncAPI"}"#
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(JobStatusDocument.self, from: Data(text.utf8))
        }
    }

    @Test("J14, T6: schedules and artifacts")
    func listings() throws {
        let cron = ScheduleSpecification(
            name: "nightly", timing: .cron(try CronExpression("0 3 * * *"), timeZone: "Europe/Berlin"))
        let every = ScheduleSpecification(
            name: "often", timing: .every(.seconds(90)), overlap: .allow, catchUp: .nothing)
        let list = ScheduleListDocument(schedules: [
            ScheduleDocument(
                cron, isSuspended: false,
                last: .init(plannedAt: "2026-11-29T03:00:00+01:00", jobID: try Self.id(1), status: .succeeded),
                next: ["2026-11-30T03:00:00+01:00"],
                skipped: [.init(plannedAt: "2026-11-28T03:00:00+01:00", count: 2, reason: "was down")]),
            ScheduleDocument(every, isSuspended: true, last: nil, next: [], skipped: []),
        ])
        let text = try Self.text(list)
        #expect(
            text == #"{"schedules":[{"name":"nightly","cron":"0 3 * * *","time_zone":"Europe/Berlin","overlap":"skip","#
                + #""catch_up":"latest","state":"active","last":{"planned_at":"2026-11-29T03:00:00+01:00","#
                + #""job_id":"0190f3a2-5d1c-7aaa-8bbb-000000000001","status":"succeeded"},"#
                + #""next":["2026-11-30T03:00:00+01:00"],"#
                + #""skipped":[{"planned_at":"2026-11-28T03:00:00+01:00","count":2,"reason":"was down"}]},"#
                + #"{"name":"often","every":90,"time_zone":"UTC","overlap":"allow","catch_up":"none","state":"suspended","#
                + #""next":[],"skipped":[]}]}"#)
        #expect(try JSONDecoder().decode(ScheduleListDocument.self, from: Data(text.utf8)) == list)
        let artifacts = ArtifactListDocument(
            artifacts: [.init(worker: 0, attempt: 2, path: "a/b", size: 3, sha256: "00ff")], omitted: [])
        #expect(
            try Self.text(artifacts)
                == #"{"artifacts":[{"worker":0,"attempt":2,"path":"a/b","size":3,"sha256":"00ff"}]}"#)
    }
}
