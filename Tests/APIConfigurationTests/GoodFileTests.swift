import APIConfiguration
import Core
import Testing

@Suite("Y1, Y2: files that are read")
struct GoodFileTests {
    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var text: String
        var expected: APISpecification

        init(_ description: String, _ text: String, _ change: (inout APISpecification) -> Void = { _ in }) {
            self.description = description
            self.text = text
            self.expected = APISpecification.async(
                name: "iris", networking: .init(endpoint: "/iris"),
                pod: PodSpecification(containers: [ContainerSpecification(name: "main", image: "quay.io/ada/iris:1")]))
            change(&self.expected)
        }
    }

    @Test("Y1, Y2: every field is read, every default is set", arguments: originals + extensions + syntax)
    func specification(_ example: Case) throws {
        let document = Document(example.description, example.text)
        let result = document.parsed()
        #expect(result.problems.rendered == "")
        #expect(result.specifications == [example.expected])
    }

    private static func container(
        _ lines: String, _ description: String, _ change: @escaping (inout ContainerSpecification) -> Void
    ) -> Case {
        Case(description, Document.container(lines)) {
            $0.pod.containers[0].image = nil
            change(&$0.pod.containers[0])
        }
    }

    static let originals: [Case] = [
        Case("the least", Document.top("")),
        Case(
            "every default, written out",
            """
            - name: iris
              kind: AsyncAPI
              pod:
                port: 8080
                max_concurrency: 1
                termination_grace_period: 60s
                containers:
                  - name: main
                    image: quay.io/ada/iris:1
                    env: {}
                    command: null
                    args: null
                    readiness_probe: null
                    liveness_probe: null
                    pre_stop: null
                    compute: {cpu: 200m, mem: null, shm: null, gpu: 0, inf: 0}
                    volumes: []
              node_groups: null
              networking: {endpoint: /iris, cors: {allow_origins: ["*"]}}
              autoscaling:
                min_replicas: 1
                max_replicas: 100
                init_replicas: 1
                target_in_flight: 1
                window: 60s
                downscale_stabilization_period: 5m
                upscale_stabilization_period: 1m
                max_downscale_factor: 0.75
                max_upscale_factor: 1.5
                downscale_tolerance: 0.05
                upscale_tolerance: 0.05
              update_strategy: {max_surge: 25%, max_unavailable: 25%}
              retries: {max_attempts: 3, on: [unreachable], backoff: 1s}
              timeout: 12h
              retention: 7d
              max_payload: 1Gi
              max_result: 64Mi
              max_queue_length: null
              max_queue_time: null
              keep_failed: 24h
            """),
        Case("a null port is the default", Document.pod("port: null")),
        Case("port and concurrency", Document.pod("port: 80\nmax_concurrency: 100")) {
            $0.pod.port = 80
            $0.pod.maxConcurrency = 100
            $0.autoscaling.targetInFlight = 100
        },
        Case("port 65535", Document.pod("port: 65535")) { $0.pod.port = 65535 },
        Case("an endpoint without slash, with one at its end", Document.top("networking: {endpoint: v1/iris_2.x/}")) {
            $0.networking.endpoint = "/v1/iris_2.x"
        },
        container("env: {B: \"1\", A: 'true', lower.case-x: ''}", "environment") {
            $0.env = ["B": "1", "A": "true", "lower.case-x": ""]
        },
        container("command: [python, -u]\nargs: []", "command, and no arguments") {
            $0.command = ["python", "-u"]
            $0.args = []
        },
        container("compute: {cpu: 20m, mem: 20Mi, shm: 20Mi, gpu: 2}", "the least compute") {
            $0.compute = Compute(cpu: Quantity("20m"), mem: Quantity("20Mi"), shm: Quantity("20Mi"), gpu: 2)
        },
        container("compute: {cpu: 2}", "cpu as a whole number") { $0.compute.cpu = Quantity("2") },
        container("compute: {cpu: 0.5}", "cpu as a fraction") { $0.compute.cpu = Quantity("0.5") },
        container("compute: {cpu: '1.5', mem: '1000000000'}", "quantities in quotes") {
            $0.compute.cpu = Quantity("1.5")
            $0.compute.mem = Quantity("1000000000")
        },
        container("compute: {cpu: null}", "no cpu request") { $0.compute.cpu = nil },
        container("readiness_probe: {http_get: {port: 8080, path: healthz}}", "a readiness probe") {
            $0.readinessProbe = Probe(handler: .httpGet(HTTPGet(port: 8080, path: "/healthz")))
        },
        container(
            "readiness_probe: {http_get: {port: 8080, path: ''}, tcp_socket: null, exec: ~}", "handlers that are null"
        ) { $0.readinessProbe = Probe(handler: .httpGet(HTTPGet(port: 8080, path: "/"))) },
        container(
            """
            liveness_probe:
              exec:
                command: [cat, /tmp/alive]
              initial_delay_seconds: 2
              timeout_seconds: 3
              period_seconds: 4
              success_threshold: 5
              failure_threshold: 6
            """, "a liveness probe with everything"
        ) {
            $0.livenessProbe = Probe(
                handler: .exec(command: ["cat", "/tmp/alive"]), initialDelay: .seconds(2), timeout: .seconds(3),
                period: .seconds(4), successThreshold: 5, failureThreshold: 6)
        },
        container(
            "liveness_probe: {tcp_socket: {port: 1}, timeout_seconds: 0, failure_threshold: 0}",
            "zeros that Kubernetes reads as its defaults"
        ) { $0.livenessProbe = Probe(handler: .tcpSocket(port: 1), timeout: .seconds(1), failureThreshold: 3) },
        container("pre_stop: {http_get: {port: 80, path: /quit}}", "pre_stop over HTTP") {
            $0.preStop = .httpGet(HTTPGet(port: 80, path: "/quit"))
        },
        container("pre_stop: {exec: {command: [sleep, '5']}}", "pre_stop as a command") {
            $0.preStop = .exec(command: ["sleep", "5"])
        },
        Case("scaling to zero", Document.top("autoscaling: {min_replicas: 0, init_replicas: 2, max_replicas: 2}")) {
            $0.autoscaling = AutoscalingPolicy(minReplicas: 0, maxReplicas: 2, initReplicas: 2)
        },
        Case("init follows min", Document.top("autoscaling: {min_replicas: 3}")) {
            $0.autoscaling = AutoscalingPolicy(minReplicas: 3, initReplicas: 3)
        },
        Case(
            "factors at their edges",
            Document.top(
                """
                autoscaling:
                  target_in_flight: 0.1
                  window: 1m10s
                  downscale_stabilization_period: 0s
                  upscale_stabilization_period: 0
                  max_downscale_factor: 0
                  max_upscale_factor: 1e3
                  downscale_tolerance: 0
                  upscale_tolerance: 2
                """)
        ) {
            $0.autoscaling = AutoscalingPolicy(
                targetInFlight: 0.1, window: .seconds(70), downscaleStabilizationPeriod: .zero,
                upscaleStabilizationPeriod: .zero, maxDownscaleFactor: 0, maxUpscaleFactor: 1000,
                downscaleTolerance: 0, upscaleTolerance: 2)
        },
        Case("surge in place", Document.top("update_strategy: {max_surge: 0, max_unavailable: 100%}")) {
            $0.updateStrategy = UpdateStrategy(maxSurge: .count(0), maxUnavailable: .percent(100))
        },
        Case("a count in quotes", Document.top("update_strategy: {max_surge: '3'}")) {
            $0.updateStrategy.maxSurge = .count(3)
        },
    ]

    static let extensions: [Case] = [
        container("compute: {mem: 1073741824, shm: 67108864}", "mem and shm as bare numbers") {
            $0.compute.mem = Quantity("1073741824")
            $0.compute.shm = Quantity("67108864")
        },
        container(
            "volumes: ['models:/models:ro', './a/../b:/b', '/srv/x/:/x/:rw', ../up:/up]", "volumes"
        ) {
            $0.volumes = [
                .init(source: "/home/ada/iris/models", target: "/models", readOnly: true),
                .init(source: "/home/ada/iris/b", target: "/b"), .init(source: "/srv/x", target: "/x"),
                .init(source: "/home/ada/up", target: "/up"),
            ]
        },
        container("", "no image, for the sandbox") { _ in },
        Case("no grace at all", Document.pod("termination_grace_period: 0s")) { $0.pod.terminationGracePeriod = .zero },
        Case("a pod that may do nothing at the operator", Document.pod("operator_access: none")) {
            $0.pod.operatorAccess = OperatorAccess.none
        },
        Case("an hour of grace", Document.pod("termination_grace_period: 1h")) {
            $0.pod.terminationGracePeriod = .seconds(3600)
        },
        Case("origins", Document.top("networking: {cors: {allow_origins: ['https://a.example:8443', 'http://b']}}")) {
            $0.networking.allowOrigins = ["https://a.example:8443", "http://b"]
        },
        Case("no origin", Document.top("networking: {cors: {allow_origins: []}}")) { $0.networking.allowOrigins = [] },
        Case(
            "everything of a request",
            Document.top(
                """
                retries: {max_attempts: 100, on: [status_5xx, timeout, unreachable, invalid_response], backoff: 1m30s}
                timeout: 300ms
                retention: 365d
                max_payload: 5M
                max_result: 1024
                max_queue_length: 1000
                max_queue_time: 1.5h
                keep_failed: 0s
                """)
        ) {
            $0.requests = RequestPolicy(
                timeout: .milliseconds(300), retention: .seconds(365 * 86_400), keepFailed: .zero,
                maxPayload: 5_000_000, maxResult: 1024, maxQueueLength: 1000, maxQueueTime: .seconds(5400),
                retries: RetryPolicy(
                    maxAttempts: 100, on: [.status5xx, .timeout, .unreachable, .invalidResponse], backoff: .seconds(90))
            )
        },
        Case("no retry", Document.top("retries: {max_attempts: 1, on: [], backoff: 0}")) {
            $0.requests.retries = RetryPolicy(maxAttempts: 1, on: [], backoff: .zero)
        },
    ]

    static let syntax: [Case] = [
        Case(
            "JSON",
            """
            [{"name": "iris", "kind": "AsyncAPI",
            \t"pod": {"port": 80, "containers": [{"name": "main", "image": "quay.io\\/ada\\/iris:1",
            "env": {"A": "\\ud83d\\ude00 \\\\ud83d\\u00e9"}}]}}]
            """
        ) {
            $0.pod.port = 80
            $0.pod.containers[0].env = ["A": "😀 \\ud83dé"]
        },
        Case("a byte order mark and Windows line ends", "\u{FEFF}" + Document.top("").replacing("\n", with: "\r\n")),
        Case(
            "comments, document marks and block text",
            "--- # head\n"
                + Document.container(
                    """
                    image: quay.io/ada/iris:1 # the model
                    args:
                    - |
                      a
                      b
                    - >-
                      c
                      d
                    """) + "...\n"
        ) { $0.pod.containers[0].args = ["a\nb\n", "c d"] },
        Case(
            "anchors, aliases and merge keys",
            """
            - name: iris
              kind: AsyncAPI
              pod:
                containers:
                - &base
                  name: main
                  image: &image quay.io/ada/iris:1
                  env: &env {A: one, B: two}
                - name: side
                  image: *image
                  env: {<<: *env, B: three}
                - <<: [{name: third}, *base]
            """
        ) {
            $0.pod.containers[0].env = ["A": "one", "B": "two"]
            $0.pod.containers.append(
                ContainerSpecification(name: "side", image: "quay.io/ada/iris:1", env: ["A": "one", "B": "three"]))
            $0.pod.containers.append(
                ContainerSpecification(name: "third", image: "quay.io/ada/iris:1", env: ["A": "one", "B": "two"]))
        },
        Case("a tag of YAML's own", Document.container("image: quay.io/ada/iris:1\nenv: {A: !!str 1}")) {
            $0.pod.containers[0].env = ["A": "1"]
        },
        Case("a stray * in text", Document.container("image: quay.io/ada/iris:1\nargs: ['*.txt', a*b, \"&x\"]")) {
            $0.pod.containers[0].args = ["*.txt", "a*b", "&x"]
        },
    ]

    @Test(
        "Y1: image references",
        arguments: [
            ("python", true), ("python:3.12-slim", true), ("localhost:5000/a/b_c/d__e:X.y-1", true),
            ("123456789012.dkr.ecr.us-west-2.amazonaws.com/a/b:latest", true),
            ("a@sha256:\(String(repeating: "0aF", count: 22))", true),
            ("a/b:1@sha256:\(String(repeating: "a", count: 64))", true),
            ("My.Registry/x", true), ("a---b", true), ("a..b", false), ("a___b", false), ("a/", false), ("/a", false),
            ("a:", false), ("a:.x", false), ("a@sha256:abc", false), ("a b", false), ("-a", false), ("a:b:c", false),
            ("host:port/x", false), ("https://a/b", false), ("a:\(String(repeating: "t", count: 129))", false),
            ("oci:1/a", false), ("dir:5/x", false), ("docker-archive:5/x", false), ("registry:5000/a", true),
            ("a_b.c/x", false), ("a\n", false), ("ä", false), (" ", false), ("", false), ("UPPER", false),
        ])
    func images(_ text: String, _ isValid: Bool) throws {
        #expect(ImageReference.isValid(text) == isValid)
        // Editors check the same with the schema.
        let pattern = try Regex(ImageReference.pattern)
        #expect((try pattern.wholeMatch(in: text) != nil) == isValid)
    }

    @Test(
        "Y3: an image reference is parsed into its parts, with its full name",
        arguments: [
            ("python", "docker.io", "docker.io/library/python:latest"),
            ("python:3.11", "docker.io", "docker.io/library/python:3.11"),
            ("me/app", "docker.io", "docker.io/me/app:latest"),
            ("docker.io/library/a:1", "docker.io", "docker.io/library/a:1"),
            ("docker.io/a", "docker.io", "docker.io/library/a:latest"),
            ("index.docker.io/a/b", "docker.io", "docker.io/a/b:latest"),
            ("localhost/x:dev", "localhost", "localhost/x:dev"),
            ("127.0.0.1:5000/a/b__c/d-e.f:T_1.x-", "127.0.0.1:5000", "127.0.0.1:5000/a/b__c/d-e.f:T_1.x-"),
            (
                "a:1@sha256:" + String(repeating: "0f", count: 32), "docker.io",
                "docker.io/library/a@sha256:" + String(repeating: "0f", count: 32)
            ),
        ])
    func imageParts(_ text: String, _ registry: String, _ fullName: String) throws {
        let reference = try #require(ImageReference(text))
        #expect(reference.registry == registry && reference.fullName == fullName)
    }

    @Test("Y2: several APIs keep their order; the user's text is kept as JSON with sorted keys")
    func submitted() throws {
        let apis = try Document(
            "",
            """
            - name: two
              kind: AsyncAPI
              pod: &pod {port: 0x50, containers: [{name: main, compute: {cpu: .5, mem: ~}, env: {A: "x\\n\\u0001\\""}}]}
              max_payload: 1_000
            - {name: one, kind: AsyncAPI, pod: *pod}
            """
        ).parsed().validated()
        #expect(apis.map(\.specification.name) == ["two", "one"])
        let pod =
            #"{"containers":[{"compute":{"cpu":0.5,"mem":null},"env":{"A":"x\n\u0001\""},"name":"main"}],"port":80}"#
        #expect(apis[0].submitted == #"{"kind":"AsyncAPI","max_payload":1000,"name":"two","pod":"# + pod + "}")
        #expect(apis[1].submitted == #"{"kind":"AsyncAPI","name":"one","pod":"# + pod + "}")
    }
}
