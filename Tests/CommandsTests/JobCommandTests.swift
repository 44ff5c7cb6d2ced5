import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing
import Wire

@testable import Commands

/// The verbs of jobs as processes against a stub of the operator.
@Suite("J15: the commands of jobs", .timeLimit(.minutes(3)))
struct JobCommandTests {
    private static let id = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    /// A stub with an API of each kind, and a folder with a `cli.yaml` that names it.
    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                stub.on("GET /get/hello", .json(try Fixtures.json([Fixtures.api("hello")])))
                for (name, kind) in [("sum", "BatchAPI"), ("train", "TaskAPI")] {
                    let api =
                        #"[{"metadata":{"name":"\#(name)","kind":"\#(kind)","id":"i","deployment_id":"d","last_updated":1}}]"#
                    stub.on("GET /get/\(name)", .json(api))
                }
                try await body(stub, folder)
            }
        }
    }

    private func run(_ words: String, _ folder: URL, input: String? = nil) async throws -> CortexProcess {
        try await CortexProcess.run(words.split(separator: " ").map(String.init), folder: folder, input: input)
    }

    static func batch(_ status: JobStatus, _ more: String = "") -> String {
        #"{"api_spec":{},"job_status":{"job_id":"\#(id)","api_name":"sum","kind":"BatchAPI","workers":2,"#
            + #""sqs_dead_letter_queue":null,"config":{"k": 1.0},"timeout":null,"api_id":"i","sqs_url":"","#
            + #""total_batch_count":4,"start_time":"2026-11-30T02:30:00Z","status":"\#(status.rawValue)","#
            + #""batches_in_queue":1,"created_time":"2026-11-30T02:30:00Z","is_enqueuing":false,"#
            + #""item_counts":{"total":16,"succeeded":8,"failed":1,"cancelled":0,"in_queue":4,"in_progress":3}\#(more)},"#
            + #""metrics":{"succeeded":2,"failed":1,"average_time_per_batch":0.5},"endpoint":"http://x/sum?jobID=\#(id)"}"#
    }

    private static let receipt = #"{"job_id":"\#(id)","api_name":"sum","config":{"k": 1.0}}"#

    // MARK: Submission

    @Test("J15, B2: --items submits the lines of a file, or standard input; the id is printed")
    func items() async throws {
        try await with { stub, folder in
            stub.on("POST /batch/sum", .json(Self.receipt))
            try Data("1\n2\n".utf8).write(to: folder.appending(path: "rows.jsonl"))
            let file = try await run("submit sum --items rows.jsonl --workers 4 --batch-size 16", folder)
            #expect(file.status == 0 && file.output == Self.id + "\n" && file.errors == "", "\(file.errors)")
            let request = try #require(stub.last("POST /batch/sum"))
            #expect(request.target == "/batch/sum?workers=4&batch_size=16")
            #expect(request.text == "1\n2\n" && request[header: "Content-Type"] == "application/jsonl")
            let piped = try await run(
                "submit sum --items - --workers 1 --batch-size 1 --timeout 9 --config {\"k\":1.0} -o json", folder,
                input: "3\n")
            #expect(piped.output == Self.receipt + "\n", "the document is printed verbatim")
            let second = try #require(stub.last("POST /batch/sum"))
            #expect(second.text == "3\n")
            #expect(second.target == "/batch/sum?workers=1&batch_size=1&timeout=9&config=%7B%22k%22%3A1.0%7D")
        }
    }

    @Test("J15, B1, T1: -d submits a JSON object, options alone the one of a Task; unknown fields are named")
    func data() async throws {
        try await with { stub, folder in
            stub.on("POST /batch/sum", .json(#"{"job_id":"\#(Self.id)","ignored_fields":["wokers"]}"#))
            let given = try await run("submit sum -d {\"wokers\":1}", folder)
            #expect(given.output == Self.id + "\n")
            #expect(given.errors == "warning: these fields of the submission are not known and were ignored: wokers\n")
            #expect(stub.last("POST /batch/sum")?.text == #"{"wokers":1}"#)
            stub.on("POST /tasks/train", .json(Self.receipt))
            // Standard input is not read: the data of a job is only read with -d.
            #expect(try await run("submit train", folder, input: "not read").status == 0)
            #expect(stub.last("POST /tasks/train")?.text == "{}")
            _ = try await run("submit train --workers 2 --config {\"k\":1.0} --timeout 5", folder)
            #expect(stub.last("POST /tasks/train")?.text == #"{"workers":2,"timeout":5,"config":{"k":1.0}}"#)
            #expect(stub.last("POST /tasks/train")?[header: "Content-Type"] == "application/json")
        }
    }

    @Test(
        "J15: wrong use is told before anything is sent",
        arguments: [
            ("submit sum", "give a submission with -d, or items with --items"),
            ("submit sum --items rows --workers 1", "--items needs --workers and --batch-size"),
            ("submit sum --items rows --workers 0 --batch-size 1", "--workers must be 1 or more"),
            ("submit sum -d {} --workers 1", "Give either the whole submission with -d"),
            ("submit sum --items rows --workers 1 --batch-size 1 --config [1]", "--config must be a JSON object"),
            ("submit train --items rows --workers 1 --batch-size 1", "train is a TaskAPI, whose jobs have no items"),
            ("submit hello --workers 1", "hello is an AsyncAPI, which has no jobs"),
            ("logs sum --worker 1", "--worker and --attempt need the id of a job"),
            ("results sum nonsense", "cortex jobs API"),
        ])
    func usage(words: String, message: String) async throws {
        try await with { stub, folder in
            let process = try await run(words, folder)
            #expect(process.status == 2 && process.errors.contains(message), "\(process.errors)")
            #expect(!stub.requests.contains { $0.method == "POST" })
        }
    }

    @Test("J15: --wait shows progress, ends with the job, and the exit status is 1 unless it succeeded")
    func waits() async throws {
        try await with { stub, folder in
            stub.on("POST /batch/sum", .json(Self.receipt))
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.running)), .json(Self.batch(.succeeded)))
            let good = try await run("submit sum -d {} --wait", folder)
            #expect(good.status == 0 && good.output == "succeeded\n")
            #expect(good.errors == "job id: \(Self.id)\n2/4 batches, 1 item failed\n")
            let reason = #","reason":"1 batch failed""#
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.completedWithFailures, reason)))
            let bad = try await run("submit sum -d {} --wait -o json", folder)
            #expect(bad.status == 1)
            #expect(bad.output == Self.batch(.completedWithFailures, reason) + "\n")
            #expect(
                bad.errors.contains("error: job \(Self.id) ended as completed with failures: 1 batch failed\n")
                    && bad.errors.contains("cortex results sum \(Self.id) --failed"))
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.running)))
            let late = try await run("result sum \(Self.id) --wait-timeout 0", folder)
            #expect(late.status == 1 && late.errors.contains("is still running"), "\(late.errors)")
        }
    }

    @Test("J15: on a terminal progress is one line that is redrawn")
    func terminal() async throws {
        try await with { stub, folder in
            stub.on("POST /batch/sum", .json(Self.receipt))
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.running)), .json(Self.batch(.succeeded)))
            let seen = try await CortexProcess.onTerminal(
                ["submit", "sum", "-d", "{}", "--wait"], folder: folder, typing: [])
            #expect(seen.status == 0)
            #expect(seen.text.contains("\r\u{1B}[K2/4 batches, 1 item failed\r\u{1B}[K"), "\(seen.text)")
        }
    }

    // MARK: State

    @Test("J15, J3: result prints the document byte for byte")
    func result() async throws {
        try await with { stub, folder in
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.running)))
            let open = try await run("result sum \(Self.id)", folder)
            #expect(open.status == 0 && open.output == Self.batch(.running) + "\n")
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.stopped)))
            #expect(try await run("result sum \(Self.id)", folder).status == 1)
            stub.on("GET /batch/sum/\(Self.id)", .error(404, "not_found", "no such job"))
            let gone = try await run("result sum \(Self.id)", folder)
            #expect(gone.status == 1)
            #expect(gone.errors == "error: no such job\nsee those there are with: cortex jobs sum\n")
        }
    }

    @Test("J5: cancel and delete with a job stop it, in the operator's words")
    func stop() async throws {
        try await with { stub, folder in
            stub.on("DELETE /batch/sum/\(Self.id)", .json(#"{"message":"stopped job \#(Self.id)"}"#))
            for verb in ["cancel", "delete"] {
                let process = try await run("\(verb) sum \(Self.id)", folder)
                #expect(process.status == 0 && process.output == "stopped job \(Self.id)\n", "\(process.errors)")
            }
            stub.on("DELETE /batch/sum/\(Self.id)", .error(409, "job_is_not_in_progress", "the job has ended"))
            let ended = try await run("cancel sum \(Self.id)", folder)
            #expect(ended.status == 1 && ended.errors == "error: the job has ended\n")
            #expect(!stub.requests.contains { $0.path.hasPrefix("/delete/") })
            let other = try await run("delete hello \(Self.id)", folder)
            #expect(other.status == 1 && other.errors.contains("hello is an AsyncAPI"))
        }
    }

    @Test("B10, T3: retry makes a new job and prints its id; for an AsyncAPI nothing has changed")
    func retry() async throws {
        try await with { stub, folder in
            stub.on("POST /retry/sum/\(Self.id)", .error(400, "bad_request", "sum stores no requests"))
            stub.on("POST /batch/sum/\(Self.id)/retry", .json(#"{"job_id":"\#(Self.id)"}"#))
            let job = try await run("retry sum \(Self.id)", folder)
            #expect(job.status == 0 && job.output == Self.id + "\n", "\(job.errors)")
            stub.on("POST /retry/hello/\(Self.id)", .error(404, "not_found", "no request"))
            let request = try await run("retry hello \(Self.id)", folder)
            #expect(request.status == 1 && request.errors == "error: no request\n")
        }
    }

    @Test("J3: jobs lists page after page, with the words of the tables")
    func jobs() async throws {
        try await with { stub, folder in
            let status = Self.batch(.workerOOM, #","end_time":"2026-11-30T02:30:12Z""#)
            let start = try #require(status.range(of: #""job_status":"#)).upperBound
            let end = try #require(status.range(of: #","metrics""#)).lowerBound
            let job = String(status[start..<end])
            stub.on("GET /batch/sum", .json(#"{"jobs":[\#(job)],"next":"\#(Self.id)"}"#), .json(#"{"jobs":[]}"#))
            let list = try await run("jobs sum --status worker_oom --limit 5", folder)
            #expect(
                list.output == """
                    job id                                 status          total batches   start time               duration   succeeded   failed
                    \(Self.id)   out of memory   4               30 Nov 26 02:30:00 UTC   12s        8           1

                    """, "\(list.errors)")
            #expect(
                stub.requests.filter { $0.path == "/batch/sum" }.map(\.target) == [
                    "/batch/sum?limit=5&status=worker_oom", "/batch/sum?limit=4&status=worker_oom&before=\(Self.id)",
                ])
            stub.on("GET /tasks/train", .json(#"{"jobs":[]}"#))
            #expect(try await run("jobs train", folder).output == "no submitted task jobs\n")
            #expect(try await run("jobs train -o json", folder).output == "{\n  \"jobs\" : [\n\n  ]\n}\n")
            let other = try await run("jobs hello", folder)
            #expect(other.status == 1)
            #expect(other.errors == "error: hello is an AsyncAPI; submit a request to it with: cortex submit hello\n")
            let requests = try await run("requests sum", folder)
            #expect(requests.errors == "error: sum is a BatchAPI, which runs jobs; list them with: cortex jobs sum\n")
        }
    }

    @Test(
        "J13: -o json of get, describe and jobs has the configuration of a job token by token as the operator gave it")
    func configuration() async throws {
        try await with { stub, folder in
            let config = #"{"b": 1.0, "a":12345678901234567890,"t":"\u00e9: [1, {\\\"\/","e":1E+2,"o":{},"l":[]}"#
            let status = Self.batch(.succeeded).replacing(#"{"k": 1.0}"#, with: config)
            let start = try #require(status.range(of: #""job_status":"#)).upperBound
            let end = try #require(status.range(of: #","metrics""#)).lowerBound
            let job = String(status[start..<end])
            let api =
                #"[{"batch_job_statuses":[\#(job)],"metadata":{"name":"sum","kind":"BatchAPI","id":"i","deployment_id":"d","last_updated":1}}]"#
            for path in ["/get/sum", "/get", "/describe/sum"] { stub.on("GET \(path)", .json(api)) }
            stub.on("GET /batch/sum", .json(#"{"jobs":[\#(job)],"next":"\#(Self.id)"}"#), .json(#"{"jobs":[\#(job)]}"#))
            for words in ["get sum", "get -e local", "get", "describe sum", "jobs sum"] {
                let process = try await run("\(words) -o json", folder)
                #expect(process.status == 0, "\(process.errors)")
                let text = process.output
                let value = try JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))
                let shown = String(text.filter { !$0.isWhitespace })
                let count = shown.ranges(of: #""config":"# + config.filter { !$0.isWhitespace }).count
                #expect(count == (words == "jobs sum" ? 2 : 1), "\(words): \(text)")
                switch words {
                case "jobs sum": #expect(shown.hasPrefix(#"{"jobs":[{"job_id":"#) && !shown.contains("next"))
                case "get":
                    #expect(shown.hasPrefix(#"[{"apis":[{"batch_job_statuses":"#))
                    #expect(shown.hasSuffix(#"],"env_name":"local","error":""}]"#))
                default: #expect(shown == api.filter { !$0.isWhitespace })
                }
                // As for the other kinds.
                let indented = text.split(separator: "\n", omittingEmptySubsequences: false)
                #expect(indented[1].hasPrefix("  ") && text.contains(#""kind" : "BatchAPI""#), "\(value)")
            }
        }
    }

    @Test("J13: get API JOB shows the job as the original does; as JSON it is the document")
    func get() async throws {
        try await with { stub, folder in
            let more = #","worker_counts":{"ready":1,"killed_oom":1},"reason":"no capacity""#
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.running, more)))
            let view = try await run("get sum \(Self.id) -e local", folder)
            #expect(
                view.output.replacing(/duration: .*/, with: "duration: …") == """
                    job id: \(Self.id)
                    status: running
                    reason: no capacity
                    start time: 30 Nov 26 02:30:00 UTC
                    end time: -
                    duration: …

                    batch stats
                    total   succeeded   failed attempts   avg time per batch
                    4       2           1                 500 ms

                    items: 16 in total, 8 succeeded, 1 failed, 0 cancelled, 4 in queue, 3 in progress

                    worker stats
                    Requested   Pending   Creating   Ready   NotReady   KilledOOM   Succeeded
                    2           0         0          1       0          1           0

                    job endpoint: http://x/sum?jobID=\(Self.id)

                    job configuration
                    {
                      "job_id": "\(Self.id)",
                      "api_name": "sum",
                      "kind": "BatchAPI",
                      "workers": 2,
                      "config": {"k": 1.0},
                      "timeout": null,
                      "api_id": "i"
                    }

                    """, "\(view.errors)")
            let json = try await run("get sum \(Self.id) -e local -o json", folder)
            #expect(json.output == Self.batch(.running, more) + "\n")
        }
    }

    // MARK: Results and logs

    private static func results(_ text: String) -> StubPlatform.Response {
        .init(contentType: "application/jsonl", parts: [text], headers: [("X-Cortex-Next", "c")])
    }

    @Test("B8: results go to standard output, or continue a file where it ends")
    func results() async throws {
        try await with { stub, folder in
            let route = "GET /batch/sum/\(Self.id)/results"
            let lines = #"{"index":0,"result":1}"# + "\n" + #"{"index":1,"result":2}"# + "\n"
            stub.on(route, Self.results(lines))
            let printed = try await run("results sum \(Self.id) --failed", folder)
            #expect(printed.status == 0 && printed.output == lines, "\(printed.errors)")
            #expect(stub.last(route)?.target.hasSuffix("?status=failed") == true)
            let file = folder.appending(path: "out.jsonl")
            for begin in ["", String(lines.prefix(10)), lines] {
                try Data(begin.utf8).write(to: file)
                let process = try await run("results sum \(Self.id) -o out.jsonl", folder)
                #expect(process.status == 0 && process.output.isEmpty, "\(process.errors)")
                #expect(try String(contentsOf: file, encoding: .utf8) == lines)
            }
            for other in ["something else", lines + "more"] {
                try Data(other.utf8).write(to: file)
                let process = try await run("results sum \(Self.id) -o out.jsonl", folder)
                #expect(process.status == 1 && process.errors.contains("holds something else than the results"))
                #expect(try String(contentsOf: file, encoding: .utf8) == other, "the file is unchanged")
            }
            let task = try await run("results train \(Self.id)", folder)
            #expect(task.status == 1 && task.errors.contains("cortex artifacts"), "\(task.errors)")
        }
    }

    @Test("B10: results --merged prints the last line of each item of a chain of retries")
    func merged() async throws {
        try await with { stub, folder in
            let route = "GET /batch/sum/\(Self.id)/results"
            let lines = #"{"index":0,"result":1}"# + "\n"
            stub.on(route, Self.results(lines))
            let printed = try await run("results sum \(Self.id) --merged", folder)
            #expect(printed.status == 0 && printed.output == lines, "\(printed.errors)")
            #expect(stub.last(route)?.target.hasSuffix("?merged=true") == true)
            _ = try await run("results sum \(Self.id) --merged --failed", folder)
            #expect(stub.last(route)?.target.hasSuffix("?merged=true&status=failed") == true)
            let refused = try await run("results sum \(Self.id) --merged --follow", folder)
            #expect(refused.status == 2 && refused.errors.contains("exclude each other"), "\(refused.errors)")
        }
    }

    @Test("J12: the log of a job has the worker in front, and a followed one ends with the job")
    func logs() async throws {
        try await with { stub, folder in
            let lines = [
                #"{"attempt":1,"container":"c","replica":"r","text":"one","worker":0}"#,
                #"{"attempt":2,"container":"c","replica":"r","text":"two","worker":1}"#,
            ]
            stub.on("GET /logs/sum", .init(parts: [lines.joined(separator: "\n") + "\n"]))
            stub.on("GET /batch/sum/\(Self.id)", .json(Self.batch(.succeeded)))
            let shown = try await run(
                "logs sum \(Self.id) --worker 1 --attempt 2 --container c --tail 5 --follow", folder)
            #expect(shown.status == 0, "\(shown.errors)")
            #expect(shown.output == "worker-0/c | one\nworker-1.2/c | two\n")
            #expect(
                stub.last("GET /logs/sum")?.target
                    == "/logs/sum?follow=true&tail=5&container=c&jobID=\(Self.id)&worker=1&attempt=2")
            let json = try await run("logs sum \(Self.id) -o json", folder)
            #expect(json.output == lines.joined(separator: "\n") + "\n")
        }
    }

    // MARK: Artifacts

    private func artifacts(_ names: [String], on stub: StubPlatform) {
        let list = names.map { #"{"worker":0,"attempt":1,"path":"\#($0)","size":3,"sha256":"00"}"# }
        stub.on("GET /tasks/train/\(Self.id)/artifacts", .json(#"{"artifacts":[\#(list.joined(separator: ","))]}"#))
    }

    @Test("T6: artifacts are listed, printed and downloaded")
    func download() async throws {
        try await with { stub, folder in
            artifacts(["a b/x.txt", "y"], on: stub)
            stub.on("GET /tasks/train/\(Self.id)/artifacts/0/a%20b/x.txt", .init(parts: ["one"]))
            stub.on("GET /tasks/train/\(Self.id)/artifacts/0/y", .init(parts: ["two"]))
            let list = try await run("artifacts train \(Self.id)", folder)
            #expect(
                list.output == """
                    path          attempt   bytes   sha256
                    0/a b/x.txt   1         3       00
                    0/y           1         3       00

                    """, "\(list.errors)")
            #expect(
                try await run("artifacts train \(Self.id) --json", folder).output.contains(#""path" : "a b/x.txt""#))
            #expect(try await run("artifacts train \(Self.id) 0/y", folder).output == "two")
            let all = try await run("artifacts train \(Self.id) -o out", folder)
            #expect(all.status == 0 && all.output.isEmpty, "\(all.errors)")
            #expect(try String(contentsOf: folder.appending(path: "out/0/a b/x.txt"), encoding: .utf8) == "one")
            #expect(try String(contentsOf: folder.appending(path: "out/0/y"), encoding: .utf8) == "two")
            let some = try await run("artifacts train \(Self.id) 0/y -o some", folder)
            #expect(some.status == 0 && some.errors == "some/0/y\n")
            stub.on("GET /tasks/train/\(Self.id)/artifacts/0/y", .init(parts: ["too long"]))
            let wrong = try await run("artifacts train \(Self.id) 0/y -o out", folder)
            #expect(wrong.status == 1 && wrong.errors.contains("did not arrive as a whole"))
            #expect(try String(contentsOf: folder.appending(path: "out/0/y"), encoding: .utf8) == "two")
            let missing = try await run("artifacts train \(Self.id) 0/z -o out", folder)
            #expect(missing.status == 1 && missing.errors.contains("has no artifact 0/z"))
        }
    }

    @Test("T6: no name leaves the folder", arguments: ["../x", "/etc/x", "a/../../x", "a//b", "."])
    func leaving(name: String) async throws {
        try await with { stub, folder in
            artifacts(["good", name], on: stub)
            let process = try await run("artifacts train \(Self.id) -o out", folder)
            #expect(
                process.status == 1 && process.errors.contains("would leave out; nothing was written"),
                "\(process.errors)")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/out"))
        }
    }

    @Test("T6: no symbolic link in the folder is followed")
    func links() async throws {
        try await with { stub, folder in
            artifacts(["a/x"], on: stub)
            stub.on("GET /tasks/train/\(Self.id)/artifacts/0/a/x", .init(parts: ["one"]))
            let manager = FileManager.default
            try manager.createDirectory(atPath: folder.path + "/out/0", withIntermediateDirectories: true)
            try manager.createDirectory(atPath: folder.path + "/elsewhere", withIntermediateDirectories: true)
            try manager.createSymbolicLink(
                atPath: folder.path + "/out/0/a", withDestinationPath: folder.path + "/elsewhere")
            let process = try await run("artifacts train \(Self.id) -o out", folder)
            #expect(process.status == 1 && process.errors.contains("cannot be written"), "\(process.errors)")
            #expect(try manager.contentsOfDirectory(atPath: folder.path + "/elsewhere").isEmpty)
        }
    }

    // MARK: Schedules

    @Test("J14: schedules are listed, run, suspended and resumed")
    func schedules() async throws {
        try await with { stub, folder in
            stub.on(
                "GET /tasks/train/schedules",
                .json(
                    #"{"schedules":[{"name":"nightly","cron":"0 3 * * *","time_zone":"Europe/Berlin","overlap":"skip","#
                        + #""catch_up":"latest","state":"active","last":{"planned_at":"2026-11-29T03:00:00+01:00","#
                        + #""job_id":"\#(Self.id)","status":"succeeded"},"next":["2026-11-30T03:00:00+01:00"],"skipped":[]},"#
                        + #"{"name":"often","every":90,"time_zone":"UTC","overlap":"allow","catch_up":"none","#
                        + #""state":"suspended","last":{"planned_at":"2026-11-29T03:00:30Z","skipped":"was down"},"#
                        + #""next":[],"skipped":[]}]}"#))
            let list = try await run("schedules train", folder)
            #expect(
                list.output == """
                    name      schedule                    state       last                          next
                    nightly   0 3 * * * (Europe/Berlin)   active      29 Nov 03:00 CET succeeded    30 Nov 03:00 CET
                    often     every 1m30s                 suspended   29 Nov 03:00:30 UTC skipped   -

                    """, "\(list.errors)")
            stub.on("POST /schedules/train/nightly/run", .json(Self.receipt))
            #expect(try await run("schedule run train nightly", folder).output == Self.id + "\n")
            for verb in ["suspend", "resume"] {
                stub.on("POST /schedules/train/nightly/\(verb)", .json(#"{"message":"\#(verb)ed"}"#))
                let process = try await run("schedule \(verb) train nightly", folder)
                #expect(process.status == 0 && process.output == "\(verb)ed\n", "\(process.errors)")
            }
        }
    }

    @Test("O2: ids of jobs and names of schedules are completed")
    func completion() async throws {
        try await with { stub, folder in
            let job = Self.batch(.running)
            let start = try #require(job.range(of: #""job_status":"#)).upperBound
            let end = try #require(job.range(of: #","metrics""#)).lowerBound
            stub.on("GET /batch/sum", .json(#"{"jobs":[\#(job[start..<end])]}"#))
            stub.on(
                "GET /tasks/train/schedules",
                .json(
                    #"{"schedules":[{"name":"nightly","cron":"0 3 * * *","time_zone":"UTC","overlap":"skip","#
                        + #""catch_up":"latest","state":"active","next":[],"skipped":[]}]}"#))
            stub.on(
                "GET /get",
                .json(
                    #"[{"metadata":{"name":"sum","kind":"BatchAPI","id":"i","deployment_id":"d","last_updated":1}},"#
                        + #"{"metadata":{"name":"hello","kind":"AsyncAPI","id":"i","deployment_id":"d","last_updated":1}}]"#
                ))
            for (argument, words, wanted) in [
                ("positional@1", ["results", "sum"], Self.id), ("positional@1", ["cancel", "sum"], Self.id),
                // Of those that can be retried there is none.
                ("positional@1", ["retry", "sum"], ""), ("positional@1", ["logs", "sum"], Self.id),
                ("positional@1", ["delete", "sum"], Self.id), ("positional@0", ["jobs"], "sum"),
                ("positional@1", ["schedule", "run", "train"], "nightly"),
            ] {
                let line = ["cortex"] + words + [""]
                let verb = words.filter { !["sum", "train"].contains($0) }
                let offered = try await CortexProcess.run(
                    ["---completion"] + verb + ["--", argument, "\(line.count - 1)", "0"] + line, folder: folder,
                    environment: ["SAP_SHELL": "bash"])
                #expect(offered.output.trimmingCharacters(in: .whitespacesAndNewlines) == wanted, "\(words)")
            }
        }
    }
}
