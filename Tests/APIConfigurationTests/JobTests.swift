import APIConfiguration
import Core
import Foundation
import Records
import Testing

/// A BatchAPI or a TaskAPI with these lines in its pod, its container and at its top level. They begin in line 4 column
/// 5, in line 7 column 7, and in line 7 column 3 or after the lines before.
private func api(_ kind: String, pod: String? = nil, container: String? = nil, top: String? = nil) -> String {
    var lines = ["- name: sum", "  kind: \(kind)", "  pod:"]
    if let pod { lines += pod.split(separator: "\n").map { "    " + $0 } }
    lines += ["    containers:", "    - {name: main, image: quay.io/ada/sum:1, command: [sum]\(container ?? "")}"]
    if let top { lines += top.split(separator: "\n").map { "  " + $0 } }
    return lines.joined(separator: "\n") + "\n"
}

private func batch(pod: String? = nil, container: String? = nil, top: String? = nil) -> String {
    api("BatchAPI", pod: pod, container: container, top: top)
}

private func task(pod: String? = nil, container: String? = nil, top: String? = nil) -> String {
    api("TaskAPI", pod: pod, container: container, top: top)
}

@Suite("Y1, B, T: BatchAPIs and TaskAPIs that are read")
struct GoodJobTests {
    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var text: String
        var expected: APISpecification

        private init(_ description: String, _ text: String, _ kind: KindSpecification, endpoint: String) {
            self.description = description
            self.text = text
            self.expected = APISpecification(name: "sum", networking: .init(endpoint: endpoint), kind: kind)
        }

        private static let pod = PodSpecification(
            containers: [ContainerSpecification(name: "main", image: "quay.io/ada/sum:1", command: ["sum"])])

        static func batch(
            _ description: String, _ text: String, endpoint: String = "/sum",
            _ change: (inout BatchSpecification) -> Void = { _ in }
        ) -> Case {
            var specification = BatchSpecification(pod: pod)
            change(&specification)
            return Case(description, text, .batch(specification), endpoint: endpoint)
        }

        static func task(
            _ description: String, _ text: String, endpoint: String = "/sum",
            _ change: (inout TaskSpecification) -> Void = { _ in }
        ) -> Case {
            var specification = TaskSpecification(pod: pod)
            change(&specification)
            return Case(description, text, .task(specification), endpoint: endpoint)
        }
    }

    @Test("B, T: every field is read, every default is set", arguments: originals + extensions)
    func specification(_ example: Case) {
        let result = Document(example.description, example.text).parsed()
        #expect(result.problems.rendered == "")
        #expect(result.specifications == [example.expected])
    }

    @Test("A13: every value is stored and read back", arguments: originals + extensions)
    func stored(_ example: Case) throws {
        let api = DeployedAPI(
            specification: example.expected, id: "a", specID: "b", podID: "c", deploymentID: "d",
            initialDeployment: Timestamp(microseconds: 1), lastUpdated: Timestamp(microseconds: 2), submitted: "{}")
        let data = try JSONEncoder().encode(DeployedAPIRecord(api))
        #expect(try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api == api)
    }

    @Test("J14: the submission of a schedule keeps the order of its keys and the digits of its numbers")
    func verbatim() throws {
        let text = task(
            top: """
                schedules:
                - name: a
                  every: 1h
                  job:
                    workers: 2
                    config: {z: 12345678901234567890, a: 1.0, e: 1e400, m: -0, t: [0x10, .5, yes, null, "é\\n\\""]}
                """)
        let result = Document("", text).parsed()
        #expect(result.problems.rendered == "")
        let schedules = try #require(result.specifications.first?.jobs?.schedules)
        #expect(
            schedules.map(\.job) == [
                #"{"workers":2,"config":{"z":12345678901234567890,"a":1.0,"e":1e400,"m":-0,"t":[16,0.5,true,null,"é\n\""]}}"#
            ])
    }

    @Test("B5, B7: the queue of a batch job follows the rules of its API")
    func requests() throws {
        let text = batch(
            top: "timeout: 1s\nretention: 2s\nkeep_failed: 3s\nmax_result: 4\nretries: {on: [item_failed]}")
        let requests = try #require(Document("", text).parsed().specifications.first).requests
        #expect(requests.timeout == .seconds(1) && requests.retention == .seconds(2))
        #expect(requests.keepFailed == .seconds(3) && requests.maxResult == 4)
        #expect(requests.retries == RetryPolicy(maxAttempts: 3, on: [.itemFailed], backoff: .seconds(1)))
        #expect(requests.maxQueueLength == nil && requests.maxQueueTime == nil)
    }

    /// Files of the original (reference: cortex.md §1.3, §1.4).
    static let originals: [Case] = [
        .batch("the least of a BatchAPI", batch()),
        .task("the least of a TaskAPI", task()),
        .batch(
            "every field of the original's BatchAPI",
            batch(
                pod: "port: 80",
                container:
                    ", args: [], env: {A: b}, readiness_probe: {http_get: {port: 80, path: /healthz}}, liveness_probe: {exec: {command: [ls]}}, compute: {cpu: 1, mem: 2G}",
                top: "node_groups: null\nnetworking: {endpoint: /v1/sum/}"), endpoint: "/v1/sum"
        ) {
            $0.pod.port = 80
            $0.pod.containers[0].args = []
            $0.pod.containers[0].env = ["A": "b"]
            $0.pod.containers[0].readinessProbe = Probe(handler: .httpGet(.init(port: 80, path: "/healthz")))
            $0.pod.containers[0].livenessProbe = Probe(handler: .exec(command: ["ls"]))
            $0.pod.containers[0].compute = Compute(cpu: Quantity("1"), mem: Quantity("2G"))
        },
        .task(
            "every field of the original's TaskAPI",
            task(
                pod: "port: null", container: ", args: [a], liveness_probe: {tcp_socket: {port: 80}}",
                top: "node_groups: null\nnetworking: {endpoint: train}"), endpoint: "/train"
        ) {
            $0.pod.containers[0].args = ["a"]
            $0.pod.containers[0].livenessProbe = Probe(handler: .tcpSocket(port: 80))
        },
    ]

    static let extensions: [Case] = [
        .batch(
            "every default of a BatchAPI, written out",
            batch(
                pod: "max_concurrency: 1\ntermination_grace_period: 60s\noperator_access: read",
                container: ", volumes: null",
                top: """
                    timeout: 12h
                    retries: {max_attempts: 3, on: [unreachable], backoff: 1s}
                    retention: 7d
                    keep_failed: 24h
                    max_payload: 1Gi
                    max_result: 64Mi
                    max_concurrent_jobs: null
                    max_queued_jobs: null
                    start_timeout: 15m
                    schedules: null
                    """)),
        .task(
            "every default of a TaskAPI, written out",
            task(
                top: """
                    timeout: 12h
                    retries: {max_attempts: 1, on: [], no_retry_exit_codes: [], on_lost: retry, backoff: 1s}
                    retention: 7d
                    max_result: 64Mi
                    max_artifacts: 1Gi
                    max_concurrent_jobs: null
                    max_queued_jobs: null
                    start_timeout: 15m
                    schedules: []
                    """)),
        .batch(
            "every field of a BatchAPI",
            batch(
                pod: "max_concurrency: 1000\ntermination_grace_period: 1h\noperator_access: none",
                container: ", volumes: ['a:/b:ro'], compute: {disk: 1Gi}",
                top: """
                    timeout: 1ms
                    retries: {max_attempts: 100, on: [unreachable, timeout, status_5xx, invalid_response, item_failed], backoff: 5m}
                    retention: 1s
                    keep_failed: 0s
                    max_payload: 1Ti
                    max_result: 1
                    max_concurrent_jobs: 1
                    max_queued_jobs: 10000
                    start_timeout: 1d
                    """)
        ) {
            $0.pod.maxConcurrency = 1000
            $0.pod.terminationGracePeriod = .seconds(3600)
            $0.pod.operatorAccess = .none
            $0.pod.containers[0].volumes = [.init(source: "/home/ada/iris/a", target: "/b", readOnly: true)]
            $0.pod.containers[0].compute.disk = Quantity("1Gi")
            $0.timeout = .milliseconds(1)
            $0.retries = RetryPolicy(
                maxAttempts: 100, on: Set(RetryPolicy.Reason.allCases), backoff: .seconds(300))
            $0.keepFailed = .zero
            $0.maxPayload = 1 << 40
            $0.jobs = JobPolicy(
                retention: .seconds(1), maxResult: 1, maxConcurrentJobs: 1, maxQueuedJobs: 10_000,
                startTimeout: .seconds(86_400))
        },
        .task(
            "every field of a TaskAPI",
            task(
                pod: "termination_grace_period: 0s\noperator_access: own", container: ", volumes: [/a:/b]",
                top: """
                    timeout: 365d
                    retries: {max_attempts: 100, on: [exit, oom, timeout], no_retry_exit_codes: [1, 255], on_lost: fail, backoff: 0s}
                    retention: 365d
                    max_result: 1Ti
                    max_artifacts: 0
                    max_concurrent_jobs: 10000
                    max_queued_jobs: 1
                    start_timeout: 1s
                    """)
        ) {
            $0.pod.terminationGracePeriod = .zero
            $0.pod.operatorAccess = .own
            $0.pod.containers[0].volumes = [.init(source: "/a", target: "/b")]
            $0.timeout = .seconds(365 * 86_400)
            $0.retries = TaskRetryPolicy(
                maxAttempts: 100, on: [.exit, .oom, .timeout], noRetryExitCodes: [1, 255], onLost: .fail, backoff: .zero
            )
            $0.maxArtifacts = 0
            $0.jobs = JobPolicy(
                retention: .seconds(365 * 86_400), maxResult: 1 << 40, maxConcurrentJobs: 10_000, maxQueuedJobs: 1,
                startTimeout: .seconds(1))
        },
        .batch("no image, for the sandbox engine", batch().replacing("image: quay.io/ada/sum:1, ", with: "")) {
            $0.pod.containers[0].image = nil
        },
        .batch(
            "schedules of a BatchAPI",
            batch(
                top: """
                    schedules:
                    - {name: nightly, cron: "0 3 * * mon-fri", time_zone: Europe/Berlin, job: {workers: 1}}
                    - {name: hourly, cron: "@hourly", every: null, job: {}}
                    - name: often
                      every: 1s
                      cron: null
                      time_zone: null
                      overlap: replace
                      catch_up: none
                      catch_up_window: 365d
                      jitter: 1h
                      suspended: true
                      job: {workers: 2}
                    """)
        ) {
            $0.jobs.schedules = [
                ScheduleSpecification(
                    name: "nightly", timing: .cron(Self.expression("0 3 * * mon-fri"), timeZone: "Europe/Berlin"),
                    job: #"{"workers":1}"#),
                ScheduleSpecification(name: "hourly", timing: .cron(Self.expression("@hourly"), timeZone: "UTC")),
                ScheduleSpecification(
                    name: "often", timing: .every(.seconds(1)), overlap: .replace, catchUp: .nothing,
                    catchUpWindow: .seconds(365 * 86_400), jitter: .seconds(3600), isSuspended: true,
                    job: #"{"workers":2}"#),
            ]
        },
        .task("a schedule of a TaskAPI needs no submission", task(top: "schedules: [{name: a, every: 365d}]")) {
            $0.jobs.schedules = [ScheduleSpecification(name: "a", timing: .every(.seconds(365 * 86_400)))]
        },
    ]

    private static func expression(_ text: String) -> CronExpression {
        guard let expression = try? CronExpression(text) else { fatalError("\(text) is no cron expression") }
        return expression
    }
}

@Suite("Y3, B, T: problems of BatchAPIs and TaskAPIs")
struct BadJobTests {
    @Test("Y3: each problem has its place", arguments: bad)
    func problems(_ document: Document) {
        let result = document.parsed()
        #expect(result.problems.map(\.place) == document.problems)
        #expect(result.refusals.isEmpty && result.apis.isEmpty)
    }

    @Test("J14: problems of the submission of a schedule are reported at their own lines")
    func submissions() {
        let text = batch(
            top: """
                schedules:
                - {name: a, every: 1h, job: {workers: 0}}
                - name: b
                  cron: "0 3 * * *"
                  job:
                    workers: 1
                    item_list:
                      batch_size: 0
                """)
        let result = Document("", text).parsed { submission, kind in
            #expect(kind == .batch)
            return submission.contains("item_list")
                ? [
                    SubmissionProblem(path: "item_list.batch_size", message: "must be at least 1, found 0"),
                    SubmissionProblem(path: "item_list.items", message: "is missing"),
                    SubmissionProblem(path: "", message: "is wrong"),
                ] : [SubmissionProblem(path: "workers", message: "must be at least 1, found 0")]
        }
        #expect(
            result.problems.map(\.rendered) == [
                "cortex.yaml:7:41: sum: schedules[0].job.workers: must be at least 1, found 0",
                "cortex.yaml:10:5: sum: schedules[1].job: is wrong",
                "cortex.yaml:12:7: sum: schedules[1].job.item_list.items: is missing",
                "cortex.yaml:13:21: sum: schedules[1].job.item_list.batch_size: must be at least 1, found 0",
            ])
        #expect(result.apis.isEmpty)
    }

    @Test(
        "Y3: a field of a kind with replicas is refused, and the message says what a kind with jobs has instead",
        arguments: [
            (batch(top: "autoscaling: {}"), "a submission names the number of workers of its job"),
            (task(top: "update_strategy: null"), "a job keeps the version with which it was submitted"),
            (batch(top: "max_queue_length: 1"), "max_queued_jobs limits the jobs that wait"),
            (batch(top: "max_queue_time: 1s"), "a job waits until it can start"),
            (task(container: ", pre_stop: null"), "a worker is stopped with SIGTERM"),
            (task(container: ", readiness_probe: null"), "nothing is sent to a task"),
            (task(pod: "max_concurrency: 2"), "nothing is sent to a task"),
            (batch(top: "networking: {cors: {}}"), "any origin may submit jobs at the gateway"),
        ])
    func instead(_ text: String, _ words: String) {
        let problems = Document("", text).parsed().problems
        #expect(problems.map(\.kind) == [.unknownKey])
        #expect(problems.first?.hint?.contains(words) == true, "\(problems.rendered)")
    }

    static let bad: [Document] = [
        Document("no pod of a batch", "- name: sum\n  kind: BatchAPI\n", "1:3 pod.containers missing"),
        Document(
            "bounds of a batch",
            batch(
                pod: "max_concurrency: 1001\ntermination_grace_period: 61m",
                top: """
                    timeout: 0s
                    retries: {max_attempts: 101, on: [exit], backoff: 6m}
                    retention: 0s
                    keep_failed: 366d
                    max_payload: 0
                    max_result: 2Ti
                    max_concurrent_jobs: 0
                    max_queued_jobs: 10001
                    start_timeout: 25h
                    """),
            "4:22 pod.max_concurrency out_of_range", "5:31 pod.termination_grace_period out_of_range",
            "8:12 timeout out_of_range", "9:27 retries.max_attempts out_of_range", "9:37 retries.on[0] not_allowed",
            "9:53 retries.backoff out_of_range", "10:14 retention out_of_range", "11:16 keep_failed out_of_range",
            "12:16 max_payload out_of_range", "13:15 max_result out_of_range",
            "14:24 max_concurrent_jobs out_of_range", "15:20 max_queued_jobs out_of_range",
            "16:18 start_timeout out_of_range"),
        Document(
            "bounds of a task",
            task(
                top: """
                    timeout: 366d
                    retries: {max_attempts: 0, on: [unreachable], no_retry_exit_codes: [0, 256, 3, 3], on_lost: never, backoff: -1s}
                    max_artifacts: -1
                    """),
            "6:12 timeout out_of_range", "7:27 retries.max_attempts out_of_range", "7:35 retries.on[0] not_allowed",
            "7:71 retries.no_retry_exit_codes[0] out_of_range", "7:74 retries.no_retry_exit_codes[1] out_of_range",
            "7:82 retries.no_retry_exit_codes[3] duplicate_value", "7:95 retries.on_lost not_allowed",
            "7:111 retries.backoff out_of_range", "8:18 max_artifacts out_of_range"),
        Document(
            "fields of a batch in a task", task(top: "keep_failed: 1s\nmax_payload: 1Gi"),
            "6:3 keep_failed unknown_key", "7:3 max_payload unknown_key"),
        Document(
            "fields of a task in a batch", batch(top: "max_artifacts: 1Gi\nretries: {on_lost: fail}"),
            "6:3 max_artifacts unknown_key", "7:13 retries.on_lost unknown_key"),
        Document(
            "a schedule without its fields", batch(top: "schedules: [{}]"), "6:15 schedules[0].name missing",
            "6:15 schedules[0].job missing", "6:15 schedules[0] specify_exactly_one_field"),
        Document(
            "a schedule with both times", task(top: "schedules: [{name: a, cron: '@daily', every: 1h}]"),
            "6:15 schedules[0] specify_exactly_one_field"),
        Document(
            "a time zone without cron", task(top: "schedules: [{name: a, every: 1h, time_zone: UTC}]"),
            "6:47 schedules[0].time_zone not_allowed"),
        Document(
            "times that are none",
            task(
                top: """
                    schedules:
                    - {name: a, cron: "61 * * * *", time_zone: PST}
                    - {name: b, cron: "@reboot", time_zone: GMT+5}
                    - {name: c, cron: "0 0 30 2 *", time_zone: europe/berlin}
                    - {name: d, cron: "* * * *"}
                    - {name: e, every: 999ms}
                    - {name: f, cron: 5}
                    """),
            "7:21 schedules[0].cron invalid_format", "7:46 schedules[0].time_zone invalid_format",
            "8:21 schedules[1].cron invalid_format", "8:43 schedules[1].time_zone invalid_format",
            "9:21 schedules[2].cron invalid_format", "9:46 schedules[2].time_zone invalid_format",
            "10:21 schedules[3].cron invalid_format", "11:22 schedules[4].every out_of_range",
            "12:21 schedules[5].cron wrong_type"),
        Document(
            "names of schedules",
            task(top: "schedules: [{name: a, every: 1h}, {name: B, every: 1h}, {name: a, every: 1h}]"),
            "6:44 schedules[1].name invalid_format", "6:66 schedules[2].name duplicate_name"),
        Document(
            "other fields of a schedule",
            task(
                top:
                    "schedules: [{name: a, every: 1h, overlap: no, catch_up: newest, catch_up_window: 0s, jitter: 61m, suspended: 1}]"
            ),
            "6:45 schedules[0].overlap wrong_type", "6:59 schedules[0].catch_up not_allowed",
            "6:84 schedules[0].catch_up_window out_of_range", "6:96 schedules[0].jitter out_of_range",
            "6:112 schedules[0].suspended wrong_type"),
        Document(
            "submissions that are no maps",
            task(top: "schedules: [{name: a, every: 1h, job: '{}'}, {name: b, every: 1h, job: []}]"),
            "6:41 schedules[0].job wrong_type", "6:74 schedules[1].job wrong_type"),
        Document(
            "the @ of a name of a container", batch(container: ", args: ['@a']"),
            "5:69 pod.containers[0].args[0] cortex_resource_not_allowed"),
    ]
}
