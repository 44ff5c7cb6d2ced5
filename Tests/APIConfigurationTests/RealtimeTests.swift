import APIConfiguration
import Core
import Foundation
import Records
import Testing

/// A RealtimeAPI with these lines in its pod, its container and at its top level. They begin in line 4 column 5, line
/// 8 column 7, and line 9 column 3 or after the lines before.
private func realtime(pod: String? = nil, container: String? = nil, top: String? = nil) -> String {
    var lines = ["- name: iris", "  kind: RealtimeAPI", "  pod:"]
    if let pod { lines.append("    " + pod) }
    lines += ["    containers:", "    - name: main", "      image: quay.io/ada/iris:1"]
    if let container { lines.append("      " + container) }
    if let top { lines += top.split(separator: "\n").map { "  " + $0 } }
    return lines.joined(separator: "\n") + "\n"
}

private func splitter(_ apis: String, _ top: String = "") -> String {
    "- name: split\n  kind: TrafficSplitter\n  apis: [\(apis)]\n"
        + top.split(separator: "\n").map { "  \($0)\n" }.joined()
}

@Suite("Y1, R, X: RealtimeAPIs and TrafficSplitters that are read")
struct GoodRealtimeTests {
    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var text: String
        var expected: APISpecification

        init(
            _ description: String, _ text: String, workload change: (inout Workload) -> Void = { _ in },
            _ proxy: ProxyPolicy = ProxyPolicy(), origins: [String] = [], endpoint: String = "/iris"
        ) {
            self.description = description
            self.text = text
            var workload = Workload(
                pod: PodSpecification(containers: [ContainerSpecification(name: "main", image: "quay.io/ada/iris:1")]))
            change(&workload)
            self.expected = APISpecification(
                name: "iris", networking: .init(endpoint: endpoint, allowOrigins: origins),
                kind: .realtime(RealtimeSpecification(workload: workload, proxy: proxy)))
        }

        init(_ description: String, _ text: String, splitter: SplitterSpecification, endpoint: String = "/split") {
            self.description = description
            self.text = text
            self.expected = APISpecification(
                name: "split", networking: .init(endpoint: endpoint, allowOrigins: []),
                kind: .trafficSplitter(splitter))
        }
    }

    @Test("R, X: every field is read, every default is set", arguments: originals + extensions + splitters)
    func specification(_ example: Case) {
        let result = Document(example.description, example.text).parsed()
        #expect(result.problems.rendered == "")
        #expect(result.specifications == [example.expected])
    }

    @Test("A13: every value is stored and read back", arguments: originals + extensions + splitters)
    func stored(_ example: Case) throws {
        let api = DeployedAPI(
            specification: example.expected, id: "a", specID: "b", podID: "c", deploymentID: "d",
            initialDeployment: Timestamp(microseconds: 1), lastUpdated: Timestamp(microseconds: 2), submitted: "{}")
        let data = try JSONEncoder().encode(DeployedAPIRecord(api))
        #expect(try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api == api)
    }

    @Test("Y3: a kind that is not served is refused although its specification can be built")
    func switchedOff() {
        let bytes = Array(realtime().utf8)
        let result = ConfigurationFile.parse(bytes, fileName: "f", baseDirectory: "/", served: [.async])
        #expect(result.apis.isEmpty && result.problems.isEmpty)
        #expect(result.obstacles.map(\.place) == ["2:9 kind kind_not_served"])
        #expect(result.obstacles.first?.message.hasSuffix("only AsyncAPI is") == true)
    }

    /// Files of the original (reference: cortex.md §1.3 – §1.6).
    static let originals = [
        Case("the least", realtime()),
        Case(
            "the original's limits",
            realtime(
                pod: "port: 80\n    max_concurrency: 30000\n    max_queue_length: 30000",
                container: "command: [a]\n      args: [b]\n      env: {A: b}",
                top: "autoscaling: {target_in_flight: 60000}\nnode_groups: null\nupdate_strategy: {max_surge: 0}"),
            workload: {
                $0.pod.port = 80
                $0.pod.maxConcurrency = 30_000
                $0.pod.containers[0].command = ["a"]
                $0.pod.containers[0].args = ["b"]
                $0.pod.containers[0].env = ["A": "b"]
                $0.autoscaling.targetInFlight = 60_000
                $0.updateStrategy.maxSurge = .count(0)
            }, ProxyPolicy(maxQueueLength: 30_000)),
        Case(
            "the default of target_in_flight",
            realtime(pod: "max_concurrency: 7", top: "networking: {endpoint: /v1/iris/}"),
            workload: {
                $0.pod.maxConcurrency = 7
                $0.autoscaling.targetInFlight = 7
            }, endpoint: "/v1/iris"),
        Case(
            "a readiness probe with exec",
            realtime(container: "readiness_probe: {exec: {command: [ls]}}"),
            workload: { $0.pod.containers[0].readinessProbe = Probe(handler: .exec(command: ["ls"])) }),
        Case(
            "a liveness probe and a hook",
            realtime(container: "liveness_probe: {tcp_socket: {port: 80}}\n      pre_stop: {exec: {command: [ls]}}"),
            workload: {
                $0.pod.containers[0].livenessProbe = Probe(handler: .tcpSocket(port: 80))
                $0.pod.containers[0].preStop = .exec(command: ["ls"])
            }),
    ]

    static let extensions = [
        Case(
            "every default, written out",
            realtime(
                pod:
                    "max_queue_length: 100\n    max_concurrency: 1\n    termination_grace_period: 60s\n    operator_access: read",
                container: "volumes: null",
                top: """
                    timeout: 12h
                    idle_timeout: null
                    max_queue_time: 5m
                    max_payload: null
                    retries: {max_attempts: 3, on: [unreachable], backoff: 0s}
                    sticky: null
                    networking: {endpoint: iris, cors: {allow_origins: []}}
                    """)),
        Case(
            "every field of the proxy",
            realtime(
                top: """
                    timeout: 1ms
                    idle_timeout: 1s
                    max_queue_time: 0s
                    max_payload: 0
                    retries: {max_attempts: 100, on: [timeout, status_5xx], backoff: 5m}
                    sticky: {cookie: "c!#$%&'*+-.^_`|~9"}
                    networking: {cors: {allow_origins: ["*", "https://a.example"]}}
                    """),
            ProxyPolicy(
                timeout: .milliseconds(1), idleTimeout: .seconds(1), maxQueueTime: .zero, maxPayload: 0,
                retries: RetryPolicy(maxAttempts: 100, on: [.timeout, .status5xx], backoff: .seconds(300)),
                sticky: .cookie("c!#$%&'*+-.^_`|~9")), origins: ["*", "https://a.example"]),
        Case(
            "the other ends of the ranges",
            realtime(top: "timeout: 365d\nidle_timeout: 365d\nmax_queue_time: 1h\nmax_payload: 2Ti"),
            ProxyPolicy(
                timeout: .seconds(365 * 86_400), idleTimeout: .seconds(365 * 86_400), maxQueueTime: .seconds(3600),
                maxPayload: 2 << 40)),
        Case(
            "sticky by a header", realtime(top: "sticky: {header: \(String(repeating: "x", count: 64)), cookie: null}"),
            ProxyPolicy(sticky: .header(String(repeating: "x", count: 64)))),
        Case(
            "what an AsyncAPI's pod has",
            "- {name: iris, kind: RealtimeAPI, pod: {termination_grace_period: 1h, operator_access: none, "
                + "containers: [{name: main, volumes: ['a:/b:ro'], compute: {disk: 1Gi}}]}}",
            workload: {
                $0.pod.terminationGracePeriod = .seconds(3600)
                $0.pod.operatorAccess = .none
                $0.pod.containers[0].image = nil
                $0.pod.containers[0].volumes = [.init(source: "/home/ada/iris/a", target: "/b", readOnly: true)]
                $0.pod.containers[0].compute.disk = Quantity("1Gi")
            }),
    ]

    static let splitters = [
        Case(
            "a splitter of the original",
            splitter(
                "{name: a, weight: 60}, {name: b, weight: 40}, {name: c, weight: 7, shadow: yes}",
                "networking: {endpoint: /s/}"),
            splitter: SplitterSpecification(targets: [
                .init(api: "a", weight: 60), .init(api: "b", weight: 40), .init(api: "c", weight: 7, isShadow: true),
            ]), endpoint: "/s"),
        Case(
            "every field of a splitter",
            splitter(
                "{name: a, weight: 100}, {name: b, weight: 0}",
                """
                sticky: {cookie: version}
                match: [{header: User-Agent, prefix: "curl/", api: b}, {header: X-Beta, value: "1", api: a}]
                allow_override: true
                fallback: false
                guard: {api: b, window: 30s, min_requests: 1, max_error_rate: 1, max_p99: 250ms, baseline_factor: 0}
                """),
            splitter: SplitterSpecification(
                targets: [.init(api: "a", weight: 100), .init(api: "b", weight: 0)], sticky: .cookie("version"),
                matches: [
                    .init(header: "User-Agent", rule: .prefix("curl/"), api: "b"),
                    .init(header: "X-Beta", rule: .value("1"), api: "a"),
                ], allowsOverride: true, hasFallback: false,
                guarding: .init(
                    api: "b", window: .seconds(30), minRequests: 1, maxErrorRate: 1, maxP99: .milliseconds(250),
                    baselineFactor: 0))),
        Case(
            "a guard with its defaults, and null for none",
            splitter(
                "{name: a, weight: 100}, {name: b, weight: 0}",
                "sticky: null\nmatch: null\nguard: {api: b, max_p99: null}"),
            splitter: SplitterSpecification(
                targets: [.init(api: "a", weight: 100), .init(api: "b", weight: 0)], guarding: .init(api: "b"))),
        Case(
            "32 matches",
            splitter(
                "{name: a, weight: 100}",
                "match: [\(Array(repeating: "{header: H, prefix: '', api: a}", count: 32).joined(separator: ", "))]"),
            splitter: SplitterSpecification(
                targets: [.init(api: "a", weight: 100)],
                matches: Array(repeating: .init(header: "H", rule: .prefix(""), api: "a"), count: 32))),
    ]
}

@Suite("Y3, R, X: problems of RealtimeAPIs and TrafficSplitters")
struct BadRealtimeTests {
    @Test("Y3: each problem has its place", arguments: bad)
    func problems(_ document: Document) {
        let result = document.parsed()
        #expect(result.problems.map(\.place) == document.problems)
        #expect(result.refusals.isEmpty && result.apis.isEmpty)
    }

    @Test("X1: the targets of a splitter are RealtimeAPIs, and its name and endpoint are unique among all APIs")
    func splitterInFile() {
        let text = """
            - {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}
            - {name: b, kind: RealtimeAPI, pod: {containers: [{name: a, image: b}]}, networking: {endpoint: x}}
            - {name: c, kind: TrafficSplitter, apis: [{name: a, weight: 50}, {name: b, weight: 50}], networking: {endpoint: x}}
            - {name: b, kind: TaskAPI, pod: {containers: [{name: a, image: b, command: [a]}]}}
            """
        #expect(
            Document("", text).parsed().problems.map(\.place) == [
                "3:50 apis[0].name apis_not_deployed",
                "3:113 networking.endpoint duplicate_endpoint_in_one_deploy", "4:10 name duplicate_name",
            ])
    }

    static let bad: [Document] = [
        Document("no pod", "- name: iris\n  kind: RealtimeAPI\n", "1:3 pod.containers missing"),
        Document(
            "bounds of the pod", realtime(pod: "max_concurrency: 30001\n    max_queue_length: 0"),
            "4:22 pod.max_concurrency out_of_range", "5:23 pod.max_queue_length out_of_range"),
        Document(
            "more in flight than can be", realtime(top: "autoscaling: {target_in_flight: 101.5}"),
            "7:35 autoscaling.target_in_flight target_in_flight_limit_reached"),
        Document(
            "fields of an AsyncAPI",
            realtime(top: "retention: 1d\nmax_result: 1Mi\nkeep_failed: 0s\nmax_queue_length: 1"),
            "7:3 retention unknown_key", "8:3 max_result unknown_key", "9:3 keep_failed unknown_key",
            "10:3 max_queue_length unknown_key"),
        Document(
            "below the ranges",
            realtime(top: "timeout: 0s\nidle_timeout: 999ms\nmax_queue_time: -1s\nmax_payload: -1"),
            "7:12 timeout out_of_range", "8:17 idle_timeout out_of_range", "9:19 max_queue_time out_of_range",
            "10:16 max_payload out_of_range"),
        Document(
            "above the ranges", realtime(top: "timeout: 366d\nidle_timeout: 366d\nmax_queue_time: 61m"),
            "7:12 timeout out_of_range", "8:17 idle_timeout out_of_range", "9:19 max_queue_time out_of_range"),
        Document(
            "retries", realtime(top: "retries: {max_attempts: 0, on: [invalid_response], backoff: 6m}"),
            "7:27 retries.max_attempts out_of_range", "7:35 retries.on[0] not_allowed",
            "7:63 retries.backoff out_of_range"),
        Document("sticky without a name", realtime(top: "sticky: {}"), "7:11 sticky specify_exactly_one_field"),
        Document(
            "sticky by both", realtime(top: "sticky: {cookie: a, header: b}"), "7:11 sticky specify_exactly_one_field"),
        Document(
            "names that are no tokens", realtime(top: "sticky: {cookie: 'a b', header: 'a:'}"),
            "7:11 sticky specify_exactly_one_field", "7:20 sticky.cookie invalid_format",
            "7:35 sticky.header invalid_format"),
        Document(
            "65 characters", realtime(top: "sticky: {cookie: \(String(repeating: "x", count: 65))}"),
            "7:20 sticky.cookie out_of_range"),
        Document(
            "the platform's own header", realtime(top: "sticky: {header: x_Cortex-Request-ID}"),
            "7:20 sticky.header not_allowed"),
        Document(
            "a cookie that browsers drop", realtime(top: "sticky: {cookie: __host-a}"),
            "7:20 sticky.cookie not_allowed"),
        Document(
            "an origin with a path", realtime(top: "networking: {cors: {allow_origins: ['https://a/b']}}"),
            "7:39 networking.cors.allow_origins[0] invalid_format"),
        Document("no apis", "- kind: TrafficSplitter\n  name: iris\n", "1:3 apis missing"),
        Document(
            "fields of other kinds in a splitter",
            splitter("{name: a, weight: 100}", "autoscaling: {}\ntimeout: 1s\nnetworking: {cors: {}}"),
            "4:3 autoscaling unknown_key", "5:3 timeout unknown_key", "6:16 networking.cors unknown_key"),
        Document(
            "weights", splitter("{name: a, weight: 60}, {name: b, weight: 41}"),
            "3:9 apis incorrect_traffic_splitter_weight"),
        Document(
            "only a shadow", splitter("{name: a, weight: 100, shadow: true}"),
            "3:9 apis incorrect_traffic_splitter_weight"),
        Document("an empty list", splitter(""), "3:9 apis out_of_range"),
        Document(
            "a weight that is wrong", splitter("{name: a, weight: 101}, {name: b, weight: half}"),
            "3:28 apis[0].weight out_of_range", "3:52 apis[1].weight wrong_type"),
        Document(
            "two shadows and a name twice",
            splitter("{name: a, weight: 100}, {name: b, weight: 1, shadow: true}, {name: a, weight: 1, shadow: true}"),
            "3:77 apis[2].name traffic_splitter_apis_not_unique", "3:99 apis[2].shadow one_shadow_per_traffic_splitter"
        ),
        Document(
            "shadow as text", splitter("{name: a, weight: 100, shadow: 'true'}"), "3:41 apis[0].shadow wrong_type"),
        Document(
            "a match without an API, a value and a good header",
            splitter("{name: a, weight: 100}", "match: [{header: 'a b', prefix: ' x', value: y}]"),
            "4:11 match[0].api missing", "4:11 match[0] specify_exactly_one_field",
            "4:20 match[0].header invalid_format", "4:35 match[0].prefix invalid_format"),
        Document(
            "a match of the platform's own header, and a value that cannot be",
            splitter("{name: a, weight: 100}", "match: [{header: X-CORTEX-A, value: 'a ', api: a}]"),
            "4:20 match[0].header not_allowed", "4:39 match[0].value invalid_format"),
        Document(
            "targets that are none",
            splitter(
                "{name: a, weight: 100}, {name: b, weight: 1, shadow: true}",
                "match: [{header: H, value: '', api: c}]\nguard: {api: b}"),
            "4:39 match[0].api api_not_in_traffic_splitter", "5:16 guard.api api_not_in_traffic_splitter"),
        Document(
            "a guarded API without another",
            splitter("{name: a, weight: 100}, {name: b, weight: 1, shadow: true}", "guard: {api: a}"),
            "4:16 guard.api api_not_in_traffic_splitter"),
        Document(
            "a guard out of its ranges",
            splitter(
                "{name: a, weight: 50}, {name: b, weight: 50}",
                "guard: {api: a, window: 0s, min_requests: 0, max_error_rate: 1.1, max_p99: 0s, baseline_factor: -1}"),
            "4:27 guard.window out_of_range", "4:45 guard.min_requests out_of_range",
            "4:64 guard.max_error_rate out_of_range", "4:78 guard.max_p99 out_of_range",
            "4:99 guard.baseline_factor out_of_range"),
        Document(
            "33 matches",
            splitter(
                "{name: a, weight: 100}",
                "match: [\(Array(repeating: "{header: H, value: v, api: a}", count: 33).joined(separator: ", "))]"),
            "4:10 match out_of_range"),
    ]
}
