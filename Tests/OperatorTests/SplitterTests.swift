import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("X: TrafficSplitters at the operator")
struct SplitterTests {
    static let targets = ["a", "b", "c"].map { target($0) }.joined()
    static let splitter = """
        - name: canary
          kind: TrafficSplitter
          apis: [{name: a, weight: 90}, {name: b, weight: 10}, {name: c, weight: 5, shadow: true}]
          guard: {api: b}

        """
    /// The splitter first: its targets are applied before it.
    static let file = splitter + targets

    static let report = SplitReport(
        state: .rolledBack, api: "b", weight: 10, reason: "12 of 40 requests failed", since: Timestamp(seconds: 7),
        targets: [
            .init(api: "a", weight: 100, served: 0.75, errorRate: 0.01, p99: 12.5), .init(api: "b", weight: 0),
            .init(
                api: "c", weight: 5, isShadow: true, served: 0.5, copies: 40, givenUp: 3, agreedStatus: 1,
                agreedBody: 0.25),
        ])

    private static func target(_ name: String) -> String {
        "- {name: \(name), kind: RealtimeAPI, pod: {containers: [{name: api, image: '\(name):1'}]}}\n"
    }

    private static func messages(_ reply: Fixture.Reply) throws -> [String] {
        try reply.decoded([DeployResultDocument].self).map { $0.message + $0.error }
    }

    // MARK: Deploy

    @Test("X1, X11: targets of the same file are applied first; a splitter is created, updated, up to date")
    func deploy() async throws {
        try await Fixture.with { fixture async throws in
            #expect(
                try Self.messages(try await fixture.deploy(Self.file)) == [
                    "created canary (TrafficSplitter)", "creating a (RealtimeAPI)", "creating b (RealtimeAPI)",
                    "creating c (RealtimeAPI)",
                ])
            #expect(try await fixture.store.deployedAPIs().map(\.name).sorted() == ["a", "b", "c", "canary"])
            #expect(fixture.orchestrator.applied.map(\.api) == ["a", "b", "c"], "it has no replicas")
            #expect(try await fixture.store.requestedReplicas(of: "canary") == nil)
            #expect(
                try Self.messages(try await fixture.deploy(Self.splitter)) == ["canary (TrafficSplitter) is up to date"]
            )
            let changed = Self.splitter.replacing("90", with: "80").replacing("10", with: "20")
            #expect(try Self.messages(try await fixture.deploy(changed)) == ["updated canary (TrafficSplitter)"])
            #expect(try await fixture.store.versions(of: "canary").count == 2)
        }
    }

    @Test("X1: a target that is neither deployed nor in the file is apis_not_deployed, and nothing is deployed")
    func missingTarget() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.deploy(Self.splitter + Self.target("a"))
            #expect(reply.status == 400)
            let problems = try #require(try reply.error.problems)
            #expect(problems.map(\.kind) == ["apis_not_deployed", "apis_not_deployed"])
            #expect(problems.map(\.path) == ["apis[1].name", "apis[2].name"])
            #expect(problems.map(\.line) == [3, 3])
            #expect(try await fixture.store.deployedAPIs().isEmpty)
            try await fixture.deploy(Self.targets + Fixture.file("iris"))
            let wrong = try await fixture.deploy(
                Self.splitter.replacing("name: b", with: "name: iris").replacing("api: b", with: "api: a"))
            #expect(try wrong.error.message.contains("iris is of kind AsyncAPI, and must be a RealtimeAPI"))
        }
    }

    @Test("X1: a splitter whose target could not be deployed is an error of its own")
    func failedTarget() async throws {
        try await Fixture.with { fixture in
            fixture.store.faults.withLock { $0.deploying = ["b"] }
            let results = try await fixture.deploy(Self.file).decoded([DeployResultDocument].self)
            #expect(results.map(\.errorKind) == ["conflict", nil, "store_unavailable", nil])
            #expect(results[0].error.contains("b is neither deployed"))
            #expect(try await fixture.store.deployedAPIs().map(\.name).sorted() == ["a", "c"])
        }
    }

    @Test("R24: a RealtimeAPI that a splitter names cannot be deleted, nor can it become another kind")
    func deleteTarget() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            for name in ["a", "c"] {
                let reply = try await fixture.call(.DELETE, "/delete/\(name)")
                #expect(reply.status == 409)
                #expect(try reply.error.kind == "realtime_api_used_by_traffic_splitter")
                #expect(try reply.error.message.contains("canary"))
            }
            #expect(fixture.orchestrator.deleted.isEmpty)
            #expect(try await fixture.call(.DELETE, "/delete/canary").status == 200)
            #expect(try await fixture.call(.DELETE, "/delete/a").status == 200)
        }
    }

    @Test("X1: a rollback to a version whose target is gone is refused")
    func rollbackToMissingTarget() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            try await fixture.deploy(
                "- {name: canary, kind: TrafficSplitter, apis: [{name: a, weight: 50}, {name: c, weight: 50}]}\n")
            #expect(try await fixture.call(.DELETE, "/delete/b").status == 200)
            let reply = try await fixture.call(.POST, "/rollback/canary")
            #expect(reply.status == 400)
            #expect(try reply.error.problems?.map(\.kind) == ["apis_not_deployed"])
        }
    }

    // MARK: Documents

    @Test("X11: get and describe show the targets with their traffic, the state, and no replicas")
    func documents() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            let api = try #require(try await fixture.store.deployedAPIs().first { $0.name == "canary" })
            let declared =
                #""status":{"ready":0,"requested":0,"split":{"since":"2027-01-15T08:00:00Z","state":"guarded"},"targets":[{"error_rate":null,"name":"a","p99_ms":null,"served":null,"shadow":false,"weight":90},{"error_rate":null,"name":"b","p99_ms":null,"served":null,"shadow":false,"weight":10},{"copies":0,"error_rate":null,"given_up":0,"name":"c","p99_ms":null,"served":null,"shadow":true,"weight":5}],"up_to_date":0}"#
            let list = try await fixture.call(.GET, "/get").body
            #expect(list.contains(#""num_traffic_splitter_targets":3,\#(declared)"#), "\(list)")
            #expect(list.hasSuffix("}]\n") && list.contains(#""kind":"TrafficSplitter""#))
            let names = try JSONDecoder().decode([APIDocument].self, from: Data(list.utf8)).compactMap(\.metadata?.name)
            #expect(names == ["a", "b", "c", "canary"], "splitters are last")
            let one = try await fixture.call(.GET, "/get/canary").body
            let spec =
                #""spec":{"allow_override":false,"apis":[{"name":"a","shadow":false,"weight":90},{"name":"b","shadow":false,"weight":10},{"name":"c","shadow":true,"weight":5}],"deployment_id":"\#(api.deploymentID)","fallback":true,"file_name":"cortex.yaml","guard":{"api":"b","baseline_factor":2,"max_error_rate":0.05,"max_p99":null,"min_requests":20,"window":60000000000},"id":"\#(api.id)","initial_deployment_time":1800000000000000000,"kind":"TrafficSplitter","last_updated":1800000000,"match":[],"name":"canary","networking":{"endpoint":"/canary"},"pod_id":"\#(api.podID)","spec_id":"\#(api.specID)","sticky":null,"submitted_api_spec""#
            #expect(one.contains(spec), "\(one)")
            #expect(one.contains(#""status_code":"status_live""#))
            #expect(
                try JSONDecoder().decode([APIDocument].self, from: Data(one.utf8))[0].spec?.splitter?.apis.count == 3)
            fixture.traffic.splits.withLock { $0["canary"] = Self.report }
            let details = try await fixture.call(.GET, "/describe/canary").body
            #expect(
                details.contains(
                    #""status":{"ready":0,"requested":0,"split":{"api":"b","reason":"12 of 40 requests failed","since":"1970-01-01T00:00:07Z","state":"rolled_back","weight":10},"targets":[{"error_rate":0.01,"name":"a","p99_ms":12.5,"served":0.75,"shadow":false,"weight":100},{"error_rate":null,"name":"b","p99_ms":null,"served":null,"shadow":false,"weight":0},{"agreed_body":0.25,"agreed_status":1,"copies":40,"error_rate":null,"given_up":3,"name":"c","p99_ms":null,"served":0.5,"shadow":true,"weight":5}],"up_to_date":0}"#
                ), "\(details)")
        }
    }

    @Test("X11: logs and refresh are 400 and name the targets; requests are 400 and name cortex call")
    func noReplicas() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            for (method, target, words) in [
                (HTTPMethod.GET, "/logs/canary", "cortex logs with one of its APIs: a, b, c"),
                (.POST, "/refresh/canary", "cortex refresh with one of its APIs: a, b, c"),
                (.GET, "/requests/canary", "cortex call canary"),
            ] {
                let reply = try await fixture.call(method, target)
                #expect(reply.status == 400)
                #expect(try reply.error.message.contains(words))
            }
        }
    }

    // MARK: POST /split

    private static func split(_ fixture: Fixture, _ body: String, _ name: String = "canary") async throws
        -> Fixture.Reply
    {
        try await fixture.call(.POST, "/split/\(name)", body: body)
    }

    @Test("X10: new weights are a new version, in the user's text too, which rollback undoes")
    func weights() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            let first = try #require(try await fixture.store.deployedAPIs().first { $0.name == "canary" })
            fixture.clock.advance(by: .seconds(1))
            let reply = try await Self.split(fixture, #"{"weights":{"b":40,"a":60}}"#)
            #expect(reply.status == 200 && reply.body == #"{"message":"canary now: a 60, b 40"}"# + "\n")
            let second = try #require(try await fixture.store.deployedAPIs().first { $0.name == "canary" })
            #expect(second.id < first.id && second.podID == first.podID)
            guard case .trafficSplitter(let splitter) = second.specification.kind else {
                Issue.record("no splitter")
                return
            }
            #expect(splitter.targets.map(\.weight) == [60, 40, 5] && splitter.guarding?.api == "b")
            #expect(
                second.submitted.contains(
                    #""apis":[{"name":"a","weight":60},{"name":"b","weight":40},{"name":"c","shadow":true,"weight":5}]"#
                ))
            let again = try await Self.split(fixture, #"{"weights":{"b":40,"a":60}}"#)
            #expect(again.status == 200)
            #expect(try await fixture.store.versions(of: "canary").count == 2, "the same weights are no new version")
            fixture.clock.advance(by: .seconds(1))
            #expect(try await fixture.call(.POST, "/rollback/canary").status == 200)
            let third = try #require(try await fixture.store.deployedAPIs().first { $0.name == "canary" })
            #expect(third.specID == first.specID)
        }
    }

    @Test(
        "X10: weights that are incomplete, not 100 or no weights are 400 and change nothing",
        arguments: [
            #"{"weights":{"a":100}}"#, #"{"weights":{"a":60,"b":41}}"#, #"{"weights":{"a":60,"b":40,"x":0}}"#,
            #"{"weights":{"a":60,"b":40,"c":5}}"#, #"{"weights":{"a":101,"b":-1}}"#,
            #"{"weights":{"a":60.5,"b":39.5}}"#,
            #"{"weights":{"a":"60","b":40}}"#, #"{"weights":[60,40]}"#, #"{"weights":{}}"#, #"{"resume":false}"#,
            #"{"resume":true,"weights":{"a":60,"b":40}}"#, #"{"pause":true}"#, "{}", "", "[]", "x",
        ])
    func badWeights(_ body: String) async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            let reply = try await Self.split(fixture, body)
            #expect(reply.status == 400)
            #expect(try reply.error.kind == "bad_request")
            #expect(try await fixture.store.versions(of: "canary").count == 1)
            #expect(fixture.resumed.value.isEmpty)
        }
    }

    @Test("X10: of two changes at once one wins and the other is 409")
    func race() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            var rival = try #require(try await fixture.store.deployedAPIs().first { $0.name == "canary" })
            rival.id = "rival"
            fixture.store.rivals.withLock { [rival] in $0 = [[rival]] }
            let lost = try await Self.split(fixture, #"{"weights":{"a":60,"b":40}}"#)
            #expect(lost.status == 409)
            let error = try lost.error
            #expect(error.kind == "conflict" && error.message.contains("cortex get canary"))
            #expect(try await fixture.store.deployedAPIs().contains { $0.id == "rival" })
            for round in 1...20 {
                async let first = Self.split(fixture, #"{"weights":{"a":\#(round),"b":\#(100 - round)}}"#)
                async let second = Self.split(fixture, #"{"weights":{"a":\#(round + 50),"b":\#(50 - round)}}"#)
                let statuses = try await [first.status, second.status]
                #expect(statuses.contains(200) && statuses.allSatisfy { [200, 409].contains($0) }, "\(statuses)")
            }
        }
    }

    @Test("X8, X10: resume ends a roll-back; the same weights do not, and say how")
    func resume() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            fixture.traffic.splits.withLock { $0["canary"] = Self.report }
            let same = try await Self.split(fixture, #"{"weights":{"a":90,"b":10}}"#)
            #expect(same.status == 409)
            #expect(try same.error.message.contains("cortex split canary --resume"))
            let reply = try await Self.split(fixture, #"{"resume":true}"#)
            #expect(reply.status == 200 && reply.body == #"{"message":"canary now: a 90, b 10"}"# + "\n")
            #expect(fixture.resumed.value == ["canary"])
            #expect(try await Self.split(fixture, #"{"weights":{"a":89,"b":11}}"#).status == 200)
        }
    }

    @Test("X10: only a splitter has weights")
    func otherKinds() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.targets)
            #expect(try await Self.split(fixture, #"{"resume":true}"#, "a").status == 400)
            #expect(try await Self.split(fixture, #"{"resume":true}"#, "none").status == 404)
        }
    }

    @Test("S3: rollbacks and deploys of the same API at once never wait for each other", .timeLimit(.minutes(1)))
    func noDeadlock() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            let changed = Self.splitter.replacing("90", with: "80").replacing("10", with: "20")
            for _ in 0..<20 {
                async let deployed = fixture.deploy(changed)
                async let back = fixture.call(.POST, "/rollback/canary")
                async let other = fixture.deploy(Self.file)
                _ = try await (deployed, back, other)
            }
        }
    }
}
