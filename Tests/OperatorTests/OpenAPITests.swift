import Core
import Foundation
import HTTPServing
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("O1: the OpenAPI document")
struct OpenAPITests {
    @Test("O1: /openapi.json is anyone's, and describes every route that there is and no other")
    func routes() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.call(.GET, OpenAPIDocument.path, signed: false)
            #expect(reply.status == 200)
            #expect(reply.headers["content-type"] == ["application/json"])
            let document = try reply.decoded(JSONValue.self)
            #expect(document["openapi"] == "3.1.0")
            guard case .object(let paths) = document["paths"] else { return #expect(Bool(false)) }
            let described = paths.flatMap { path, item -> [String] in
                guard case .object(let operations) = item else { return [] }
                return operations.keys.map { "\($0.uppercased()) \(path)" }
            }
            // A test of the jobs' own routes compares the list with them.
            let jobs = OpenAPIJobRoute.all.map { "\($0.method.rawValue) \($0.path)" }
            let served = fixture.operator.routes.entries.map { "\($0.method.rawValue) \($0.pattern)" }
            #expect(described.sorted() == (served + jobs).sorted())
        }
    }

    @Test("O1: every operation has an id of its own, and every reference leads somewhere")
    func references() throws {
        let text = String(decoding: try DocumentCoding.encode(Operator.document), as: UTF8.self)
        let names = text.matches(of: #/"\$ref":"#\/components\/schemas\/(\w+)"/#).map { String($0.1) }
        #expect(!names.isEmpty)
        #expect(Set(names).isSubset(of: OpenAPISchemas.all.keys))
        #expect(Set(OpenAPISchemas.all.keys).isSubset(of: names))
        let ids = text.matches(of: #/"operationId":"(\w+)"/#).map { String($0.1) }
        #expect(Set(ids).count == ids.count)
    }

    @Test("O1: every member of a document is in its schema, and what a schema requires is in the document")
    func members() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(DocumentTests.yaml)
            fixture.orchestrator.setStatus(.of(.failed, 2, reason: "no"), of: "iris")
            for (target, schema) in [
                ("/info", "Info"), ("/health", "Health"), ("/debug/state", "State"), ("/healthz", "Liveness"),
                ("/requests/iris", "RequestList"),
            ] {
                try check(try await fixture.call(.GET, target).decoded(JSONValue.self), against: schema, at: target)
            }
            try await fixture.deploy(RealtimeTests.file + SplitterTests.file)
            fixture.orchestrator.setStatus(.of(.ready, 1), of: "quick")
            fixture.traffic.reports.withLock { $0["quick"] = RealtimeTests.report }
            fixture.traffic.splits.withLock { $0["canary"] = SplitterTests.report }
            for target in [
                "/get", "/get/iris", "/describe/iris", "/get/quick", "/describe/quick", "/get/canary",
                "/describe/canary",
            ] {
                guard case .array(let list) = try await fixture.call(.GET, target).decoded(JSONValue.self) else {
                    Issue.record("\(target) is no list")
                    continue
                }
                for api in list { try check(api, against: "API", at: target) }
            }
            try await fixture.deploy(JobKindTests.batch + JobKindTests.task)
            for target in ["/get", "/get/sum", "/get/train", "/describe/sum"] {
                guard case .array(let list) = try await fixture.call(.GET, target).decoded(JSONValue.self) else {
                    Issue.record("\(target) is no list")
                    continue
                }
                for api in list { try check(api, against: "API", at: target) }
            }
            let error = try await fixture.call(.GET, "/get/none").decoded(JSONValue.self)
            try check(error, against: "Error", at: "error")
        }
    }

    @Test("O1, B9, T6, T8, J14: the documents of jobs, with and without optional members, match their schemas")
    func jobs() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(JobKindTests.batch + JobKindTests.task)
            let apis = try await fixture.store.deployedAPIs()
            let batch = JobKindTests.job(try #require(apis.first { $0.name == "sum" }), config: #"{"k": 1}"#)
            let task = JobKindTests.job(try #require(apis.first { $0.name == "train" }))
            try await check(batch, fixture)
            try await check(task, fixture)
            try await check(full(batch, .batch(.init(batchSize: 1, maxFailedBatches: 3))), fixture)
            try await check(full(task, .task(.init(args: ["a"], env: ["A": "b"]))), fixture)
        }
        let artifact = ArtifactListDocument.Artifact(worker: 0, attempt: 1, path: "a", size: 1, sha256: "00")
        let omitted = ArtifactListDocument.Omitted(worker: 0, attempt: 1, path: "b", reason: "a link")
        try check(
            try json(ArtifactListDocument(artifacts: [artifact], omitted: [omitted])), against: "ArtifactList", at: "")
        let time = "2026-11-30T02:30:00Z"
        let schedule = ScheduleDocument(
            ScheduleSpecification(name: "s", timing: .every(.seconds(60))), isSuspended: false,
            last: .init(plannedAt: time, jobID: RequestID(high: 1, low: 1), status: .running, skipped: "why"),
            next: [time], skipped: [.init(plannedAt: time, count: 1, reason: "why")])
        try check(try json(ScheduleListDocument(schedules: [schedule])), against: "ScheduleList", at: "")
    }

    /// The job with every optional member.
    private func full(_ job: Job, _ work: JobSubmission.Work) -> Job {
        let time = Timestamp(seconds: 1_800_000_000)
        var submission = job.submission
        submission.work = work
        submission.timeout = .seconds(9)
        submission.ignoredFields = ["wokers"]
        submission.retryOf = job.id
        submission.schedule = ScheduledTime(name: "nightly", plannedAt: time, isManual: true)
        var job = Job(id: job.id, version: job.version, submission: submission, createdAt: job.createdAt)
        job.runningSince = time
        job.endedAt = time
        job.reason = "why"
        job.completion = .failed(RequestFailure(.timeout, "late"))
        return job
    }

    private func check(_ job: Job, _ fixture: Fixture) async throws {
        let isFull = job.reason != nil
        let time = Timestamp(seconds: 1_800_000_000)
        try check(try json(JobSubmissionDocument(job)), against: "JobSubmission", at: job.api)
        let workers = WorkerCountsDocument([.ready: 1])
        let answer = try await fixture.call(.GET, "/get/\(job.api)").decoded(JSONValue.self)
        guard case .array(let apis) = answer, let specification = apis.first?["spec"] else {
            Issue.record("no specification of \(job.api)")
            return
        }
        guard job.kind == .task else {
            let status = BatchJobStatusDocument(job, workers: workers)
            let document = JobDocument.Batch(
                apiSpec: .value(specification), jobStatus: status, metrics: JobDocument.Metrics(job.counts),
                endpoint: "http://x/sum")
            try check(try json(document), against: "BatchJob", at: job.api)
            let list = JobListDocument(jobs: [.batch(status)], next: isFull ? job.id : nil)
            return try check(try json(list), against: "BatchJobList", at: job.api)
        }
        var work = TaskJobStatusDocument.Work()
        if isFull {
            work.runs = [
                JobRun(
                    worker: 0, attempt: 1, pod: "p", status: .exit, exitCode: 1, reason: "why", startedAt: time,
                    endedAt: time)
            ]
            work.progress = [0: Array(#"{"done":1}"#.utf8)]
            work.results = [0: .inline(Array("1".utf8))]
        }
        let status = TaskJobStatusDocument(job, workers: workers, work: work)
        let document = JobDocument.Task(apiSpec: .value(specification), jobStatus: status, endpoint: "http://x/train")
        try check(try json(document), against: "TaskJob", at: job.api)
        let list = JobListDocument(jobs: [.task(status)], next: isFull ? job.id : nil)
        try check(try json(list), against: "TaskJobList", at: job.api)
    }

    private func json(_ document: some Encodable) throws -> JSONValue {
        try JSONDecoder().decode(JSONValue.self, from: Data(try OrderedJSON.bytes(of: document)))
    }

    private func check(_ value: JSONValue, against name: String, at path: String) throws {
        let schema = try #require(OpenAPISchemas.all[name])
        check(value, against: schema, at: path)
    }

    private func resolved(_ schema: JSONValue) -> JSONValue {
        guard case .string(let reference)? = schema["$ref"] else { return schema }
        return OpenAPISchemas.all[String(reference.split(separator: "/").last ?? "")] ?? .null
    }

    /// Objects member by member; the types of plain values are left to schemathesis.
    private func check(_ value: JSONValue, against schema: JSONValue, at path: String) {
        var schema = schema
        if case .array(let choices) = schema["oneOf"] {
            if value == .null { return }
            // The kinds of specification, or a value and null.
            schema =
                choices.first { choice in
                    value["kind"].map { resolved(choice)["properties"]?["kind"]?["const"] == $0 } ?? false
                } ?? choices[0]
        }
        schema = resolved(schema)
        if schema["oneOf"] != nil { return check(value, against: schema, at: path) }
        switch value {
        case .object(let members):
            guard case .object(let properties) = schema["properties"] else { return }
            for (key, member) in members {
                guard let property = properties[key] else {
                    Issue.record("\(path).\(key) is not in the schema")
                    continue
                }
                check(member, against: property, at: "\(path).\(key)")
            }
            guard case .array(let required) = schema["required"] else { return }
            for case .string(let key) in required where members[key] == nil {
                Issue.record("\(path).\(key) is required and not there")
            }
        case .array(let items):
            guard let schema = schema["items"] else { return }
            for item in items { check(item, against: schema, at: "\(path)[]") }
        default:
            return
        }
    }
}

extension JSONValue {
    subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members[key]
    }
}
