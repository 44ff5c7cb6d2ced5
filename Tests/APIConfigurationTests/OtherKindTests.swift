import APIConfiguration
import Core
import Testing

@Suite("Y1: kinds that are not served are checked too, and refused by name")
struct OtherKindTests {
    @Test("Y1: a good file of another kind has no problem and one refusal", arguments: good)
    func refused(_ document: Document) throws {
        let result = document.parsed(served: Document.kindsWithoutJobs)
        #expect(result.problems.rendered == "")
        #expect(result.apis.isEmpty)
        #expect(result.refusals.map(\.place) == document.problems)
        let error = try #require(#expect(throws: PlatformError.self) { try result.validated() })
        #expect(error.code == .configurationInvalid)
        #expect(
            error.message.contains("is not served by this version; only RealtimeAPI, AsyncAPI, TrafficSplitter are"))
    }

    @Test("Y1: each kind has its own fields", arguments: bad)
    func problems(_ document: Document) {
        let result = document.parsed(served: Document.kindsWithoutJobs)
        #expect(result.problems.map(\.place) == document.problems)
        #expect(result.refusals.count == 1)
        #expect(document.parsed().refusals.isEmpty)
    }

    @Test("Y1: refusals and problems are in the order of the file, and prevent the deploy of its valid APIs")
    func order() {
        let async = "- {name: good, kind: AsyncAPI, pod: {containers: [{name: a}]}}\n"
        let mixed = Document("", async + Self.task("command: [a]")).parsed(served: Document.kindsWithoutJobs)
        #expect(mixed.specifications.map(\.name) == ["good"])
        #expect(mixed.obstacles.map(\.place) == ["3:9 kind kind_not_served"])
        #expect(throws: PlatformError.self) { try mixed.validated() }
        let both = Document("", async + Self.task("command: a")).parsed(served: Document.kindsWithoutJobs)
        #expect(both.obstacles.map(\.kind) == [.kindNotServed, .wrongType])
        #expect(both.apis.isEmpty)
    }

    private static func api(_ kind: String, _ pod: String = "", _ container: String, _ top: String = "") -> String {
        """
        - name: iris
          kind: \(kind)
          pod: {\(pod)containers: [{name: a, image: b, \(container)}]}\(top.isEmpty ? "" : "\n  \(top)")
        """
    }

    private static func task(_ container: String, _ pod: String = "", top: String = "") -> String {
        api("TaskAPI", pod, container, top)
    }

    static let good: [Document] = [
        Document(
            "batch", api("BatchAPI", "port: 80, ", "command: [a], readiness_probe: {tcp_socket: {port: 80}}"),
            "2:9 kind kind_not_served"),
        Document(
            "task", task("command: [a], args: [], liveness_probe: {exec: {command: [ls]}}", "port: null, "),
            "2:9 kind kind_not_served"),
    ]

    static let bad: [Document] = [
        Document(
            "a bad name", "- name: Iris\n  kind: BatchAPI\n", "1:3 pod.containers missing", "1:9 name invalid_format"),
        Document(
            "a batch without command", api("BatchAPI", "max_queue_length: 1, ", "pre_stop: null"),
            "3:9 pod.max_queue_length unknown_key", "3:43 pod.containers[0].command missing",
            "3:63 pod.containers[0].pre_stop unknown_key"),
        Document(
            "exec for readiness of a batch",
            api("BatchAPI", "", "command: [a], readiness_probe: {exec: {command: [a]}}"),
            "3:80 pod.containers[0].readiness_probe.exec not_allowed"),
        Document(
            "autoscaling of a batch", api("BatchAPI", "", "command: [a]", "autoscaling: {}"),
            "4:3 autoscaling unknown_key"),
        Document("a task with a port", task("command: [a]", "port: 80, "), "3:15 pod.port not_allowed"),
        Document(
            "a task with null and empty commands",
            "- {name: t, kind: TaskAPI, pod: {containers: [{name: a, image: b, command: null}, {name: b, image: b, command: []}]}}",
            "1:76 pod.containers[0].command null_not_allowed", "1:112 pod.containers[1].command out_of_range"),
        Document(
            "a task with a readiness probe", task("command: [a], readiness_probe: null"),
            "3:56 pod.containers[0].readiness_probe unknown_key"),
        Document(
            "node groups of a task", task("command: [a]", "", top: "node_groups: [a]"), "4:16 node_groups not_supported"
        ),
    ]

    @Test("Y3: an API with a misspelt kind is checked as the kind that is suggested, and is not deployed")
    func misspeltKind() {
        let text = """
            - {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}
            - name: b
              kind: AsyncApi
              pod: {port: 0, containers: [{name: a, volumes: [x:/y]}]}
              networking: {endpoint: a}
              timeot: 5s
            - {name: c, kind: BatchApi, pod: {containers: [{name: a}]}}
            """
        let result = Document("", text).parsed(served: Document.kindsWithoutJobs)
        #expect(
            result.problems.map { "\($0.place) \($0.api ?? "")" } == [
                "3:9 kind unknown_kind b", "4:15 pod.port out_of_range b",
                "5:26 networking.endpoint duplicate_endpoint_in_one_deploy b", "6:3 timeot unknown_key b",
                "7:19 kind unknown_kind c", "7:48 pod.containers[0].command missing c",
            ])
        #expect(
            result.problems.first?.message
                == "must be one of RealtimeAPI, AsyncAPI, TrafficSplitter, found \"AsyncApi\"")
        #expect(result.apis.isEmpty)
    }

    @Test("Y3: a problem of the file's text names the API that contains it")
    func apiOfAFinding() {
        let text = """
            - {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}
            - kind: AsyncAPI
              name: b
              timeout: 5s
              pod: {containers: [{name: a, name: b}]}
              timeout: 6s
            """
        let duplicates = Document("", text).parsed().problems.filter { $0.kind == .duplicateKey }
        #expect(duplicates.map { "\($0.line) \($0.api ?? "")" } == ["5 b", "6 b"])
    }

    @Test(
        "Y1: files of versions before 0.36 are recognized, and the message names the page that helps",
        arguments: [
            "- name: a\n  kind: RealtimeAPI\n  predictor:\n    type: python\n    path: p.py\n",
            "- name: a\n  kind: AsyncAPI\n  project_dir: .\n  pod: {containers: [{name: a}]}\n",
            "- name: iris\n  predictor: {type: python, path: x.py}\n", "- name: iris\n  project_dir: x\n",
            "- name: iris\n  kind: iris\n  predictor: {type: python, path: x.py}\n",
            "- name: a\n  kind: SyncAPI\n", "- kind: deployment\n  name: a\n", "- kind: api\n  name: a\n",
        ])
    func olderVersions(text: String) {
        let obstacles = ConfigurationFile.parse(Array(text.utf8), fileName: "f", baseDirectory: "/").obstacles
        #expect(obstacles.contains { "\($0)".contains("docs/moving-from-cortex.md") }, "\(obstacles)")
        #expect(obstacles.map(\.line) == obstacles.map(\.line).sorted())
    }
}
