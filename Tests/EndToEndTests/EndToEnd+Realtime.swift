import Core
import Foundation
import NIOHTTP1
import TestSupport
import Testing

extension EndToEnd {
    @Suite("RealtimeAPI")
    struct Realtime {
        static let engines = Platform.EngineKind.allCases

        @Test(
            "R1, R4, R18: a RealtimeAPI and an AsyncAPI of one file serve side by side; after delete the path is 404 at once",
            arguments: engines)
        func bothKinds(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let text = try await platform.realtimeYAML("rt-plain") + (try await platform.yaml("rt-async"))
            try await platform.deploy(file: text)
            let answer = try await platform.get("/rt-plain/a//b/../c;x=%2F?q=1&q")
            #expect(answer.status == 200 && answer.origin == "api", "\(answer.text)")
            #expect(answer.json?["path"].string == "/a//b/../c;x=%2F?q=1&q")
            #expect(answer.json?["prefix"].string == "/rt-plain")
            #expect(answer.headers.first(name: "X-Cortex-Request-ID")?.split(separator: "-")[2].hasPrefix("7") == true)
            let stored = TestAPI(platform: platform, name: "rt-async")
            #expect(try await stored.result("[1]", do: "verbatim")[0].int == 1)
            let put = try await platform.cli("call", "rt-plain", "/x", "-X", "PUT", "-d", "text")
            #expect(put.status == 0 && put.output.contains("PUT"), "\(put)")
            let list = try await platform.cli("get")
            #expect(list.output.contains("realtime api") && list.output.contains("async api"), "\(list)")

            #expect(try await platform.cli("delete", "rt-plain", "-f").status == 0)
            let gone = try await platform.get("/rt-plain/a")
            #expect(gone.status == 404 && gone.origin == "gateway" && gone.kind == "not_found", "\(gone.text)")
            try await platform.delete("rt-async")
        }

        @Test(
            "R23: from a pod, through a splitter: a request, a stream as it is written, an upgraded connection",
            arguments: engines)
        func chaining(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let splitter = """
                - name: rt-split
                  kind: TrafficSplitter
                  apis: [{name: rt-inner, weight: 100}]

                """
            try await platform.deploy(
                file: try await platform.realtimeYAML("rt-inner") + (try await platform.realtimeYAML("rt-outer"))
                    + splitter)
            let host = ClusterNames.gateway
            /// What a container receives when it sends `steps`: a text, and the text that ends what is read for it.
            func exchange(_ steps: [[String]]) async throws -> JSON {
                let wanted: [String: Any] = ["host": host, "port": 80, "steps": steps]
                let body = Array(try JSONSerialization.data(withJSONObject: wanted))
                let answer = try await HTTP.post("\(platform.addresses.gateway)/rt-outer/exchange", body)
                #expect(answer.status == 200, "\(answer.text)")
                return try #require(answer.json)
            }
            for (endpoint, api) in [("/rt-inner", nil), ("/rt-split", "rt-inner")] {
                let head = "HTTP/1.1\r\nHost: \(host)\r\n"
                let plain = try await exchange([["GET \(endpoint)/x?y \(head)\r\n", "}"]])
                #expect(plain["text"].string?.hasPrefix("HTTP/1.1 200") == true, "\(plain)")
                #expect(
                    plain["text"].string?.contains(#""path": "/x?y", "prefix": "\#(endpoint)""#) == true, "\(plain)")
                if let api {
                    #expect(plain["text"].string?.lowercased().contains("x-cortex-api: \(api)") == true, "\(plain)")
                }
                let stream = try await exchange([["GET \(endpoint)/stream \(head)\r\n", "0\r\n\r\n"]])
                let moments = ["one\n", "end\n"].map { word in
                    stream["pieces"].array?.first { $0[1].string?.contains(word) == true }?[0].double ?? .nan
                }
                // The container pauses for 0.6 s between the two.
                #expect(moments[1] - moments[0] > 0.4, "\(stream)")
                let upgraded = try await exchange([
                    ["GET \(endpoint)/upgrade \(head)Connection: upgrade\r\nUpgrade: test\r\n\r\n", "\r\n\r\n"],
                    ["ping", "<ping>"], ["pong", "<pong>"],
                ])
                #expect(upgraded["text"].string?.hasPrefix("HTTP/1.1 101") == true, "\(upgraded)")
                #expect(upgraded["closed"].bool == false, "\(upgraded)")
            }
            let used = try await platform.cli("delete", "rt-inner", "-f")
            #expect(used.status == 1 && used.errors.contains("rt-split"), "\(used)")
            try await platform.delete("rt-split", "rt-inner", "rt-outer")
        }

        @Test(
            "R18: refresh, update, rollback, scale-up and scale-down under 20 callers: only the container's responses",
            arguments: [Platform.EngineKind.sandbox])
        func changes(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            func deploy(version: Int, replicas: Int) async throws {
                try await platform.deploy(
                    file: try await platform.realtimeYAML(
                        "rt-busy", api: ["autoscaling: {min_replicas: \(replicas), max_replicas: \(replicas)}"],
                        pod: ["max_concurrency: 10"], environment: ["VERSION: \"\(version)\""]))
            }
            try await deploy(version: 1, replicas: 1)
            let callers = RealtimeCallers()
            try await callers.run(20, calling: "\(platform.addresses.gateway)/rt-busy") {
                let before = try await platform.replicas(of: "rt-busy")
                #expect(try await platform.cli("refresh", "rt-busy").status == 0)
                try await expectEventually(within: .seconds(60), "the refresh did not end") {
                    let now = try await platform.replicas(of: "rt-busy")
                    return now.count == 1 && now != before
                }
                try await deploy(version: 2, replicas: 1)
                let rollback = try await platform.cli("rollback", "rt-busy", "--force", "--wait")
                #expect(rollback.status == 0, "\(rollback)")
                try await deploy(version: 1, replicas: 2)
                try await deploy(version: 1, replicas: 1)
                try await expectEventually(within: .seconds(60), "the scale-down did not end") {
                    try await platform.replicas(of: "rt-busy").count == 1
                }
            }
            #expect(callers.faults.isEmpty, "\(callers.faults.count): \(callers.faults.prefix(3))")
            #expect(callers.served.count > 100)
            #expect(callers.versions == ["1", "2"])
            try await platform.delete("rt-busy")
        }

        @Test(
            "R20: at zero a request starts a replica and is answered with origin activator, the next with origin api",
            arguments: [Platform.EngineKind.sandbox])
        func zero(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let scaling = """
                autoscaling: {min_replicas: 0, init_replicas: 1, window: 10s, downscale_stabilization_period: 0s}
                """
            try await platform.deploy(file: try await platform.realtimeYAML("rt-zero", api: [scaling]))
            try await expectEventually(within: .seconds(60), "it did not scale to zero") {
                let status = try await platform.describe("rt-zero")?["status"]
                return status?["requested"].int == 0 && status?["replicas"].array?.isEmpty == true
            }
            let woken = try await platform.get("/rt-zero/x")
            #expect(woken.status == 200 && woken.origin == "activator", "\(woken.text)")
            let next = try await platform.get("/rt-zero/x")
            #expect(next.status == 200 && next.origin == "api", "\(next.text)")
            try await platform.delete("rt-zero")
        }

        @Test(
            "R21: a replica that cannot start: 503 no_replica with the reason of describe, for waiting and for new requests",
            arguments: engines)
        func cannotStart(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            var text = try await platform.realtimeYAML(
                "rt-broken", command: engine == .podman ? "[python3, /app/realtime.py]" : "[/nonexistent/program]")
            if engine == .podman {
                text = text.replacing(try await TestImage.python(), with: "localhost/cortex-test-nothing:1")
            }
            try await platform.deploy(file: text, wait: false)
            for _ in 0..<2 {
                let answer = try await platform.get("/rt-broken/x")
                #expect(answer.status == 503 && answer.kind == "no_replica", "\(answer.text)")
                #expect(answer.origin == "gateway" && answer.headers.first(name: "Retry-After") != nil)
                let message = answer.json?["error"]["message"].string ?? ""
                let shown = try await platform.describe("rt-broken")?["status"]["replicas"].array ?? []
                let reasons = shown.compactMap { $0["reason"].string }
                #expect(reasons.contains { message.contains($0) }, "\(message); describe: \(reasons)")
            }
            try await platform.delete("rt-broken")
        }

        @Test(
            "S3, R10, R12: timeout, max_concurrency and max_queue_length hold for the next request and restart nothing",
            arguments: [Platform.EngineKind.sandbox])
        func limitsOnly(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            func deploy(timeout: String, concurrency: Int, queue: Int) async throws {
                try await platform.deploy(
                    file: try await platform.realtimeYAML(
                        "rt-limits", api: ["timeout: \(timeout)", "max_queue_time: 20s"],
                        pod: ["max_concurrency: \(concurrency)", "max_queue_length: \(queue)"]))
            }
            try await deploy(timeout: "10s", concurrency: 8, queue: 100)
            let before = try await platform.replicas(of: "rt-limits")
            #expect(try await platform.get("/rt-limits/sleep/0.5").status == 200)
            try await deploy(timeout: "200ms", concurrency: 8, queue: 100)
            let late = try await platform.get("/rt-limits/sleep/0.5")
            #expect(late.status == 504 && late.kind == "timeout", "\(late.text)")
            try await deploy(timeout: "10s", concurrency: 1, queue: 1)
            // Of three at once, one is inside, one waits, and one is refused.
            let statuses = try await withThrowingTaskGroup(of: HTTP.Answer.self) { group in
                for _ in 0..<3 { group.addTask { try await platform.get("/rt-limits/sleep/1") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.map(\.status).sorted() == [200, 200, 503], "\(statuses.map(\.text))")
            #expect(statuses.first { $0.status == 503 }?.kind == "queue_full")
            #expect(try await platform.replicas(of: "rt-limits") == before && before.count == 1)
            try await platform.delete("rt-limits")
        }

        @Test(
            "C7, R20: an exec readiness probe decides when a RealtimeAPI gets requests",
            arguments: [Platform.EngineKind.sandbox])
        func execProbe(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let probe =
                "readiness_probe: {exec: {command: [test, -e, /mnt/ready]}, period_seconds: 1, failure_threshold: 1}"
            try await platform.deploy(
                file: try await platform.realtimeYAML(
                    "rt-probed", container: [probe], environment: ["READY_FILE_AFTER: \"2\""]), wait: false)
            let first = try await platform.get("/rt-probed/x")
            #expect(first.status == 200 && first.origin == "activator", "\(first.text)")
            #expect(try await platform.get("/rt-probed/unready").status == 200)
            try await expectEventually { try await platform.describe("rt-probed")?["status"]["ready"].int == 0 }
            try await platform.delete("rt-probed")
        }

        @Test(
            "X1, X10: weights given on the command line hold for the next request; rollback undoes them",
            arguments: [Platform.EngineKind.sandbox])
        func weights(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let splitter = """
                - name: rt-shares
                  kind: TrafficSplitter
                  apis: [{name: rt-a, weight: 100}, {name: rt-b, weight: 0}]

                """
            let file = platform.folder.appending(path: "rt-shares.yaml")
            try splitter.write(to: file, atomically: true, encoding: .utf8)
            let early = try await platform.cli("deploy", file.path)
            #expect(early.status == 1 && early.errors.contains("rt-a"), "\(early)")
            try await platform.deploy(
                file: splitter + (try await platform.realtimeYAML("rt-a")) + (try await platform.realtimeYAML("rt-b")))
            func targets(_ count: Int) async throws -> [String] {
                var found: [String] = []
                for _ in 0..<count {
                    let answer = try await platform.get("/rt-shares/x")
                    #expect(answer.status == 200 && answer.origin == "api", "\(answer.text)")
                    found.append(answer.headers.first(name: "X-Cortex-API") ?? "none")
                }
                return found
            }
            #expect(try await targets(5) == Array(repeating: "rt-a", count: 5))
            let split = try await platform.cli("split", "rt-shares", "rt-a=0", "rt-b=100")
            #expect(split.status == 0 && split.output.contains("rt-shares now: rt-a 0, rt-b 100"), "\(split)")
            #expect(try await targets(5) == Array(repeating: "rt-b", count: 5))
            #expect(try await platform.cli("split", "rt-shares", "rt-a=30", "rt-b=70").status == 0)
            let shares = try await targets(100)
            #expect(shares.filter { $0 == "rt-a" }.count == 30)
            let wrong = try await platform.cli("split", "rt-shares", "rt-a=30", "rt-b=60")
            #expect(wrong.status == 1, "\(wrong)")
            #expect(try await platform.cli("rollback", "rt-shares").status == 0)
            #expect(try await targets(5) == Array(repeating: "rt-b", count: 5))
            try await platform.delete("rt-shares", "rt-a", "rt-b")
        }
    }
}
