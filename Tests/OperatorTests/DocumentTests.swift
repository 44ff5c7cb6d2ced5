import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("Documents")
struct DocumentTests {
    static let yaml = """
        - name: iris
          kind: AsyncAPI
          pod:
            port: 80
            max_concurrency: 4
            containers:
              - name: api
                image: iris:1
                env: {MODEL: small}
                command: [serve]
                compute: {cpu: 200m, mem: 1Gi}
                readiness_probe:
                  http_get: {port: 80, path: /ready}
                pre_stop:
                  exec: {command: [bye]}
        """

    /// The whole of one version, byte for byte: keys, units and nulls are what clients rely on.
    static let spec =
        #"{"autoscaling":{"downscale_stabilization_period":300000000000,"downscale_tolerance":0.05,"init_replicas":1,"max_downscale_factor":0.75,"max_replicas":100,"max_upscale_factor":1.5,"min_replicas":1,"target_in_flight":4,"upscale_stabilization_period":60000000000,"upscale_tolerance":0.05,"window":60000000000},"deployment_id":"DEPLOYMENT","file_name":"cortex.yaml","id":"ID","initial_deployment_time":1800000000000000000,"keep_failed":86400000000000,"kind":"AsyncAPI","last_updated":1800000000,"max_payload":1073741824,"max_queue_length":null,"max_queue_time":null,"max_result":67108864,"name":"iris","networking":{"allow_origins":["*"],"endpoint":"/iris"},"pod":{"containers":[{"args":null,"command":["serve"],"compute":{"cpu":"200m","gpu":0,"mem":"1Gi","shm":null},"env":{"MODEL":"small"},"image":"iris:1","liveness_probe":null,"name":"api","pre_stop":{"exec":{"command":["bye"]},"http_get":null},"readiness_probe":{"exec":null,"failure_threshold":3,"http_get":{"path":"/ready","port":80},"initial_delay_seconds":0,"period_seconds":10,"success_threshold":1,"tcp_socket":null,"timeout_seconds":1},"volumes":[]}],"max_concurrency":4,"port":80,"termination_grace_period":60000000000},"pod_id":"POD","retention":604800000000000,"retries":{"backoff":1000000000,"max_attempts":3,"on":["unreachable"]},"spec_id":"SPEC","submitted_api_spec":{"kind":"AsyncAPI","name":"iris","pod":{"containers":[{"command":["serve"],"compute":{"cpu":"200m","mem":"1Gi"},"env":{"MODEL":"small"},"image":"iris:1","name":"api","pre_stop":{"exec":{"command":["bye"]}},"readiness_probe":{"http_get":{"path":"/ready","port":80}}}],"max_concurrency":4,"port":80}},"timeout":43200000000000,"update_strategy":{"max_surge":"25%","max_unavailable":"25%"}}"#

    static func golden(_ api: DeployedAPI) -> String {
        spec.replacing("DEPLOYMENT", with: api.deploymentID).replacing("\"ID\"", with: "\"\(api.id)\"")
            .replacing("POD", with: api.podID).replacing("SPEC", with: api.specID)
    }

    @Test("O1: the result of a deploy has the original's shape")
    func deploy() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.deploy(Self.yaml)
            let api = try await fixture.store.deployedAPIs()[0]
            #expect(
                reply.body
                    == #"[{"api":{"endpoint":"http://127.0.0.1:8889/iris","spec":\#(Self.golden(api))},"error":"","message":"creating iris (AsyncAPI)"}]"#
                    + "\n")
            #expect(api.id.wholeMatch(of: /[0-9a-f]{16}-[a-z0-9]{10}-[0-9a-f]{32}/) != nil)
            #expect(api.podID.wholeMatch(of: /[0-9a-f]{63}/) != nil)
        }
    }

    @Test("O1: get shows metadata, status and endpoint; of one API also specification and history")
    func get() async throws {
        try await Fixture.with { fixture in
            #expect(try await fixture.call(.GET, "/get").body == "[]\n")
            try await fixture.deploy(Self.yaml)
            let api = try await fixture.store.deployedAPIs()[0]
            let metadata =
                #""metadata":{"deployment_id":"\#(api.deploymentID)","id":"\#(api.id)","kind":"AsyncAPI","last_updated":1800000000,"name":"iris"}"#
            let status = #""status":{"queue":{"in_progress":0,"in_queue":0},"ready":0,"requested":1,"up_to_date":0}"#
            let endpoint = #""endpoint":"http://127.0.0.1:8889/iris""#
            #expect(try await fixture.call(.GET, "/get").body == "[{\(endpoint),\(metadata),\(status)}]\n")
            let versions = #""api_versions":[{"api_id":"\#(api.id)","last_updated":1800000000}]"#
            let one = status.replacing(#","up_to_date""#, with: #","status_code":"status_updating","up_to_date""#)
            #expect(
                try await fixture.call(.GET, "/get/iris/").body
                    == "[{\(versions),\(endpoint),\(metadata),\"spec\":\(Self.golden(api)),\(one)}]\n")
            #expect(
                try await fixture.call(.GET, "/get/iris/\(api.id)").body
                    == "[{\(endpoint),\(metadata),\"spec\":\(Self.golden(api)),\(status)}]\n")
            fixture.clock.advance(by: .seconds(1))
            try await fixture.deploy(Self.yaml.replacing("small", with: "large"), "?force=true")
            #expect(
                try await fixture.call(.GET, "/get/iris/\(api.id)").body == "[{\"spec\":\(Self.golden(api))}]\n")
            let unknown = try await fixture.call(.GET, "/get/iris/none")
            #expect(unknown.status == 404)
            #expect(try await fixture.call(.GET, "/get/iris").decoded([APIDocument].self)[0].apiVersions?.count == 2)
        }
    }

    @Test("S4: describe counts the replicas by state and lists them")
    func describe() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.yaml)
            let api = try await fixture.store.deployedAPIs()[0]
            var status = APIStatus.of(.ready, 2, requested: 3, reason: "no memory for another replica")
            status.replicas[1].state = .killedOOM
            status.replicas[1].reason = "used more than 1Gi"
            status.replicas[1].restarts = 4
            status.replicas[0].inFlight = 2
            fixture.orchestrator.setStatus(status, of: "iris")
            #expect(
                try await fixture.call(.GET, "/describe/iris").body
                    == #"[{"endpoint":"http://127.0.0.1:8889/iris","metadata":{"deployment_id":"\#(api.deploymentID)","id":"\#(api.id)","kind":"AsyncAPI","last_updated":1800000000,"name":"iris"},"status":{"queue":{"in_progress":0,"in_queue":0},"ready":1,"reason":"no memory for another replica","replica_counts":{"creating":0,"err_image_pull":0,"failed":0,"killed":0,"killed_oom":1,"not_ready":0,"pending":0,"ready":1,"ready_out_of_date":0,"requested":3,"stalled":0,"terminating":0,"unknown":0},"replicas":[{"id":"iris-0","in_flight":2,"restarts":0,"started_at":1800000000,"state":"ready"},{"id":"iris-1","in_flight":0,"reason":"used more than 1Gi","restarts":4,"started_at":1800000000,"state":"killed_oom"}],"requested":3,"up_to_date":1}}]"#
                    + "\n")
        }
    }

    @Test("O1: info names version, engine, store and addresses")
    func info() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.yaml)
            #expect(
                try await fixture.call(.GET, "/info").body
                    == #"{"cluster_config":{"api_version":"\#(CortexVersion.current)","cluster_name":"local","engine":"sandbox","gateway_endpoint":"http://127.0.0.1:8889","operator_endpoint":"http://127.0.0.1:8888","store":"memory"},"num_apis":1,"num_pending_replicas":1,"operator_node_infos":[],"queue":{"in_progress":0,"in_queue":0},"worker_node_infos":[]}"#
                    + "\n")
        }
    }

    @Test("C10: inside a container the endpoint is the cluster's name for the gateway")
    func cluster() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.yaml)
            let reply = try await fixture.call(
                .GET, "/get/iris", headers: ["Host": "operator.default.svc.cluster.local:8888"])
            #expect(
                try reply.decoded([APIDocument].self)[0].endpoint
                    == "http://ingressgateway-apis.istio-system.svc.cluster.local/iris")
        }
    }

    @Test("S1: queue lengths that are not known are left out, not shown as none")
    func unknownCounts() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.yaml)
            fixture.store.faults.withLock { $0.counting = true }
            let reply = try await fixture.call(.GET, "/get")
            #expect(reply.status == 200)
            #expect(!reply.body.contains("queue"))
            #expect(try await !fixture.call(.GET, "/info").body.contains("queue"))
        }
    }

    @Test("O1: a document with unknown keys, and without ours, can be read")
    func lenient() async throws {
        let original =
            #"[{"spec":null,"metadata":{"name":"iris","kind":"AsyncAPI","id":"1","deployment_id":"2","last_updated":3},"status":{"ready":1,"requested":1,"up_to_date":1},"endpoint":"http://x/iris","dashboard_url":"http://x/dashboard","new":[{}]}]"#
        let documents = try JSONDecoder().decode([APIDocument].self, from: Data(original.utf8))
        #expect(documents[0].status?.upToDate == 1)
        #expect(documents[0].status?.queue == nil)
        let result = try JSONDecoder().decode(
            DeployResultDocument.self, from: Data(#"{"message":"x","error":""}"#.utf8))
        #expect(result.api == nil)
    }
}
