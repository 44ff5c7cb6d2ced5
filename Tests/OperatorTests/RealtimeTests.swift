import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("R24: RealtimeAPIs at the operator")
struct RealtimeTests {
    static let file = """
        - name: quick
          kind: RealtimeAPI
          pod:
            max_concurrency: 4
            containers:
              - {name: api, image: "quick:1", compute: {cpu: null}}
          max_payload: 1Mi
          sticky: {cookie: session}

        """

    static let report = TrafficReport(
        perSecond: 2.5,
        counts: TrafficReport.Counts(success2xx: 100, client4xx: 20, server5xx: 3, platformErrors: 1, other: 26),
        p50: 1.5, p90: 2, p99: 30.25, waiting: 4, inside: 5, upgraded: 1,
        replicas: ["iris-0": TrafficReport.Replica(inside: 5, success2xx: 100, server5xx: 3, p99: 30)])

    /// The whole of one version, byte for byte.
    private static let spec =
        #"{"autoscaling":{"downscale_stabilization_period":300000000000,"downscale_tolerance":0.05,"init_replicas":1,"max_downscale_factor":0.75,"max_replicas":100,"max_upscale_factor":1.5,"min_replicas":1,"target_in_flight":4,"upscale_stabilization_period":60000000000,"upscale_tolerance":0.05,"window":60000000000},"deployment_id":"DEPLOYMENT","file_name":"cortex.yaml","id":"ID","idle_timeout":null,"initial_deployment_time":1800000000000000000,"kind":"RealtimeAPI","last_updated":1800000000,"max_payload":1048576,"max_queue_time":300000000000,"name":"quick","networking":{"allow_origins":[],"endpoint":"/quick"},"pod":{"containers":[{"args":null,"command":null,"compute":{"cpu":null,"gpu":0,"mem":null,"shm":null},"env":{},"image":"quick:1","liveness_probe":null,"name":"api","pre_stop":null,"readiness_probe":null,"volumes":[]}],"max_concurrency":4,"max_queue_length":100,"port":8080,"termination_grace_period":60000000000},"pod_id":"POD","retries":{"backoff":0,"max_attempts":3,"on":["unreachable"]},"spec_id":"SPEC","sticky":{"cookie":"session"},"submitted_api_spec":{"kind":"RealtimeAPI","max_payload":"1Mi","name":"quick","pod":{"containers":[{"compute":{"cpu":null},"image":"quick:1","name":"api"}],"max_concurrency":4},"sticky":{"cookie":"session"}},"timeout":43200000000000,"update_strategy":{"max_surge":"25%","max_unavailable":"25%"}}"#

    @Test("R24: deploy, get and describe show the specification and the requests of the last minute")
    func documents() async throws {
        try await Fixture.with { fixture in
            let deployed = try await fixture.deploy(Self.file).decoded([DeployResultDocument].self)
            #expect(deployed.map(\.message) == ["creating quick (RealtimeAPI)"])
            let api = try await fixture.store.deployedAPIs()[0]
            let spec = Self.spec.replacing("DEPLOYMENT", with: api.deploymentID)
                .replacing("\"ID\"", with: "\"\(api.id)\"").replacing("\"POD\"", with: "\"\(api.podID)\"")
                .replacing("\"SPEC\"", with: "\"\(api.specID)\"")
            let idle =
                #""requests":{"client_4xx":0,"inside":0,"p50_ms":null,"p90_ms":null,"p99_ms":null,"per_second":null,"platform_errors":0,"server_5xx":0,"success_2xx":0,"upgraded":0,"waiting":0}"#
            let one = try await fixture.call(.GET, "/get/quick").body
            #expect(
                one.contains(#""spec":\#(spec),"status":{"ready":0,"requested":1,\#(idle),"status_code""#), "\(one)")
            #expect(
                try JSONDecoder().decode([APIDocument].self, from: Data(one.utf8))[0].spec?.proxy?.maxPayload == 1 << 20
            )
            fixture.traffic.reports.withLock { $0["quick"] = Self.report }
            fixture.orchestrator.setStatus(.of(.ready, 2), of: "quick")
            let busy =
                #""requests":{"client_4xx":20,"inside":5,"p50_ms":1.5,"p90_ms":2,"p99_ms":30.25,"per_second":2.5,"platform_errors":1,"server_5xx":3,"success_2xx":100,"upgraded":1,"waiting":4}"#
            #expect(
                try await fixture.call(.GET, "/get").body.contains(
                    #""status":{"ready":2,"requested":2,\#(busy),"up_to_date":2}"#))
            let details = try await fixture.call(.GET, "/describe/quick").body
            #expect(details.contains(busy))
            #expect(
                details.contains(
                    #"{"id":"iris-0","in_flight":0,"inside":5,"p99_ms":30,"restarts":0,"server_5xx":3,"started_at":1800000000,"state":"ready","success_2xx":100},{"id":"iris-1","in_flight":0,"inside":0,"p99_ms":null,"restarts":0,"server_5xx":0,"started_at":1800000000,"state":"ready","success_2xx":0}"#
                ), "\(details)")
        }
    }

    @Test("R24: requests and retry are 400 and name cortex call")
    func noQueue() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            for (method, target) in [(HTTPMethod.GET, "/requests/quick"), (.POST, "/retry/quick/x")] {
                let reply = try await fixture.call(method, target)
                #expect(reply.status == 400)
                #expect(try reply.error.kind == "bad_request")
                #expect(try reply.error.message.contains("cortex call quick"))
            }
        }
    }

    @Test("R10, R18: a change of limits, times or endpoint does not touch the pod; the number of replicas stays")
    func podUntouched() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            let first = try await fixture.store.deployedAPIs()[0]
            let changes = [
                Self.file.replacing("max_concurrency: 4", with: "max_concurrency: 9"),
                Self.file.replacing("max_concurrency: 4", with: "max_queue_length: 9"),
                Self.file + "  timeout: 1s\n", Self.file + "  idle_timeout: 1s\n",
                Self.file + "  networking: {endpoint: other}\n", Self.file + "  retries: {backoff: 1s}\n",
                Self.file.replacing("session", with: "other"), Self.file.replacing("1Mi", with: "2Mi"),
            ]
            for file in changes {
                let results = try await fixture.deploy(file, "?force=true").decoded([DeployResultDocument].self)
                #expect(results.map(\.message) == ["updating quick (RealtimeAPI)"])
                let api = try await fixture.store.deployedAPIs()[0]
                #expect(api.podID == first.podID && api.specID != first.specID)
            }
            let image = Self.file.replacing("quick:1", with: "quick:2")
            try await fixture.deploy(image, "?force=true")
            #expect(try await fixture.store.deployedAPIs()[0].podID != first.podID)
        }
    }

    @Test("S1: a deploy starts a RealtimeAPI without replicas with init_replicas, and leaves an AsyncAPI without any")
    func initialReplicas() async throws {
        try await Fixture.with { fixture in
            let scaling = "  autoscaling: {min_replicas: 0, init_replicas: 2}\n"
            for (name, file, count) in [
                ("quick", Self.file + scaling, 2), ("iris", Fixture.yaml + "\n" + scaling, 0),
            ] {
                try await fixture.deploy(file)
                try await fixture.store.base.saveRequestedReplicas(0, of: name)
                try await fixture.deploy(file.replacing(":1", with: ":2"), "?force=true")
                #expect(try await fixture.store.requestedReplicas(of: name) == count, "\(name)")
            }
        }
    }

    @Test("O1: refresh, rollback, logs and delete work as for an AsyncAPI, and the kind cannot change")
    func lifecycle() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.file)
            try await fixture.deploy(Self.file.replacing("quick:1", with: "quick:2"), "?force=true")
            #expect(
                try await fixture.call(.POST, "/refresh/quick").error.kind == "realtimeapi.api_updating")
            #expect(
                try await fixture.call(.POST, "/refresh/quick?force=true").body
                    == #"{"message":"updating quick (RealtimeAPI)"}"# + "\n")
            #expect(try await fixture.call(.POST, "/rollback/quick?force=true").status == 200)
            #expect(try await fixture.call(.HEAD, "/logs/quick").status == 200)
            let changed = try await fixture.deploy(Fixture.file("quick"))
            #expect(try changed.error.problems?.map(\.kind) == ["cannot_change_kind_of_deployed_api"])
            let taken = try await fixture.deploy(
                Self.file.replacing("name: quick", with: "name: other") + "  networking: {endpoint: /quick}\n")
            #expect(try taken.error.problems?.map(\.kind) == ["duplicate_endpoint"])
            #expect(try await fixture.call(.DELETE, "/delete/quick").status == 200)
            #expect(fixture.orchestrator.deleted == ["quick"])
        }
    }
}
