import Core
import NIOCore
import TestSupport
import Testing

@testable import Operator

@Suite("Plans and identifiers")
struct PlanTests {
    static func specification(_ name: String = "iris") -> APISpecification {
        APISpecification.async(
            name: name, networking: .init(endpoint: "/\(name)"),
            pod: PodSpecification(containers: [ContainerSpecification(name: "api", image: "iris:1")]))
    }

    private static func declaration(_ specification: APISpecification) -> Declaration {
        Declaration(specification: specification, submitted: "{}", places: nil)
    }

    @Test("S3: identifiers change with what they stand for, and with nothing else")
    func identifiers() throws {
        var specification = Self.specification()
        specification.requests.retries.on = [.timeout, .unreachable, .status5xx, .invalidResponse]
        let podID = try Identifiers.podID(of: specification)
        let specID = try Identifiers.specID(of: specification, podID: podID)
        // A digest that changed by itself would restart every pod at an upgrade.
        #expect(podID == "692c77003809074a72b13bd31b1983aeb262637ceaf627ade40b1981cb09929")
        #expect(specID == "bd88ea8e335df1ea1c19f5e64a70dc4d")
        var scaled = specification
        scaled.autoscaling.maxReplicas = 3
        #expect(try Identifiers.podID(of: scaled) == podID)
        #expect(try Identifiers.specID(of: scaled, podID: podID) != specID)
        var moved = specification
        moved.pod.containers[0].env["A"] = "b"
        #expect(try Identifiers.podID(of: moved) != podID)
        #expect(try Identifiers.podID(of: Self.specification("lily")) != podID)
    }

    @Test("S3, R10, R18: identifiers of a RealtimeAPI and a TrafficSplitter are frozen; proxy rules are not the pod's")
    func otherKinds() throws {
        func digests(_ kind: KindSpecification) throws -> [String] {
            let specification = APISpecification(name: "iris", networking: .init(endpoint: "/iris"), kind: kind)
            let podID = try Identifiers.podID(of: specification)
            return [podID, try Identifiers.specID(of: specification, podID: podID)]
        }
        var realtime = RealtimeSpecification(workload: Self.specification().workload)
        let plain = try digests(.realtime(realtime))
        #expect(
            plain == [
                "9cb27166106b90c913bd40e717a36960f339f5be7c38538d4639dfc558f8c86", "b851970f90a2842c88eaf1ab3b6b5c8d",
            ])
        realtime.workload.pod.maxConcurrency = 2
        realtime.workload.autoscaling.maxReplicas = 3
        realtime.proxy = ProxyPolicy(
            maxQueueLength: 1, timeout: .seconds(1), idleTimeout: .seconds(2), maxQueueTime: .seconds(3), maxPayload: 4,
            retries: RetryPolicy(maxAttempts: 5, on: [.timeout, .status5xx], backoff: .seconds(6)),
            sticky: .header("X-User"))
        let changed = try digests(.realtime(realtime))
        #expect(changed == [plain[0], "9a3ab9796edde468a7783526a31fe4e6"])
        var splitter = SplitterSpecification(targets: [.init(api: "a", weight: 100)])
        let fixed = try digests(.trafficSplitter(splitter))
        #expect(
            fixed == [
                "5ab5f19397ef2b465e581f70a8b71e0795aab837fc49242fe35c57364a99452", "ca964cb8fe2defde28baa24522c062b5",
            ])
        splitter.targets.append(.init(api: "b", weight: 1, isShadow: true))
        splitter.sticky = .cookie("c")
        splitter.matches = [
            .init(header: "H", rule: .value("v"), api: "a"), .init(header: "H", rule: .prefix("p"), api: "a"),
        ]
        splitter.allowsOverride = true
        splitter.hasFallback = false
        splitter.guarding = .init(api: "a", maxP99: .milliseconds(250))
        let full = try digests(.trafficSplitter(splitter))
        #expect(full == [fixed[0], "eb18d6e5094ba189bc82fdcccacdb4bf"])
    }

    @Test("J7: identifiers of a BatchAPI and a TaskAPI are frozen; rules for jobs are not the pod's")
    func kindsWithJobs() throws {
        func digests(_ kind: KindSpecification) throws -> [String] {
            let specification = APISpecification(name: "iris", networking: .init(endpoint: "/iris"), kind: kind)
            let podID = try Identifiers.podID(of: specification)
            return [podID, try Identifiers.specID(of: specification, podID: podID)]
        }
        var batch = BatchSpecification(pod: Self.specification().pod)
        let plainBatch = try digests(.batch(batch))
        #expect(
            plainBatch == [
                "e66297b10799ef5896ba963adb18a01aaa8e0da0261cd3f8b4102bce07663a2", "4757e8affa9a0b00ddfe427138f3d0b1",
            ])
        let jobs = JobPolicy(
            retention: .seconds(1), maxResult: 2, maxConcurrentJobs: 3, maxQueuedJobs: 4, startTimeout: .seconds(5),
            schedules: [
                ScheduleSpecification(name: "a", timing: .every(.seconds(6))),
                ScheduleSpecification(
                    name: "b", timing: .cron(try CronExpression("@daily"), timeZone: "Europe/Berlin"), overlap: .allow,
                    catchUp: .all, catchUpWindow: .seconds(7), jitter: .seconds(8), isSuspended: true,
                    job: #"{"workers":1}"#),
            ])
        batch.pod.maxConcurrency = 2
        batch.jobs = jobs
        batch.timeout = .seconds(9)
        batch.retries = RetryPolicy(maxAttempts: 10, on: [.itemFailed, .timeout], backoff: .seconds(11))
        batch.keepFailed = .seconds(12)
        batch.maxPayload = 13
        let fullBatch = try digests(.batch(batch))
        #expect(fullBatch == [plainBatch[0], "209666163d51a71e6f0136a9cfc55c17"])
        var task = TaskSpecification(pod: Self.specification().pod)
        let plainTask = try digests(.task(task))
        #expect(
            plainTask == [
                "fde146510de83782e4fb488b6556e03d2b0cea74c8bc1a899528c1d943072b1", "97f9923ab52467e4898a1734f60ac9b8",
            ])
        task.pod.port = 1
        task.pod.maxConcurrency = 2
        #expect(try digests(.task(task)) == plainTask, "a task has neither")
        task.jobs = jobs
        task.timeout = .seconds(14)
        task.retries = TaskRetryPolicy(
            maxAttempts: 15, on: [.oom, .exit], noRetryExitCodes: [17, 16], onLost: .fail, backoff: .seconds(18))
        task.maxArtifacts = 19
        let fullTask = try digests(.task(task))
        #expect(fullTask == [plainTask[0], "f6a1bcce1bcda5858d25a977a1383603"])
        task.pod.containers[0].command = ["other"]
        #expect(try digests(.task(task))[0] != plainTask[0])
    }

    @Test("O1: ids of versions sort newest first, whatever the time", arguments: [0, 1, 1_800_000_000, 9_000_000_000])
    func apiID(seconds: Int64) {
        let now = Timestamp(seconds: seconds)
        let older = Identifiers.apiID(now: now, deploymentID: "a", specID: "b")
        let newer = Identifiers.apiID(now: now + .microseconds(1), deploymentID: "a", specID: "b")
        #expect(newer < older)
        #expect(older.hasSuffix("-a-b") && older.utf8.count == 20)
    }

    @Test("O1: a deployed API can never become another kind, nor take another's endpoint")
    func conflicts() {
        let deployed = [Self.specification(), Self.specification("lily")].map {
            DeployedAPI(
                specification: $0, id: "", specID: "", podID: "", deploymentID: "",
                initialDeployment: Timestamp(seconds: 0), lastUpdated: Timestamp(seconds: 0))
        }
        #expect(
            DeployPlan.conflicts(of: [Self.declaration(Self.specification())], with: deployed, fileName: "f").isEmpty)
        var rose = Self.specification("rose")
        rose.networking.endpoint = "/lily/x"
        #expect(
            DeployPlan.conflicts(of: [Self.declaration(rose)], with: deployed, fileName: "f").isEmpty,
            "a longer path is another")
        rose.networking.endpoint = "/lily"
        let iris = Self.declaration(Self.specification())
        #expect(DeployPlan.kindConflict(of: iris, as: .async, with: .async, fileName: "f.yaml") == nil)
        let kind = DeployPlan.kindConflict(of: iris, as: .realtime, with: .async, fileName: "f.yaml")
        let problems =
            [kind].compactMap(\.self)
            + DeployPlan.conflicts(of: [iris, Self.declaration(rose)], with: deployed, fileName: "f.yaml")
        #expect(problems.map(\.kind) == ["cannot_change_kind_of_deployed_api", "duplicate_endpoint"])
        #expect(problems.map(\.api) == ["iris", "rose"])
        #expect(problems.allSatisfy { $0.text.hasPrefix("f.yaml: ") })
    }

    @Test(
        "O1: updating means too few ready replicas of the present version, and none that failed",
        arguments: [
            (nil, 1, false), (APIStatus.of(.ready), 1, false), (.of(.ready), 2, true), (.of(.readyOutOfDate), 1, true),
            (.of(.pending), 0, false), (.of(.creating), 1, true), (.of(.stalled), 1, false),
            (.of(.killedOOM), 1, false),
            (.of(.terminating), 1, true),
        ] as [(APIStatus?, Int, Bool)])
    func updating(status: APIStatus?, min: Int, expected: Bool) {
        var specification = Self.specification()
        specification.autoscaling.minReplicas = min
        let api = DeployedAPI(
            specification: specification, id: "", specID: "", podID: "", deploymentID: "",
            initialDeployment: Timestamp(seconds: 0), lastUpdated: Timestamp(seconds: 0))
        #expect(DeployPlan.isUpdating(api, status: status) == expected)
    }

    @Test(
        "C10: addresses are those that the caller can reach",
        arguments: [
            ("http://127.0.0.1:1", nil, "http://127.0.0.1:1"),
            ("http://127.0.0.1:1", "example.org", "http://127.0.0.1:1"),
            ("http://0.0.0.0:1", "Example.org:8888", "http://example.org:1"),
            ("http://[::]:1", "[fe80::1]:8888", "http://[fe80::1]:1"),
            ("http://0.0.0.0:1", "a\"b", "http://0.0.0.0:1"), ("http://0.0.0.0:1", "", "http://0.0.0.0:1"),
            (
                "http://127.0.0.1:1", "ingressgateway-operator.istio-system.svc.cluster.local",
                "http://ingressgateway-apis.istio-system.svc.cluster.local"
            ),
        ] as [(String, String?, String)])
    func addresses(gateway: String, host: String?, expected: String) {
        let addresses = PlatformAddresses(gateway: gateway, operator: "http://127.0.0.1:2")
        #expect(addresses.reachable(from: host).gateway == expected)
    }

    @Test("O4: a writer that is ahead waits, and what it wrote comes in one piece")
    func pipe() async {
        let pipe = LinePipe(limit: 8)
        let written = Box(0)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for _ in 0..<100 {
                    try? await pipe.write(ByteBuffer(bytes: [1, 2, 3]))
                    written.value += 1
                }
                pipe.finish()
            }
            var received = 0
            var largest = 0
            while let bytes = await pipe.next() {
                received += bytes.readableBytes
                largest = max(largest, bytes.readableBytes)
            }
            #expect(received == 300)
            #expect(largest <= 9)
        }
        #expect(written.value == 100)
        pipe.heartbeat()
        await #expect(throws: CancellationError.self) { try await pipe.write(ByteBuffer(bytes: [1])) }
        #expect(await pipe.next() == nil)
    }
}
