import APIConfiguration
import Core
import Foundation
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("J7, J13: BatchAPIs and TaskAPIs at the operator")
struct JobKindTests {
    static let batch = """
        - name: sum
          kind: BatchAPI
          pod:
            max_concurrency: 2
            containers:
              - {name: api, image: "sum:1", command: [sum], compute: {cpu: null}}
          retries: {on: [item_failed]}
          schedules:
            - {name: nightly, cron: "0 3 * * *", time_zone: Europe/Berlin, job: {workers: 2}}

        """

    static let task = """
        - name: train
          kind: TaskAPI
          pod: {containers: [{name: api, image: "train:1", command: [train], env: {KEY: secret}, compute: {cpu: null}}]}
          retries: {on: [oom], no_retry_exit_codes: [2, 1]}
          schedules: [{name: hourly, every: 1h, job: {env: {KEY: secret}}}]

        """

    private static let container =
        #"{"args":null,"command":["NAME"],"compute":{"cpu":null,"gpu":0,"mem":null,"shm":null},"env":ENV,"image":"IMAGE","liveness_probe":null,"name":"api","pre_stop":null,"readiness_probe":null,"volumes":[]}"#

    /// The whole of one version, byte for byte, without its identifiers and what was submitted.
    private static let batchSpec =
        #""keep_failed":86400000000000,"kind":"BatchAPI","last_updated":1800000000,"max_concurrent_jobs":null,"max_payload":1073741824,"max_queued_jobs":null,"max_result":67108864,"name":"sum","networking":{"endpoint":"/sum"},"pod":{"containers":["#
        + container.replacing("NAME", with: "sum").replacing("IMAGE", with: "sum:1").replacing("ENV", with: "{}")
        + #"],"max_concurrency":2,"port":8080,"termination_grace_period":60000000000},"#
    private static let batchRest =
        #""retention":604800000000000,"retries":{"backoff":1000000000,"max_attempts":3,"on":["item_failed"]},"schedules":[{"catch_up":"latest","catch_up_window":3600000000000,"cron":"0 3 * * *","jitter":0,"job":{"workers":2},"name":"nightly","overlap":"skip","suspended":false,"time_zone":"Europe/Berlin"}],"#
    private static let taskSpec =
        #""kind":"TaskAPI","last_updated":1800000000,"max_artifacts":1073741824,"max_concurrent_jobs":null,"max_queued_jobs":null,"max_result":67108864,"name":"train","networking":{"endpoint":"/train"},"pod":{"containers":["#
        + container.replacing("NAME", with: "train").replacing("IMAGE", with: "train:1")
        .replacing("ENV", with: #"{"KEY":"secret"}"#) + #"],"termination_grace_period":60000000000},"#
    private static let taskRest =
        #""retention":604800000000000,"retries":{"backoff":1000000000,"max_attempts":1,"no_retry_exit_codes":[1,2],"on":["oom"],"on_lost":"retry"},"schedules":[{"catch_up":"latest","catch_up_window":3600000000000,"every":3600000000000,"jitter":0,"job":{"env":{"KEY":"secret"}},"name":"hourly","overlap":"skip","suspended":false}],"#

    static func job(_ api: DeployedAPI, config: String? = nil) -> Job {
        Job(
            id: RequestID(high: 0x0193_a0c2_0000_7000, low: 0x8000_0000_0000_0001), version: api,
            submission: JobSubmission(
                workers: 1, config: config.map { Array($0.utf8) },
                work: api.specification.kind.name == .batch ? .batch(.init(batchSize: 1)) : .task(.init())),
            createdAt: Timestamp(seconds: 1_800_000_000))
    }

    @Test("J7: a deploy creates a version and starts nothing; get shows its specification")
    func deploy() async throws {
        try await Fixture.with { fixture in
            let deployed = try await fixture.deploy(Self.batch + Self.task).decoded([DeployResultDocument].self)
            #expect(deployed.map(\.message) == ["created sum (BatchAPI)", "created train (TaskAPI)"])
            #expect(fixture.orchestrator.applied.isEmpty)
            let sum = try await fixture.call(.GET, "/get/sum").body
            #expect(sum.hasPrefix(#"[{"api_versions":[{"api_id":""#))
            #expect(sum.contains(#""batch_job_statuses":[],"endpoint":"http://127.0.0.1:8889/sum""#), "\(sum)")
            #expect(sum.contains(Self.batchSpec) && sum.contains(Self.batchRest), "\(sum)")
            #expect(
                sum.contains(
                    #""status":{"ready":0,"requested":0,"status_code":"status_live","up_to_date":0}"#), "\(sum)")
            let train = try await fixture.call(.GET, "/get/train").body
            #expect(train.contains(Self.taskSpec) && train.contains(Self.taskRest), "\(train)")
            #expect(train.contains(#""task_job_statuses":[]"#) && !train.contains("batch_job_statuses"))
            let read = try JSONDecoder().decode([APIDocument].self, from: Data(train.utf8))[0]
            #expect(read.spec?.task?.retries.noRetryExitCodes == [1, 2] && read.spec?.pod?.port == nil)
            let again = try await fixture.deploy(Self.batch).decoded([DeployResultDocument].self)
            #expect(again.map(\.message) == ["sum (BatchAPI) is up to date"])
            let changed = try await fixture.deploy(Self.batch + "  timeout: 1s\n").decoded([DeployResultDocument].self)
            #expect(changed.map(\.message) == ["updated sum (BatchAPI)"])
        }
    }

    @Test("J13: lists show the jobs of each API, config byte for byte, without results that are in the store")
    func jobs() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.batch + Self.task + Fixture.yaml)
            let apis = try await fixture.store.deployedAPIs()
            let sum = try #require(apis.first { $0.name == "sum" })
            let train = try #require(apis.first { $0.name == "train" })
            let work = TaskJobStatusDocument.Work(results: [0: .stored(key: "k", size: 1 << 20)], artifacts: 1)
            fixture.jobs.value = [
                "sum": [
                    .batch(
                        BatchJobStatusDocument(
                            Self.job(sum, config: #"{"b": 1.0, "a":12345678901234567890}"#), workers: nil))
                ],
                "train": [.task(TaskJobStatusDocument(Self.job(train), workers: nil, work: work))],
            ]
            let list = try await fixture.call(.GET, "/get").body
            #expect(list.contains(#""batch_job_statuses":[{"api_id":"\#(sum.id)","api_name":"sum","#), "\(list)")
            #expect(list.contains(#""config":{"b": 1.0, "a":12345678901234567890},"#), "\(list)")
            #expect(list.contains(#""task_job_statuses":[{"api_id":"\#(train.id)","#) && !list.contains(#""result""#))
            let documents = try JSONDecoder().decode([APIDocument].self, from: Data(list.utf8))
            #expect(documents.compactMap { $0.metadata?.name } == ["sum", "train", "iris"])
            #expect(documents.map { $0.batchJobStatuses?.count } == [1, nil, nil])
            for target in ["/get/sum", "/describe/sum"] {
                let one = try await fixture.call(.GET, target).body
                #expect(one.contains(#""config":{"b": 1.0, "a":12345678901234567890},"#), "\(target)")
            }
        }
    }

    @Test("N1: another pod sees neither variables nor the submissions of schedules")
    func redacted() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.task + Fixture.yaml)
            fixture.orchestrator.setStatus(.of(.ready), of: "iris")
            let reply = try await fixture.call(
                .GET, "/get/train",
                headers: ["Authorization": "Bearer \(Fixture.podToken("iris", "iris-0", .read))"], signed: false)
            #expect(reply.status == 200 && reply.body.contains(#""name":"hourly""#), "\(reply.body)")
            #expect(!reply.body.contains("secret"))
        }
    }

    @Test("J7: refresh, requests and logs are 400 and name what to do instead; delete and rollback work")
    func lifecycle() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Self.batch + Self.task)
            for (method, target) in [
                (HTTPMethod.POST, "/refresh/sum"), (.POST, "/refresh/train?force=true"), (.GET, "/requests/sum"),
                (.GET, "/logs/sum"),
                (.POST, "/retry/train/x"),
            ] {
                let reply = try await fixture.call(method, target)
                #expect(reply.status == 400, "\(target)")
                #expect(try reply.error.kind == "operation_is_only_supported_for_kind", "\(target)")
                #expect(try reply.error.message.contains("job"), "\(target)")
            }
            fixture.clock.advance(by: .seconds(5))
            try await fixture.deploy(Self.batch.replacing("sum:1", with: "sum:2"))
            fixture.clock.advance(by: .seconds(5))
            #expect(try await fixture.call(.POST, "/rollback/sum").status == 200)
            let images = try await fixture.store.versions(of: "sum").map {
                $0.specification.pod.containers[0].image
            }
            #expect(images == ["sum:1", "sum:2", "sum:1"])
            let kind = try await fixture.deploy(Self.batch.replacing("sum", with: "train"))
            #expect(try kind.error.problems?.map(\.kind) == ["cannot_change_kind_of_deployed_api"])
            #expect(try await fixture.call(.DELETE, "/delete/sum").body == #"{"message":"deleting sum"}"# + "\n")
            #expect(try await fixture.call(.GET, "/get/sum").status == 404)
        }
    }

    @Test("N1, N2, Y2: volumes, the rights of pods and the limits of the engine are checked as for other kinds")
    func checks() async throws {
        try await Fixture.with { fixture in
            fixture.orchestrator.state.withLock {
                $0.problems["train"] = ["pod.containers[0].compute.gpu: there is no GPU"]
            }
            let file = Self.task.replacing("[train],", with: "[train], volumes: [/proc:/p],")
                .replacing("pod: {", with: "pod: {operator_access: full, ")
            let paths = try await fixture.deploy(file).error.problems?.map(\.path)
            #expect(
                paths?.compactMap(\.self).sorted() == [
                    "pod.containers[0].compute.gpu", "pod.containers[0].volumes[0]", "pod.operator_access",
                ])
        }
    }

    @Test("J14: a deploy is refused because of the submission of a schedule, with its line")
    func submissions() async throws {
        let check: SubmissionCheck = { submission, kind in
            kind == .batch && submission == #"{"workers":2}"#
                ? [SubmissionProblem(path: "item_list", message: "is missing")] : []
        }
        try await Fixture.with(submissions: check) { fixture in
            let problems = try await fixture.deploy(Self.batch + Self.task).error.problems
            #expect(
                problems?.map(\.text) == ["cortex.yaml:9:68: sum: schedules[0].job.item_list: is missing"])
            #expect(try await fixture.store.deployedAPIs().isEmpty)
        }
    }
}
