import Core
import Foundation
import NIOCore
import StubPlatform
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Client

@Suite("J15: the client of jobs", .timeLimit(.minutes(2)))
struct JobClientTests {
    private static let text = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    private func with<Result: Sendable>(
        _ kind: APIKind = .batch, clock: any PlatformClock = ManualClock(),
        _ body: @Sendable (StubPlatform, JobClient, RequestID) async throws -> Result
    ) async throws -> Result {
        try await StubPlatform.with { stub in
            let id = try #require(RequestID(Self.text))
            let environment = Environment(name: "test", operatorEndpoint: stub.url, token: "secret")
            return try await Transport.with { transport in
                let client = try OperatorClient(environment: environment, transport: transport)
                let jobs = try #require(JobClient(client, api: "sum", kind: kind, clock: clock))
                return try await body(stub, jobs, id)
            }
        }
    }

    static func document(_ status: JobStatus, more: String = "") -> StubPlatform.Response {
        .json(
            #"{"api_spec":{},"job_status":{"job_id":"\#(text)","api_name":"sum","kind":"BatchAPI","workers":1,"#
                + #""sqs_dead_letter_queue":null,"config":{"k": 1.0},"timeout":null,"api_id":"i","sqs_url":"","#
                + #""total_batch_count":4,"start_time":"2026-11-30T02:30:00Z","status":"\#(status.rawValue)","#
                + #""batches_in_queue":1,"created_time":"2026-11-30T02:30:00Z","is_enqueuing":false,"#
                + #""item_counts":{"total":4,"succeeded":2,"failed":0,"cancelled":0,"in_queue":1,"in_progress":1}\#(more)},"#
                + #""metrics":{"succeeded":2,"failed":0,"average_time_per_batch":0.5},"endpoint":"http://x"}"#)
    }

    @Test("J1: kinds without jobs have no client")
    func kinds() async throws {
        try await StubPlatform.with { stub in
            try await Transport.with { transport in
                let client = try OperatorClient(
                    environment: Environment(name: "test", operatorEndpoint: stub.url), transport: transport)
                for kind in [APIKind.async, .realtime, .trafficSplitter] {
                    #expect(JobClient(client, api: "sum", kind: kind, clock: ManualClock()) == nil)
                }
            }
        }
    }

    @Test("B2: lines are streamed with the parameters in the query, and the token")
    func submitsLines() async throws {
        try await with { (stub, jobs, id) async throws in
            stub.on("POST /batch/sum", .json(#"{"job_id":"\#(Self.text)","ignored_fields":["x"]}"#))
            let receipt = try await jobs.submit(
                lines: .bytes(ByteBuffer(string: "1\n2\n")),
                JobParameters(workers: 3, batchSize: 2, config: #"{"k": 1.0}"#, timeout: 60))
            #expect(receipt.id == id && receipt.ignoredFields == ["x"])
            let request = try #require(stub.last("POST /batch/sum"))
            #expect(request.target == "/batch/sum?workers=3&batch_size=2&timeout=60&config=%7B%22k%22%3A%201.0%7D")
            #expect(request.text == "1\n2\n" && request[header: "Content-Type"] == "application/jsonl")
            #expect(request[header: "Authorization"] == "Bearer secret")
        }
    }

    @Test("T1: a submission to a TaskAPI goes to its own route; all its problems come back")
    func submitsTask() async throws {
        try await with(.task) { (stub, jobs, _) async throws in
            stub.on(
                "POST /tasks/sum", .error(400, "bad_request", "workers: must be 1 to 1000; timeout: must be 1 or more"))
            let error = await #expect(throws: PlatformError.self) {
                try await jobs.submit(.bytes(ByteBuffer(string: "{}")), headers: [("Idempotency-Key", "k")])
            }
            #expect(error?.message == "workers: must be 1 to 1000; timeout: must be 1 or more")
            let request = try #require(stub.last("POST /tasks/sum"))
            #expect(request[header: "Content-Type"] == "application/json" && request[header: "Idempotency-Key"] == "k")
        }
    }

    @Test("A5, J6: a wait shows each state, survives a platform that is away, and ends with the job")
    func waits() async throws {
        let clock = ManualClock()
        try await with(clock: clock) { (stub, jobs, id) async throws in
            stub.on(
                "GET /batch/sum/\(id)", Self.document(.pending), .cutOff, Self.document(.running),
                Self.document(.workerError, more: #","reason":"exit code 1""#))
            let shown = Mutex<[JobStatus]>([])
            async let waiting = jobs.wait(id, limit: nil, period: .seconds(10)) { snapshot in
                shown.withLock { $0.append(snapshot.status) }
            }
            for _ in 0..<3 {
                try await expectEventually { clock.sleepers == 1 }
                clock.advance(by: .seconds(2))
            }
            let snapshot = try await waiting
            #expect(snapshot.status == .workerError && snapshot.job.jobStatus.reason == "exit code 1")
            #expect(String(buffer: snapshot.document).contains(#""config":{"k": 1.0}"#), "the document is verbatim")
            #expect(shown.withLock { $0 } == [.pending, .running])
            let waits = stub.requests.map { $0[header: "Prefer"] }
            #expect(waits.first == .some(nil) && waits.dropFirst().allSatisfy { $0 == "wait=10" })
        }
    }

    private static func lines(_ numbers: Range<Int>) -> String {
        numbers.map { #"{"index":\#($0),"status":"succeeded","attempts":1,"result":\#($0)}"# + "\n" }.joined()
    }

    private static func results(_ text: String, next: String? = nil, isCut: Bool = false) -> StubPlatform.Response {
        StubPlatform.Response(
            contentType: "application/jsonl", parts: [text], staysOpen: isCut,
            headers: next.map { [("X-Cortex-Next", $0)] } ?? [])
    }

    @Test("B8: results are followed to the end; a lost connection loses and doubles no byte")
    func follows() async throws {
        let clock = ManualClock()
        try await with(clock: clock) { (stub, jobs, id) async throws in
            let route = "GET /batch/sum/\(id)/results"
            let all = Self.lines(0..<6)
            stub.on(
                route, Self.results(String(all.prefix(70)), isCut: true), Self.results(Self.lines(0..<2), next: "c 1"),
                Self.results(Self.lines(2..<3) + String(Self.lines(3..<4).prefix(5)), isCut: true),
                Self.results(Self.lines(2..<4), next: "c2"), Self.results(Self.lines(4..<5)),
                // The stream ended, but the job has not.
                Self.results(Self.lines(4..<5), next: "c3"), Self.results(Self.lines(5..<6)),
                Self.results(Self.lines(5..<6), next: "c4"))
            stub.on("GET /batch/sum/\(id)", Self.document(.running), Self.document(.succeeded))
            let received = Mutex("")
            let isOver = Mutex(false)
            async let reading: Void = {
                defer { isOver.withLock { $0 = true } }
                try await jobs.results(id, onlyFailed: true, follow: true) { part in
                    received.withLock { $0 += String(buffer: part) }
                }
            }()
            for lost in [1, 3] {
                let expected = lost == 1 ? String(all.prefix(70)) : Self.lines(0..<3) + Self.lines(3..<4).prefix(5)
                try await expectEventually { stub.count(route) == lost && received.withLock { $0 } == expected }
                try await stub.cut(route)
                try await expectEventually { clock.sleepers == 1 }
                clock.advance(by: .seconds(1))
            }
            try await expectEventually {
                clock.advance(by: .seconds(1))
                return isOver.withLock { $0 }
            }
            try await reading
            #expect(received.withLock { $0 } == all)
            let targets = stub.requests.filter { $0.path.hasSuffix("/results") }.map {
                $0.target.split(separator: "?")[1]
            }
            #expect(
                targets == [
                    "status=failed", "status=failed", "after=c%201&status=failed&follow=true",
                    "after=c%201&status=failed",
                    "after=c2&status=failed&follow=true", "after=c2&status=failed",
                    "after=c3&status=failed&follow=true", "after=c3&status=failed",
                ])
        }
    }

    @Test("J5, B10, J3: stop, retry and lists")
    func calls() async throws {
        try await with { (stub, jobs, id) async throws in
            stub.on("DELETE /batch/sum/\(id)", .json(#"{"message":"stopped job x"}"#))
            #expect(try await jobs.stop(id).message == "stopped job x")
            stub.on("POST /batch/sum/\(id)/retry", .json(#"{"job_id":"\#(Self.text)"}"#))
            #expect(try await jobs.retry(id).id == id)
            stub.on("GET /batch/sum", .json(#"{"jobs":[],"next":"\#(Self.text)"}"#))
            #expect(try await jobs.jobs(status: .running, before: id, limit: 5).document.next == id)
            #expect(stub.requests.last?.target == "/batch/sum?limit=5&status=running&before=\(id)")
        }
    }

    @Test("T6: artifacts are listed and read, whatever characters their names have")
    func artifacts() async throws {
        try await with(.task) { (stub, jobs, id) async throws in
            stub.on("GET /tasks/sum/\(id)/artifacts/0/a%20b/%2523.txt", .init(parts: ["one", "two"]))
            let received = Mutex("")
            try await jobs.artifact(id, worker: 0, path: "a b/%23.txt") { part in
                received.withLock { $0 += String(buffer: part) }
            }
            #expect(received.withLock { $0 } == "onetwo")
            await #expect(throws: PlatformError.self) {
                try await jobs.artifact(id, worker: 1, path: "x") { _ in }
            }
        }
    }

    @Test("J14: schedules are listed, run and suspended")
    func schedules() async throws {
        try await with(.task) { (stub, jobs, id) async throws in
            stub.on("GET /tasks/sum/schedules", .json(#"{"schedules":[]}"#))
            #expect(try await jobs.schedules().schedules.isEmpty)
            stub.on("POST /schedules/sum/nightly/run", .json(#"{"job_id":"\#(Self.text)"}"#))
            #expect(try await jobs.runSchedule("nightly").id == id)
            stub.on("POST /schedules/sum/nightly/suspend", .json(#"{"message":"suspended"}"#))
            #expect(try await jobs.setSchedule("nightly", isSuspended: true).message == "suspended")
        }
    }

    @Test("J12: the log of a job names job, worker and attempt, and its lines have them")
    func logs() async throws {
        try await StubPlatform.with { stub in
            let id = try #require(RequestID(Self.text))
            stub.on(
                "GET /logs/sum",
                .init(parts: [#"{"attempt":2,"container":"c","replica":"r","text":"hello","worker":1}"# + "\n"]))
            let environment = Environment(name: "test", operatorEndpoint: stub.url)
            try await Transport.with { transport in
                let client = try OperatorClient(environment: environment, transport: transport)
                var found: [LogLineDocument] = []
                let selection = JobLogSelection(job: id, worker: 1, attempt: 2)
                for try await batch in try await client.logs("sum", options: LogOptions(tail: 3), job: selection) {
                    found += batch
                }
                #expect(found == [LogLineDocument(replica: "r", container: "c", worker: 1, attempt: 2, text: "hello")])
            }
            #expect(stub.requests.last?.target == "/logs/sum?tail=3&jobID=\(id)&worker=1&attempt=2")
        }
    }
}
