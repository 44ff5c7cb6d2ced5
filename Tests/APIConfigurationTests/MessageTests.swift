import APIConfiguration
import Core
import Testing

@Suite("Y3: the text of a problem")
struct MessageTests {
    @Test(
        "Y3: file, line, column, API, path, what was found, what is allowed, and a suggestion",
        arguments: [
            (
                Document.pod("port: 70000"),
                "cortex.yaml:5:11: iris: pod.port: must be a whole number from 1 to 65535, found the number 70000"
            ),
            (
                Document.pod("maxConcurency: 2"),
                "cortex.yaml:5:5: iris: pod.maxConcurency: unknown key \"maxConcurency\"; did you mean \"max_concurrency\"?"
            ),
            (
                Document.top("mem: 1Gi"),
                "cortex.yaml:7:3: iris: mem: unknown key \"mem\"; it belongs in pod.containers[].compute"
            ),
            (
                Document.pod("max_queue_length: 5"),
                "cortex.yaml:5:5: iris: pod.max_queue_length: unknown key \"max_queue_length\"; it belongs at the top level of the API"
            ),
            (
                Document.container("env: {A: 1}"),
                "cortex.yaml:6:16: iris: pod.containers[0].env.A: must be text, found the number 1; write it in quotes: \"1\""
            ),
            (
                Document.container("command: [\"python3 /app/ok.py\"]"),
                "cortex.yaml:6:17: iris: pod.containers[0].command[0]: the program and each argument must be a separate item, found \"python3 /app/ok.py\"; write [python3, /app/ok.py]"
            ),
            (
                Document.container("liveness_probe: {exec: {command: [\"/bin/test -f /tmp/ready\"]}}"),
                "cortex.yaml:6:41: iris: pod.containers[0].liveness_probe.exec.command[0]: the program and each argument must be a separate item, found \"/bin/test -f /tmp/ready\"; write [/bin/test, -f, /tmp/ready]"
            ),
            (
                Document.top("timeout: 60"),
                "cortex.yaml:7:12: iris: timeout: must be a duration such as 30s, 1h30m or 7d, from 1ms to 365d, found the number 60; add the unit, such as 60s"
            ),
            (
                "- name: iris\n  kind: AsyncApi",
                "cortex.yaml:1:3: iris: pod.containers: is missing; it must be a list\ncortex.yaml:2:9: iris: kind: must be one of RealtimeAPI, BatchAPI, TaskAPI, AsyncAPI, TrafficSplitter, found \"AsyncApi\"; did you mean \"AsyncAPI\"?"
            ),
            (
                "- name: iris\n\tkind: BatchAPI",
                "cortex.yaml:2:1: not valid YAML: a tab character where YAML requires spaces; indent with spaces; most editors can turn tabs into them"
            ),
            (
                Document.top("node_groups: [gpu]"),
                "cortex.yaml:7:16: iris: node_groups: there are no node groups here: every replica runs on this machine; remove it"
            ),
            (
                Document.container("image: \"a\\nb\\u202e\""),
                "cortex.yaml:6:14: iris: pod.containers[0].image: must be an image reference such as registry.example.com/team/model:1.2, found \"a\\nb\\u{202e}\"; remove the white space at its ends"
            ),
        ])
    func line(_ text: String, _ expected: String) {
        let result = Document("", text).parsed(baseDirectory: nil)
        #expect(result.problems.rendered == expected)
    }

    @Test("Y3: spaces that may belong to a program's name are allowed")
    func programs() {
        for program in ["/opt/My Program/run", "/opt/a - b/run", "python3", "/app/run me.sh"] {
            let document = Document(program, Document.container("command: [\"\(program)\", \"a b\"]"))
            #expect(document.parsed().problems.isEmpty, "\(program)")
        }
    }

    @Test("Y3: validated() throws one error that lists all problems, one per line")
    func validated() {
        let result = Document("", Document.pod("port: 0\nmax_concurrency: 0")).parsed()
        let error = #expect(throws: PlatformError.self) { try result.validated() }
        #expect(error?.code == .configurationInvalid)
        #expect(error?.message.split(separator: "\n").count == 2)
    }

    @Test("Y2: a relative volume is a problem if the folder of the file is not known")
    func relativeVolume() {
        let document = Document("", Document.container("volumes: ['data:/data', '/a:/b']"))
        #expect(
            document.parsed(baseDirectory: nil).problems.map(\.place)
                == ["6:17 pod.containers[0].volumes[0] not_allowed"])
        #expect(document.parsed().problems.isEmpty)
    }

    @Test("Y3: every field of the schema has one line of description and a default that passes its own check")
    func table() {
        func check(_ object: SchemaObject) {
            for field in object.fields {
                #expect(!field.summary.isEmpty && !field.summary.contains("\n") && field.summary.hasSuffix("."))
                switch field.type {
                case .object(let child): check(child)
                case .list(of: .object(let child), _, _): check(child)
                default: break
                }
            }
        }
        for kind in APIKind.allCases { check(APISchema.root(of: kind)) }
    }
}
