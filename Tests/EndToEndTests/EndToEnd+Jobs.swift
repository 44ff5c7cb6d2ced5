import Core
import Foundation
import NIOHTTP1
import TestSupport
import Testing

extension EndToEnd {
    @Suite("BatchAPI and TaskAPI")
    struct Jobs {
        static let engines = Platform.EngineKind.allCases

        @Test(
            "B1, B3, B5–B9, B11, J1–J4, J8: a job of items runs to its end on two workers, with exact counts and one line an item",
            arguments: engines)
        func items(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(file: try await platform.batchYAML("jb-sum"))
            let items = (0..<20).map { #"{"echo": \#($0).50}"# }.joined(separator: " , ")
            let job = try await platform.submit(
                "jb-sum",
                #"{"workers": 2, "config": {"k" : 1.0}, "item_list": {"items": [\#(items)], "batch_size": 3}}"#)
            let document = try await platform.jobEnded("jb-sum", job)
            let status = document["job_status"]
            #expect(status["status"].string == "succeeded", "\(document)")
            #expect(status["total_batch_count"].int == 7)
            #expect(status["item_counts"]["succeeded"].int == 20 && status["item_counts"]["total"].int == 20)
            #expect(status["on_job_complete"]["status"].string == "succeeded", "\(document)")
            #expect(document["metrics"]["succeeded"].int == 7)
            let lines = try await platform.lines("jb-sum", job)
            #expect(lines.compactMap { $0["index"].int }.sorted() == Array(0..<20))
            for line in lines {
                let result = line["result"]
                #expect(line["status"].string == "succeeded" && line["attempts"].int == 1)
                #expect(result["echo"].double == Double(line["index"].int ?? -1) + 0.5)
                #expect(result["batch"].int == (line["index"].int ?? 0) / 3)
                #expect(result["workers"].int == 2)
            }
            let text = try await HTTP.get("\(platform.addresses.gateway)/jb-sum/\(job)").text
            #expect(text.contains(#""config":{"k" : 1.0}"#), "\(text)")
            let list = try await HTTP.get("\(platform.addresses.gateway)/jb-sum?status=succeeded&limit=1")
            #expect(list.json?["jobs"][0]["job_id"].string == job, "\(list.text)")
            #expect(try await HTTP.call(.DELETE, "\(platform.addresses.gateway)/jb-sum/\(job)").status == 409)
            try await platform.delete("jb-sum")
        }

        @Test(
            "B2, B6, B7, B10: JSON Lines with failing items, a dying worker and a refused batch; a retry of the rest",
            arguments: engines)
        func failures(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(file: try await platform.batchYAML("jb-fail", environment: ["COMPLETE: \"404\""]))
            let url = "\(platform.addresses.gateway)/jb-fail"
            let body = """
                {"echo": 0}
                {"fail": true}

                {"die": "/mnt/died"}
                {"status": 500}
                {"echo": 4}
                """
            let answer = try await HTTP.post(
                "\(url)?workers=1&batch_size=2", Array(body.utf8), headers: [("Content-Type", "application/jsonl")])
            let job = try #require(answer.json?["job_id"].string, "\(answer.text)")
            let document = try await platform.jobEnded("jb-fail", job)
            #expect(document["job_status"]["status"].string == "completed_with_failures", "\(document)")
            #expect(document["job_status"]["on_job_complete"]["status"].string == "not_handled")
            let counts = document["job_status"]["item_counts"]
            #expect(counts["succeeded"].int == 2 && counts["failed"].int == 3, "\(document)")
            let failed = try await platform.lines("jb-fail", job, "?status=failed")
            #expect(failed.count == 2, "\(failed)")
            let kinds = failed.compactMap { $0["error"]["kind"].string }
            #expect(kinds.sorted() == ["container_status", "item_failed"], "\(failed)")
            let items = try await HTTP.get("\(url)/\(job)/items?status=failed")
            #expect(items.text.contains(#""item":{"status": 500}"#), "\(items.text)")

            let retried = try await HTTP.post("\(url)/\(job)/retry", Array(#"{"workers": 1}"#.utf8))
            let second = try #require(retried.json?["job_id"].string, "\(retried.text)")
            #expect(retried.json?["retry_of"].string == job)
            let again = try await platform.jobEnded("jb-fail", second)
            #expect(again["job_status"]["item_counts"]["total"].int == 3, "\(again)")
            let merged = try await platform.lines("jb-fail", second, "?merged=true")
            let indexes = merged.flatMap { line -> [Int] in
                let first = line["index"].int ?? 0
                if let count = line["count"].int { return Array(first..<first + count) }
                return line["indexes"].array?.compactMap(\.int) ?? [first]
            }
            #expect(indexes.sorted() == [0, 1, 2, 3, 4], "\(merged)")
            let sorted = try await platform.lines("jb-fail", second, "?merged=true&order=index")
            let firsts = sorted.compactMap { $0["index"].int ?? $0["indexes"][0].int }
            #expect(sorted.count == merged.count && firsts == firsts.sorted(), "\(sorted)")
            for other in ["follow=true", "after=r1.0", "order=size"] {
                let refused = try await HTTP.get("\(url)/\(second)/results?merged=true&\(other)")
                #expect(refused.status == 400, "\(other): \(refused.text)")
            }
            try await platform.delete("jb-fail")
        }

        @Test("J5, B12: a stopped job ends at once, keeps what was recorded, and leaves no worker", arguments: engines)
        func stop(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(
                file: try await platform.batchYAML("jb-stop", pod: ["termination_grace_period: 1s"]))
            let url = "\(platform.addresses.gateway)/jb-stop"
            let items = [#"{"echo": 0}"#] + Array(repeating: #"{"sleep": 30}"#, count: 9)
            let job = try await platform.submit(
                "jb-stop",
                #"{"workers": 1, "item_list": {"items": [\#(items.joined(separator: ","))], "batch_size": 1}}"#)
            try await expectEventually(within: .seconds(60)) {
                let counts = try await HTTP.get("\(url)/\(job)").json?["job_status"]["item_counts"]
                return counts?["succeeded"].int == 1 && counts?["in_progress"].int == 1
            }
            let answer = try await HTTP.call(.DELETE, "\(url)?jobID=\(job)")
            #expect(answer.json?["message"].string == "stopped job \(job)", "\(answer.text)")
            let document = try await platform.jobEnded("jb-stop", job)
            #expect(document["job_status"]["status"].string == "stopped", "\(document)")
            let counts = document["job_status"]["item_counts"]
            #expect(counts["succeeded"].int == 1 && counts["cancelled"].int == 9, "\(document)")
            #expect(try await platform.lines("jb-stop", job).count == 1)
            try await platform.delete("jb-stop")
        }

        @Test("B12, J4: a worker that cannot start shows its reason, and ends the job", arguments: engines)
        func badWorker(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(
                file: try await platform.batchYAML("jb-bad", command: #"[sh, -c, "echo no luck; exit 3"]"#))
            let job = try await platform.submit(
                "jb-bad", #"{"workers": 1, "item_list": {"items": [1], "batch_size": 1}}"#)
            let document = try await platform.jobEnded("jb-bad", job)
            #expect(document["job_status"]["status"].string == "worker_error", "\(document)")
            #expect(document["job_status"]["reason"].string?.contains("no luck") == true, "\(document)")
            #expect(document["job_status"]["item_counts"]["cancelled"].int == 1)
            try await platform.delete("jb-bad")
        }

        @Test(
            "T1, T2, T5, T6, T8, J8, J12: a task of two workers leaves artifacts, results and logs", arguments: engines)
        func task(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let script = """
                echo worker $CORTEX_WORKER_INDEX of $CORTEX_WORKER_COUNT says $WORD; cat /cortex/spec/job.json; \
                mkdir /cortex/artifacts/sub; echo hello > /cortex/artifacts/sub/file; ln -s /etc/passwd /cortex/artifacts/link; \
                echo "{\\"worker\\": $CORTEX_WORKER_INDEX}" > /cortex/artifacts/result.json
                """
            try await platform.deploy(file: try await platform.taskYAML("jt-art", script: script))
            let url = "\(platform.addresses.gateway)/jt-art"
            let job = try await platform.submit("jt-art", #"{"workers": 2, "env": {"WORD": "yes"}}"#)
            let document = try await platform.jobEnded("jt-art", job)
            let status = document["job_status"]
            #expect(status["status"].string == "succeeded", "\(document)")
            #expect(status["attempts"].array?.map { $0["status"].string ?? "" } == ["succeeded", "succeeded"])
            #expect(status["results"][1]["worker"].int == 1, "\(document)")
            let artifacts = try await HTTP.get("\(url)/\(job)/artifacts")
            #expect(
                artifacts.json?["artifacts"].array?.compactMap { $0["path"].string }
                    == ["result.json", "sub/file", "result.json", "sub/file"], "\(artifacts.text)")
            #expect(artifacts.json?["omitted"][0]["path"].string == "link", "\(artifacts.text)")
            let file = try await HTTP.call(
                .GET, "\(url)/\(job)/artifacts/1/sub/file", headers: [("Range", "bytes=1-3")])
            #expect(file.status == 206 && file.text == "ell", "\(file)")
            let archive = try await HTTP.get("\(url)/\(job)/artifacts.tar")
            #expect(archive.text.contains("0/sub/file") && archive.text.contains("hello\n"))
            let logs = try await platform.cli("logs", "jt-art", job)
            #expect(logs.output.contains("worker 0 of 2 says yes"), "\(logs)")
            #expect(logs.output.contains("worker 1 of 2 says yes"), "\(logs)")
            #expect(logs.output.contains(#""job_id": "\#(job)""#), "\(logs)")
            try await platform.delete("jt-art")
        }

        @Test(
            "J1, J8, C10, N1: a task submits and reads jobs of another API from inside its pod, and cannot deploy",
            arguments: engines)
        func inside(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let script = #"""
                cat > /tmp/call.py <<'END'
                import json, re, urllib.error, urllib.request
                operator = "http://ingressgateway-operator.istio-system.svc.cluster.local"
                gateway = "http://ingressgateway-apis.istio-system.svc.cluster.local"
                token = re.search(r"token: (\S+)", open("/cortex/client/cli.yaml").read()).group(1)
                def call(method, url, body=None, signed=False):
                    headers = {"Content-Type": "application/json"}
                    if signed:
                        headers["Authorization"] = "Bearer " + token
                    request = urllib.request.Request(url, data=body, headers=headers, method=method)
                    try:
                        with urllib.request.urlopen(request, timeout=60) as answer:
                            return answer.status, json.load(answer)
                    except urllib.error.HTTPError as error:
                        return error.code, json.load(error)
                ways = {"operator": (operator + "/tasks/jt-other", False), "signed": (operator + "/tasks/jt-other", True),
                        "gateway": (gateway + "/jt-other", False)}
                result = {}
                for name, (base, signed) in ways.items():
                    status, job = call("POST", base, b"{}", signed)
                    result[name] = [status, call("GET", base + "/" + job["job_id"], None, signed)[0], job["job_id"]]
                result["get"] = [call("GET", operator + "/get", None, True)[0], call("GET", operator + "/get")[0]]
                result["deploy"] = call("POST", operator + "/deploy", b"[]", True)
                json.dump(result, open("/cortex/artifacts/result.json", "w"))
                END
                python3 /tmp/call.py
                """#
            try await platform.deploy(file: try await platform.taskYAML("jt-other", script: "true"))
            try await platform.deploy(file: try await platform.taskYAML("jt-inside", script: script))
            let job = try await platform.submit("jt-inside", "{}")
            let document = try await platform.jobEnded("jt-inside", job)
            #expect(document["job_status"]["status"].string == "succeeded", "\(document)")
            let result = document["job_status"]["result"]
            for way in ["operator", "signed", "gateway"] {
                #expect(result[way][0].int == 200 && result[way][1].int == 200, "\(way): \(document)")
                let submitted = try await platform.jobEnded("jt-other", try #require(result[way][2].string))
                #expect(submitted["job_status"]["status"].string == "succeeded", "\(submitted)")
            }
            #expect(result["get"][0].int == 200 && result["get"][1].int == 401, "\(document)")
            #expect(
                result["deploy"][0].int == 403 && result["deploy"][1]["error"]["kind"].string == "forbidden",
                "\(document)")
            for name in ["jt-inside", "jt-other"] { try await platform.delete(name) }
        }

        @Test("T3, T8: an attempt that fails is repeated as declared; the last one decides", arguments: engines)
        func attempts(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(
                file: try await platform.taskYAML(
                    "jt-retry", script: "echo try $CORTEX_ATTEMPT; [ $CORTEX_ATTEMPT = 2 ] || exit 7",
                    api: ["retries: {max_attempts: 3, on: [exit], backoff: 0s}"]))
            let job = try await platform.submit("jt-retry", "{}")
            let document = try await platform.jobEnded("jt-retry", job)
            #expect(document["job_status"]["status"].string == "succeeded", "\(document)")
            let attempts = document["job_status"]["attempts"].array ?? []
            #expect(attempts.map { $0["status"].string ?? "" } == ["exit", "succeeded"], "\(document)")
            #expect(attempts.first?["exit_code"].int == 7)
            #expect(attempts.first?["reason"].string?.contains("try 1") == true, "\(document)")
            let one = try await platform.submit("jt-retry", #"{"retries": {"max_attempts": 1}}"#)
            let failed = try await platform.jobEnded("jt-retry", one)
            #expect(failed["job_status"]["status"].string == "worker_error", "\(failed)")
            #expect(failed["job_status"]["reason"].string?.contains("worker 0") == true)
            try await platform.delete("jt-retry")
        }

        @Test(
            "J14: a schedule makes one job for each planned time until it is suspended",
            arguments: [Platform.EngineKind.sandbox])
        func schedule(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.deploy(
                file: try await platform.taskYAML(
                    "jt-tick", script: "echo $CORTEX_SCHEDULED_TIME",
                    api: ["schedules: [{name: tick, every: 1s, overlap: allow}]"]))
            let url = "\(platform.addresses.gateway)/jt-tick"
            try await expectEventually(within: .seconds(60)) {
                try await HTTP.get(url).json?["jobs"].array?.count ?? 0 >= 3
            }
            let suspended = try await platform.cli("schedule", "suspend", "jt-tick", "tick")
            #expect(suspended.status == 0, "\(suspended)")
            let jobs = try #require(try await HTTP.get(url).json?["jobs"].array)
            let times = jobs.compactMap { $0["schedule"]["planned_at"].string }
            #expect(times.count == jobs.count && Set(times).count == times.count, "\(times)")
            let state = try await HTTP.get("\(url)/schedules").json?["schedules"][0]
            #expect(state?["state"].string == "suspended" && state?["next"].array?.isEmpty == true)
            try await platform.delete("jt-tick")
        }
    }
}

extension Platform {
    /// `cortex.yaml` of a BatchAPI whose container is `Fixtures/jobs.py`.
    func batchYAML(
        _ name: String, api: [String] = [], pod: [String] = [], environment: [String] = [],
        command: String = "[python3, /app/jobs.py]"
    ) async throws -> String {
        try await jobYAML(name, "BatchAPI", api: api, pod: pod, environment: environment, command: command)
    }

    /// `cortex.yaml` of a TaskAPI that runs a shell script.
    func taskYAML(_ name: String, script: String, api: [String] = [], pod: [String] = []) async throws -> String {
        let quoted = String(decoding: try JSONEncoder().encode(script), as: UTF8.self)
        return try await jobYAML(name, "TaskAPI", api: api, pod: pod, environment: [], command: "[sh, -c, \(quoted)]")
    }

    private func jobYAML(
        _ name: String, _ kind: String, api: [String], pod: [String], environment: [String], command: String
    ) async throws -> String {
        var lines =
            ["- name: \(name)", "  kind: \(kind)"] + api.map { "  \($0)" } + ["  pod:"] + pod.map { "    \($0)" }
        lines += ["    containers:", "      - name: main"]
        if engine == .podman { lines.append("        image: \(try await TestImage.python())") }
        lines.append("        command: \(command)")
        lines.append(#"        volumes: ["\#(Self.fixtures):/app:ro"]"#)
        if !environment.isEmpty { lines += ["        env:"] + environment.map { "          \($0)" } }
        return lines.joined(separator: "\n") + "\n"
    }

    /// Submits a job and returns its id.
    func submit(_ name: String, _ body: String) async throws -> String {
        let answer = try await HTTP.post("\(addresses.gateway)/\(name)", Array(body.utf8))
        guard answer.status == 200, let id = answer.json?["job_id"].string else {
            throw PlatformError(.internal, "the submission answered \(answer.status): \(answer.text)")
        }
        return id
    }

    /// Waits until a job has ended, and returns its document.
    func jobEnded(_ name: String, _ job: String) async throws -> JSON {
        let deadline = ContinuousClock.now + .seconds(120)
        while true {
            let answer = try await HTTP.get("\(addresses.gateway)/\(name)/\(job)?wait=20")
            let document = try #require(answer.json, "\(answer.text)")
            let status = document["job_status"]["status"].string ?? "?"
            if !["pending", "enqueuing", "running"].contains(status) { return document }
            if ContinuousClock.now > deadline { throw PlatformError(.timedOut, "still \(status): \(answer.text)") }
        }
    }

    /// The results of a job.
    func lines(_ name: String, _ job: String, _ query: String = "") async throws -> [JSON] {
        let answer = try await HTTP.get("\(addresses.gateway)/\(name)/\(job)/results\(query)")
        #expect(answer.status == 200, "\(answer.text)")
        return answer.text.split(separator: "\n").compactMap { JSON($0.utf8) }
    }
}
