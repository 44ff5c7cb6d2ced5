import APIConfiguration
import Core
import Testing

@Suite("Y1, Y2: refused fields, each with its place")
struct BadFieldTests {
    @Test("Y3: line, column, path and kind of every problem", arguments: names + pods + containers)
    func nameAndPod(_ document: Document) {
        #expect(document.parsed().problems.map(\.place) == document.problems)
        #expect(document.parsed().apis.isEmpty)
    }

    @Test("Y3: line, column, path and kind of every problem", arguments: probes + scaling + requests)
    func probesAndPolicies(_ document: Document) {
        #expect(document.parsed().problems.map(\.place) == document.problems)
        #expect(document.parsed().apis.isEmpty)
    }

    static let names: [Document] = [
        Document(
            "a name with capitals", "- {name: Iris, kind: AsyncAPI, pod: {containers: [{name: a, image: b}]}}",
            "1:10 name invalid_format"),
        Document(
            "a name that is too long",
            "- name: \(String(repeating: "a", count: 43))\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}",
            "1:9 name out_of_range"),
        Document(
            "a name that begins with b-", "- name: b-side\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}",
            "1:9 name not_allowed"),
        Document(
            "a name that ends with a hyphen", "- name: iris-\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}",
            "1:9 name invalid_format"),
        Document(
            "a name that begins with a digit", "- name: 2nd\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}",
            "1:9 name invalid_format"),
        Document(
            "a name that is a number", "- name: 42\n  kind: AsyncAPI\n  pod: {containers: [{name: a}]}",
            "1:9 name wrong_type"),
        Document("no name", "- kind: AsyncAPI\n  pod: {containers: [{name: a}]}", "1:3 name missing"),
        Document("no kind", "- name: iris\n  pod: {containers: [{name: a}]}", "1:3 kind missing"),
        Document("a null kind", "- name: iris\n  kind:\n", "2:8 kind unknown_kind"),
        Document(
            "an unknown kind", "- name: iris\n  kind: asyncapi\n", "1:3 pod.containers missing", "2:9 kind unknown_kind"
        ),
        Document("no pod", "- name: iris\n  kind: AsyncAPI\n", "1:3 pod.containers missing"),
        Document("a null pod", "- name: iris\n  kind: AsyncAPI\n  pod: null\n", "3:8 pod null_not_allowed"),
        Document("a pod that is a list", "- name: iris\n  kind: AsyncAPI\n  pod: []\n", "3:8 pod wrong_type"),
        Document("an unknown key", Document.top("colour: red"), "7:3 colour unknown_key"),
        Document("a misspelt key", Document.top("retension: 3d"), "7:3 retension unknown_key"),
        Document("keys of another kind", Document.top("apis: []"), "7:3 apis unknown_key"),
        Document("a key in the wrong place", Document.top("max_concurrency: 2"), "7:3 max_concurrency unknown_key"),
        Document("node groups", Document.top("node_groups: [cpu]"), "7:16 node_groups not_supported"),
        Document("no node groups", Document.top("node_groups: []"), "7:16 node_groups not_supported"),
        Document(
            "an endpoint of /", Document.top("networking:\n  endpoint: /"), "8:15 networking.endpoint invalid_format"),
        Document(
            "an empty endpoint", Document.top("networking:\n  endpoint: ''"),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "a null endpoint", Document.top("networking:\n  endpoint:"),
            "8:14 networking.endpoint null_not_allowed"),
        Document(
            "an endpoint with //", Document.top("networking:\n  endpoint: /a//b"),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with a segment ..", Document.top("networking:\n  endpoint: /a/../b"),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with a segment . at its end", Document.top("networking:\n  endpoint: /a/."),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with only ..", Document.top("networking:\n  endpoint: .."),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with a leading ./", Document.top("networking:\n  endpoint: ./a"),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with /.. at its end", Document.top("networking:\n  endpoint: /a/.."),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint with a space", Document.top("networking:\n  endpoint: /a b"),
            "8:15 networking.endpoint invalid_format"),
        Document(
            "an endpoint that is too long",
            Document.top("networking: {endpoint: \(String(repeating: "a", count: 1001))}"),
            "7:26 networking.endpoint out_of_range"),
        Document("null networking", Document.top("networking: ~"), "7:15 networking null_not_allowed"),
        Document(
            "an origin without a scheme", Document.top("networking: {cors: {allow_origins: [example.com]}}"),
            "7:39 networking.cors.allow_origins[0] invalid_format"),
        Document(
            "an origin twice", Document.top("networking: {cors: {allow_origins: ['*', '*']}}"),
            "7:44 networking.cors.allow_origins[1] duplicate_value"),
    ]

    static let pods: [Document] = [
        Document("port 0", Document.pod("port: 0"), "5:11 pod.port out_of_range"),
        Document("port 65536", Document.pod("port: 65536"), "5:11 pod.port out_of_range"),
        Document("port 8888", Document.pod("port: 8888"), "5:11 pod.port not_allowed"),
        Document("port 15000", Document.pod("port: 15000"), "5:11 pod.port not_allowed"),
        Document("a port in quotes", Document.pod("port: '8080'"), "5:11 pod.port wrong_type"),
        Document("a port with a fraction", Document.pod("port: 8080.0"), "5:11 pod.port wrong_type"),
        Document("a port with a leading zero", Document.pod("port: 08080"), "5:11 pod.port wrong_type"),
        Document(
            "a port beyond 64 bits", Document.pod("port: 99999999999999999999"), "5:11 pod.port wrong_type"),
        Document("no concurrency", Document.pod("max_concurrency: 0"), "5:22 pod.max_concurrency out_of_range"),
        Document(
            "too much concurrency", Document.pod("max_concurrency: 1001"), "5:22 pod.max_concurrency out_of_range"),
        Document(
            "null concurrency", Document.pod("max_concurrency: null"), "5:22 pod.max_concurrency null_not_allowed"),
        Document(
            "a queue length of Realtime", Document.pod("max_queue_length: 5"), "5:5 pod.max_queue_length unknown_key"),
        Document(
            "an unknown access", Document.pod("operator_access: all"), "5:22 pod.operator_access not_allowed"),
        Document(
            "a grace period over an hour", Document.pod("termination_grace_period: 61m"),
            "5:31 pod.termination_grace_period out_of_range"),
        Document(
            "a negative grace period", Document.pod("termination_grace_period: -1s"),
            "5:31 pod.termination_grace_period out_of_range"),
        Document(
            "no containers", "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers: []",
            "4:17 pod.containers out_of_range"),
        Document(
            "null containers", "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers:",
            "4:16 pod.containers null_not_allowed"),
        Document(
            "a container that is text", "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers: [main]",
            "4:18 pod.containers[0] wrong_type"),
        Document(
            "a container that is null", "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers:\n    -",
            "5:6 pod.containers[0] null_not_allowed"),
        Document(
            "two containers of one name",
            "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers: [{name: a, image: x}, {name: a, image: y}]",
            "4:46 pod.containers[1].name duplicate_container_name"),
    ]

    static let containers: [Document] = [
        Document(
            "the name of a sidecar",
            "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers:\n    - name: dequeuer\n    - name: proxy",
            "5:13 pod.containers[0].name not_allowed", "6:13 pod.containers[1].name not_allowed"),
        Document(
            "no container name", "- name: iris\n  kind: AsyncAPI\n  pod:\n    containers:\n    - image: a",
            "5:7 pod.containers[0].name missing"),
        Document(
            "an image with a space", Document.container("image: a b"), "6:14 pod.containers[0].image invalid_format"),
        Document(
            "an image in capitals", Document.container("image: Iris"), "6:14 pod.containers[0].image invalid_format"),
        Document("an empty image", Document.container("image: ''"), "6:14 pod.containers[0].image invalid_format"),
        Document(
            "a resource reference", Document.container("image: '@iris'"),
            "6:14 pod.containers[0].image cortex_resource_not_allowed"),
        Document(
            "a resource reference in a list", Document.container("command: [python, '@x']"),
            "6:25 pod.containers[0].command[1] cortex_resource_not_allowed"),
        Document(
            "a number in the environment", Document.container("env:\n  A: 1\n  B: true\n  C: yes\n  D: 1.5\n  E:"),
            "7:12 pod.containers[0].env.A wrong_type", "8:12 pod.containers[0].env.B wrong_type",
            "9:12 pod.containers[0].env.C wrong_type", "10:12 pod.containers[0].env.D wrong_type",
            "11:11 pod.containers[0].env.E wrong_type"),
        Document(
            "reserved variables", Document.container("env: {CORTEX_X: a, KUBEXIT_Y: b}"),
            "6:13 pod.containers[0].env.CORTEX_X cortex_prefixed_env_var_not_allowed",
            "6:26 pod.containers[0].env.KUBEXIT_Y cortex_prefixed_env_var_not_allowed"),
        Document(
            "a variable name with =", Document.container("env: {A=B: a, '': b, 1A: c}"),
            "6:13 pod.containers[0].env.A=B invalid_format", "6:21 pod.containers[0].env. invalid_format",
            "6:28 pod.containers[0].env.1A invalid_format"),
        Document("a null environment", Document.container("env:"), "6:11 pod.containers[0].env null_not_allowed"),
        Document(
            "a list as environment", Document.container("env: [A=1]"), "6:12 pod.containers[0].env wrong_type"),
        Document(
            "a variable that is a map", Document.container("env: {A: {b: c}}"),
            "6:16 pod.containers[0].env.A wrong_type"),
        Document(
            "a NUL character", Document.container("env: {A: \"a\\0b\"}"), "6:16 pod.containers[0].env.A invalid_format"),
        Document(
            "a command that is text", Document.container("command: python a.py"),
            "6:16 pod.containers[0].command wrong_type"),
        Document(
            "a number among the arguments", Document.container("args: [--port, 80]"),
            "6:22 pod.containers[0].args[1] wrong_type"),
        Document(
            "a null argument", Document.container("args: [a, ~]"), "6:17 pod.containers[0].args[1] null_not_allowed"),
        Document("null compute", Document.container("compute:"), "6:15 pod.containers[0].compute null_not_allowed"),
        Document(
            "too little cpu", Document.container("compute: {cpu: 19m}"),
            "6:22 pod.containers[0].compute.cpu out_of_range"),
        Document(
            "cpu with a wrong unit", Document.container("compute: {cpu: 1 core}"),
            "6:22 pod.containers[0].compute.cpu invalid_format"),
        Document(
            "negative cpu", Document.container("compute: {cpu: -1}"),
            "6:22 pod.containers[0].compute.cpu invalid_format"),
        Document(
            "too little mem", Document.container("compute: {mem: 19Mi}"),
            "6:22 pod.containers[0].compute.mem out_of_range"),
        Document(
            "mem in bytes, too little", Document.container("compute: {mem: 1000}"),
            "6:22 pod.containers[0].compute.mem out_of_range"),
        Document(
            "mem with a fraction", Document.container("compute: {mem: 1.5e9}"),
            "6:22 pod.containers[0].compute.mem wrong_type"),
        Document(
            "mem in GB", Document.container("compute: {mem: 2GB}"), "6:22 pod.containers[0].compute.mem invalid_format"),
        Document(
            "shm over mem", Document.container("compute:\n  shm: 2Gi\n  mem: 1Gi"),
            "7:14 pod.containers[0].compute.shm shm_cannot_exceed_mem"),
        Document(
            "a negative gpu", Document.container("compute: {gpu: -1}"),
            "6:22 pod.containers[0].compute.gpu out_of_range"),
        Document(
            "half a gpu", Document.container("compute: {gpu: 0.5}"), "6:22 pod.containers[0].compute.gpu wrong_type"),
        Document(
            "null gpu", Document.container("compute: {gpu: ~}"), "6:22 pod.containers[0].compute.gpu null_not_allowed"),
        Document(
            "inferentia", Document.container("compute: {inf: 1}"), "6:22 pod.containers[0].compute.inf not_supported"),
        Document(
            "gpu and inf", Document.container("compute: {gpu: 1, inf: 2}"),
            "6:30 pod.containers[0].compute.inf not_supported", "6:30 pod.containers compute_resource_conflict"),
        Document(
            "a volume without target", Document.container("volumes: [data]"),
            "6:17 pod.containers[0].volumes[0] invalid_format"),
        Document(
            "a volume with an unknown mode", Document.container("volumes: ['data:/data:rx']"),
            "6:17 pod.containers[0].volumes[0] invalid_format"),
        Document(
            "a volume with a relative target", Document.container("volumes: ['data:data']"),
            "6:17 pod.containers[0].volumes[0] invalid_format"),
        Document(
            "volumes on the platform's own folders",
            Document.container("volumes:\n- a:/mnt\n- a:/cortex/client\n- a:/\n- a:/x/../mnt\n- ~/a:/a\n- a:/x/./../y"),
            "7:9 pod.containers[0].volumes[0] not_allowed", "8:9 pod.containers[0].volumes[1] not_allowed",
            "9:9 pod.containers[0].volumes[2] not_allowed", "10:9 pod.containers[0].volumes[3] invalid_format",
            "11:9 pod.containers[0].volumes[4] invalid_format", "12:9 pod.containers[0].volumes[5] invalid_format"),
        Document(
            "two volumes with one target", Document.container("volumes: ['a:/x', 'b:/x/:ro']"),
            "6:25 pod.containers[0].volumes[1] duplicate_value"),
    ]

    static let probes: [Document] = [
        Document(
            "a probe without handler", Document.container("readiness_probe: {period_seconds: 1}"),
            "6:24 pod.containers[0].readiness_probe specify_exactly_one_field"),
        Document(
            "a probe with two handlers",
            Document.container("readiness_probe:\n  http_get: {port: 80}\n  tcp_socket: {port: 80}"),
            "7:9 pod.containers[0].readiness_probe specify_exactly_one_field"),
        Document(
            "exec for readiness", Document.container("readiness_probe:\n  exec: {command: [ls]}"),
            "7:15 pod.containers[0].readiness_probe.exec not_allowed"),
        Document(
            "a probe on a reserved port", Document.container("readiness_probe: {http_get: {port: 8888}}"),
            "6:42 pod.containers[0].readiness_probe.http_get.port not_allowed"),
        Document(
            "a probe on a named port", Document.container("readiness_probe: {http_get: {port: http}}"),
            "6:42 pod.containers[0].readiness_probe.http_get.port wrong_type"),
        Document(
            "a probe without port", Document.container("liveness_probe: {tcp_socket: {}}"),
            "6:36 pod.containers[0].liveness_probe.tcp_socket.port missing"),
        Document(
            "a probe path with a query", Document.container("liveness_probe: {http_get: {port: 80, path: /a?b}}"),
            "6:51 pod.containers[0].liveness_probe.http_get.path invalid_format"),
        Document(
            "the zeros that crashed the original",
            Document.container(
                "readiness_probe:\n  tcp_socket: {port: 1}\n  period_seconds: 0\n  success_threshold: 0"),
            "8:25 pod.containers[0].readiness_probe.period_seconds out_of_range",
            "9:28 pod.containers[0].readiness_probe.success_threshold out_of_range"),
        Document(
            "negative numbers in a probe",
            Document.container(
                "liveness_probe:\n  exec: {command: [ls]}\n  initial_delay_seconds: -1\n  timeout_seconds: -1\n  failure_threshold: -1"
            ),
            "8:32 pod.containers[0].liveness_probe.initial_delay_seconds out_of_range",
            "9:26 pod.containers[0].liveness_probe.timeout_seconds out_of_range",
            "10:28 pod.containers[0].liveness_probe.failure_threshold out_of_range"),
        Document(
            "an empty command", Document.container("liveness_probe: {exec: {command: []}}"),
            "6:40 pod.containers[0].liveness_probe.exec.command out_of_range"),
        Document(
            "pre_stop with tcp_socket", Document.container("pre_stop: {tcp_socket: {port: 80}}"),
            "6:17 pod.containers[0].pre_stop specify_exactly_one_field",
            "6:18 pod.containers[0].pre_stop.tcp_socket unknown_key"),
        Document(
            "a probe that is a list", Document.container("liveness_probe: []"),
            "6:23 pod.containers[0].liveness_probe wrong_type"),
    ]

    static let scaling: [Document] = [
        Document("null autoscaling", Document.top("autoscaling:"), "7:15 autoscaling null_not_allowed"),
        Document(
            "bounds of the numbers",
            Document.top(
                "autoscaling:\n  min_replicas: -1\n  max_replicas: 0\n  init_replicas: -1\n  target_in_flight: 0"),
            "8:19 autoscaling.min_replicas out_of_range", "9:19 autoscaling.max_replicas out_of_range",
            "10:20 autoscaling.init_replicas out_of_range", "11:23 autoscaling.target_in_flight out_of_range"),
        Document(
            "min over max", Document.top("autoscaling: {min_replicas: 5, max_replicas: 4}"),
            "7:31 autoscaling.min_replicas min_replicas_greater_than_max"),
        Document(
            "min over the default of max", Document.top("autoscaling: {min_replicas: 101}"),
            "7:31 autoscaling.min_replicas min_replicas_greater_than_max"),
        Document(
            "init outside of min and max",
            Document.top("autoscaling: {min_replicas: 2, max_replicas: 4, init_replicas: 1}"),
            "7:66 autoscaling.init_replicas init_replicas_less_than_min"),
        Document(
            "init over max", Document.top("autoscaling: {max_replicas: 4, init_replicas: 5}"),
            "7:49 autoscaling.init_replicas init_replicas_greater_than_max"),
        Document(
            "replicas beyond 32 bits", Document.top("autoscaling: {max_replicas: 2147483648}"),
            "7:31 autoscaling.max_replicas out_of_range"),
        Document("a short window", Document.top("autoscaling: {window: 5s}"), "7:25 autoscaling.window out_of_range"),
        Document("an odd window", Document.top("autoscaling: {window: 15s}"), "7:25 autoscaling.window out_of_range"),
        Document(
            "a window without unit", Document.top("autoscaling: {window: 60}"), "7:25 autoscaling.window wrong_type"),
        Document(
            "a window in words", Document.top("autoscaling: {window: 1 minute}"),
            "7:25 autoscaling.window invalid_format"),
        Document(
            "factors out of range",
            Document.top(
                "autoscaling:\n  max_downscale_factor: 1\n  max_upscale_factor: 1\n  downscale_tolerance: 1.0\n  upscale_tolerance: -0.1\n  target_in_flight: .nan\n  downscale_stabilization_period: -1s"
            ),
            "8:27 autoscaling.max_downscale_factor out_of_range", "9:25 autoscaling.max_upscale_factor out_of_range",
            "10:26 autoscaling.downscale_tolerance out_of_range", "11:24 autoscaling.upscale_tolerance out_of_range",
            "12:23 autoscaling.target_in_flight out_of_range",
            "13:37 autoscaling.downscale_stabilization_period out_of_range"),
        Document(
            "a factor in quotes", Document.top("autoscaling: {max_upscale_factor: '2'}"),
            "7:37 autoscaling.max_upscale_factor wrong_type"),
        Document(
            "both of the update strategy zero", Document.top("update_strategy: {max_surge: 0, max_unavailable: 0%}"),
            "7:32 update_strategy.max_surge surge_and_unavailable_both_zero"),
        Document(
            "percentages", Document.top("update_strategy: {max_surge: 101%, max_unavailable: 12.5%}"),
            "7:32 update_strategy.max_surge out_of_range", "7:55 update_strategy.max_unavailable invalid_format"),
        Document(
            "amounts", Document.top("update_strategy: {max_surge: -1, max_unavailable: 0.5}"),
            "7:32 update_strategy.max_surge out_of_range", "7:53 update_strategy.max_unavailable wrong_type"),
    ]

    static let requests: [Document] = [
        Document(
            "retries out of range", Document.top("retries: {max_attempts: 101, on: [5xx], backoff: 6m}"),
            "7:27 retries.max_attempts out_of_range", "7:37 retries.on[0] not_allowed",
            "7:52 retries.backoff out_of_range"),
        Document("no attempt", Document.top("retries: {max_attempts: 0}"), "7:27 retries.max_attempts out_of_range"),
        Document(
            "a reason twice", Document.top("retries: {on: [timeout, timeout]}"), "7:27 retries.on[1] duplicate_value"),
        Document("reasons that are no list", Document.top("retries: {on: timeout}"), "7:17 retries.on wrong_type"),
        Document("retries as a number", Document.top("retries: 3"), "7:12 retries wrong_type"),
        Document("no timeout at all", Document.top("timeout: 0s"), "7:12 timeout out_of_range"),
        Document("no retention", Document.top("retention: 0s"), "7:14 retention out_of_range"),
        Document("retention over a year", Document.top("retention: 366d"), "7:14 retention out_of_range"),
        Document("retention in weeks", Document.top("retention: 2w"), "7:14 retention invalid_format"),
        Document("no payload", Document.top("max_payload: 0"), "7:16 max_payload out_of_range"),
        Document("a payload with a fraction", Document.top("max_payload: 0.5"), "7:16 max_payload wrong_type"),
        Document("a result in MB", Document.top("max_result: 5MB"), "7:15 max_result invalid_format"),
        Document("no queue", Document.top("max_queue_length: 0"), "7:21 max_queue_length out_of_range"),
        Document("no queue time", Document.top("max_queue_time: 0s"), "7:19 max_queue_time out_of_range"),
        Document("keep_failed as a boolean", Document.top("keep_failed: false"), "7:16 keep_failed wrong_type"),
    ]
}
