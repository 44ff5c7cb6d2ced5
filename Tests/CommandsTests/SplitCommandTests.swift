import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing
import Wire

@testable import Commands

/// `cortex split` as a process against a stub of the operator.
@Suite("X10: cortex split", .timeLimit(.minutes(2)))
struct SplitCommandTests {
    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                stub.on("GET /get/canary", .json(try Fixtures.json([Fixtures.splitter("canary")])))
                stub.on("GET /get/chat", .json(try Fixtures.json([Fixtures.api("chat", kind: .realtime)])))
                stub.on("POST /split/canary", .json(#"{"message":"canary now: v1 90, v2 10"}"#))
                try await body(stub, folder)
            }
        }
    }

    private func split(_ words: [String], _ folder: URL) async throws -> CortexProcess {
        try await CortexProcess.run(["split"] + words, folder: folder)
    }

    @Test("X10: weights are sent as one change, and the operator's answer is printed")
    func weights() async throws {
        try await with { stub, folder in
            let process = try await split(["canary", "v1=90", "v2=10"], folder)
            #expect(process.status == 0 && process.output == "canary now: v1 90, v2 10\n", "\(process.errors)")
            let request = try #require(stub.last("POST /split/canary"))
            let body = try JSONDecoder().decode([String: [String: Int]].self, from: Data(request.text.utf8))
            #expect(body == ["weights": ["v1": 90, "v2": 10]])
            #expect(request[header: "Content-Type"] == "application/json")
            #expect(request[header: "Authorization"] == "Bearer secret")
            let json = try await split(["canary", "v1=100", "v2=0", "-o", "json"], folder)
            #expect(json.output.contains("\"message\" : \"canary now: v1 90, v2 10\""))
        }
    }

    @Test("X10: --resume lets a target that was rolled back take requests again")
    func resume() async throws {
        try await with { stub, folder in
            let resumed = try await split(["canary", "--resume"], folder)
            #expect(resumed.status == 0 && stub.last("POST /split/canary")?.text == #"{"resume":true}"#)
            let both = try await split(["canary", "v1=1", "--resume"], folder)
            #expect(both.status == 2)
        }
    }

    @Test(
        "X10: a word that is no weight is a usage error, and nothing is sent",
        arguments: ["v1", "v1=", "=90", "v1=101", "v1=-1", "v1=9.5", "v1=90%", "v1=a=9", "v1=9 v1=91"])
    func wrongWeights(words: String) async throws {
        try await with { stub, folder in
            let process = try await split(["canary"] + words.split(separator: " ").map(String.init), folder)
            #expect(process.status == 2 && process.output.isEmpty)
            #expect(process.errors.contains("write it like chat-v1=90") || process.errors.contains("two weights"))
            #expect(stub.requests.isEmpty)
        }
    }

    @Test("X10: refusals of the operator exit with 1: a sum that is not 100, a change at the same time")
    func refusals() async throws {
        try await with { stub, folder in
            stub.on("POST /split/canary", .error(400, "bad_request", "the weights sum to 99, and must to 100"))
            let sum = try await split(["canary", "v1=89", "v2=10"], folder)
            #expect(sum.status == 1 && sum.errors == "error: the weights sum to 99, and must to 100\n")
            stub.on("POST /split/canary", .error(409, "conflict", "canary was changed at the same time"))
            #expect(try await split(["canary", "v1=90", "v2=10"], folder).status == 1)
        }
    }

    @Test("X11: without weights it shows the targets; a RealtimeAPI has none")
    func targets() async throws {
        try await with { stub, folder in
            let process = try await split(["canary"], folder)
            #expect(
                process.output.hasPrefix(
                    """
                    target        weight   served   error rate   p99
                    v1            100      99.9%    0.2%         120 ms
                    v2            0        <0.1%    100%         1.5 ms
                    v3 (shadow)   5        5.0%     -            -
                    shadow: 120 copies, 3 given up; the same status in 100%, the same body in 98.1%
                    rolled back: v2 from weight 10,
                    """), "\(process.output)")
            #expect(
                process.output.hasSuffix(
                    """
                     ago: 12 of 40 requests failed, 5% may
                    to resume: cortex split canary --resume

                    """))
            let json = try await split(["canary", "-o", "json"], folder)
            let apis = try JSONDecoder().decode([APIDocument].self, from: Data(json.output.utf8))
            #expect(apis == [Fixtures.splitter("canary")])
            let wrong = try await split(["chat"], folder)
            #expect(wrong.status == 1)
            #expect(wrong.errors == "error: chat is a RealtimeAPI; only a TrafficSplitter has weights\n")
            #expect(stub.count("POST /split/canary") == 0)
        }
    }

    @Test("X11: get and describe show the targets with the state of their APIs, in 80 columns")
    func detail() async throws {
        try await with { stub, folder in
            let v1 = Fixtures.api("v1", kind: .realtime, replicas: [Fixtures.replica("v1-a", .ready)])
            stub.on("GET /get", .json(try Fixtures.json([v1, Fixtures.splitter("canary")])))
            stub.on("GET /describe/canary", .json(try Fixtures.json([Fixtures.splitter("canary")])))
            for verb in ["get", "describe"] {
                let seen = try await CortexProcess.onTerminal(
                    [verb, "canary"], folder: folder, environment: ["NO_COLOR": "1"], typing: [])
                let lines = seen.text.replacing("\r\n", with: "\n").split(separator: "\n")
                #expect(lines.allSatisfy { $0.count <= 80 }, "\(seen.text)")
                #expect(lines.first == "env     apis          weights   live   up-to-date   last update")
                #expect(lines.contains { $0.hasPrefix("local   v1            100       1/1    1 ") }, "\(seen.text)")
                #expect(lines.contains("local   v2            0         -      -            -"))
                #expect(lines.contains("last minute   served   error rate   p99"))
                #expect(lines.contains { $0.hasPrefix("rolled back: v2 from weight 10, ") })
            }
            let list = try await CortexProcess.run(["get"], folder: folder)
            #expect(list.output.contains("env     traffic splitter   apis   last update   state\n"))
            #expect(list.output.hasSuffix("v2 is rolled back\n"), "\(list.output)")
            stub.on("GET /logs/canary", .error(400, "bad_request", "canary has no replicas: see v1, v2, v3"))
            let logs = try await CortexProcess.run(["logs", "canary", "--random-pod"], folder: folder)
            #expect(logs.status == 1 && logs.errors.contains("see v1, v2, v3"))
        }
    }
}
