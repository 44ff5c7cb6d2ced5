import APIConfiguration
import Core
import TestSupport
import Testing

@Suite("N4: hostile configuration files", .timeLimit(.minutes(10)))
struct ConfigurationFuzzTests {
    private static let corpus = [
        """
        - name: iris
          kind: AsyncAPI
          pod:
            port: 8080
            max_concurrency: 4
            containers:
              - name: api
                image: registry.example.com:5000/iris:1.0
                command: [python, "main.py"]
                env: {A: "1", B: 'two', C: |
                  text}
                compute: {cpu: 200m, mem: 512Mi}
                volumes: ["./app:/app:ro"]
                readiness_probe: {http_get: {path: /, port: 8080}}
          autoscaling: {min_replicas: 0, max_replicas: 10}
          retention: 1h
        """,
        "- &a {name: a, kind: AsyncAPI, pod: {containers: [{name: a}]}}\n- {<<: *a, name: b}\n",
        """
        - {name: r, kind: RealtimeAPI, pod: {max_queue_length: 1, containers: [{name: a}]}, sticky: {cookie: c}}
        - name: s
          kind: TrafficSplitter
          apis: [{name: r, weight: 100}, {name: q, weight: 0}]
          match: [{header: H, prefix: p, api: q}]
          guard: {api: q, max_error_rate: 0.1}
        """,
        #"[{"name": "j", "kind": "TaskAPI", "pod": {"containers": [{"name": "x", "image": "y", "command": ["z"]}]}}]"#,
    ]

    @Test("Y3: no file crashes the reader, and a file is accepted completely or refused with a place")
    func parse() {
        var fuzz = Fuzz(texts: Self.corpus)
        for round in 0..<Fuzz.rounds(3000) {
            let bytes = fuzz.next()
            let result = ConfigurationFile.parse(
                bytes, fileName: "cortex.yaml", baseDirectory: "/x", served: Document.kinds)
            #expect(result.problems.isEmpty || result.apis.isEmpty, "seed \(Fuzz.seed), round \(round)")
            for problem in result.obstacles {
                #expect(problem.line >= 1 && problem.column >= 1, "seed \(Fuzz.seed), round \(round)")
            }
        }
    }
}
