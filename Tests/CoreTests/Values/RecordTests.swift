import Core
import Foundation
import Records
import Testing

/// A field that is added to one of these types has to be added to its record in `Sources/Records`, and to the form
/// that identifiers are made of (`CanonicalForm` of the operator) where it is used; otherwise it is lost when the
/// platform restarts.
@Suite("Durable records")
struct RecordTests {
    static let probe = Probe(
        handler: .httpGet(.init(port: 1, path: "/p")), initialDelay: .milliseconds(1500), timeout: .seconds(2),
        period: .seconds(3), successThreshold: 4, failureThreshold: 5)

    static let container = ContainerSpecification(
        name: "c", image: "i:1", env: ["A": "b"], command: ["x"], args: ["y"],
        compute: Compute(cpu: Quantity("1"), mem: Quantity("2Gi"), shm: Quantity("3Mi"), disk: Quantity("4Gi"), gpu: 4),
        readinessProbe: probe,
        livenessProbe: Probe(handler: .exec(command: ["a", "b"])), preStop: .exec(command: ["z"]),
        volumes: [.init(source: "/a", target: "/b", readOnly: true), .init(source: "/c", target: "/d")])

    /// Every field has another value than its default.
    static let api = DeployedAPI(
        specification: APISpecification.async(
            name: "n", networking: .init(endpoint: "/e", allowOrigins: []),
            pod: PodSpecification(
                port: 1, maxConcurrency: 2, terminationGracePeriod: .milliseconds(2500), operatorAccess: .own,
                containers: [
                    container,
                    ContainerSpecification(
                        name: "d", compute: Compute(cpu: nil), readinessProbe: Probe(handler: .tcpSocket(port: 9)),
                        preStop: .httpGet(.init(port: 3))),
                ]),
            autoscaling: AutoscalingPolicy(
                minReplicas: 2, maxReplicas: 3, initReplicas: 4, targetInFlight: 0.1, window: .seconds(5),
                downscaleStabilizationPeriod: .seconds(6), upscaleStabilizationPeriod: .seconds(7),
                maxDownscaleFactor: 0.8, maxUpscaleFactor: 9, downscaleTolerance: 0.01, upscaleTolerance: 0.02),
            updateStrategy: UpdateStrategy(maxSurge: .count(1), maxUnavailable: .percent(2)),
            requests: RequestPolicy(
                timeout: .seconds(1), retention: .seconds(2), keepFailed: .seconds(3), maxPayload: 4, maxResult: 5,
                maxQueueLength: 6, maxQueueTime: .seconds(7),
                retries: RetryPolicy(maxAttempts: 8, on: [.timeout, .invalidResponse], backoff: .seconds(9)))),
        id: "a", specID: "b", podID: "c", deploymentID: "d", initialDeployment: Timestamp(microseconds: 1),
        lastUpdated: Timestamp(microseconds: 2), submitted: "s", fileName: "f")

    static let plan = PodPlan(
        id: "p", owner: .api(.init(name: "n", apiID: "a", podID: "c", deploymentID: "d")),
        createdAt: Timestamp(microseconds: 3),
        containers: [
            ContainerPlan(
                name: "c", image: "i", command: ["x"], args: ["y"], environment: [.init("A", "1"), .init("A", "2")],
                compute: container.compute, volumes: container.volumes),
            ContainerPlan(name: "d", compute: Compute(cpu: nil)),
        ], clientConfiguration: "text", restart: .never)

    @Test("S3: every field of a deployed version and of a pod's plan survives its record")
    func roundTrip() throws {
        let api = try JSONDecoder().decode(
            DeployedAPIRecord.self, from: JSONEncoder().encode(DeployedAPIRecord(Self.api)))
        #expect(api.api == Self.api)
        let plan = try JSONDecoder().decode(PodPlanRecord.self, from: JSONEncoder().encode(PodPlanRecord(Self.plan)))
        #expect(plan.plan == Self.plan)
    }

    @Test("J6: the worker that a pod is survives its record; the records of other pods have nothing new")
    func worker() throws {
        var plan = Self.plan
        let version = plan.owner.version
        plan.owner = .worker(.init(set: "t-j", jobID: "j", version: version, index: 3, attempt: 2))
        let record = try JSONEncoder().encode(PodPlanRecord(plan))
        #expect(try JSONDecoder().decode(PodPlanRecord.self, from: record).plan == plan)
        let other = String(decoding: try JSONEncoder().encode(PodPlanRecord(Self.plan)), as: UTF8.self)
        #expect(!other.contains("worker"))
    }

    @Test("X8: every field of a splitter's state survives its record, and a newer format is refused")
    func splitState() throws {
        func decoded(_ state: SplitState) throws -> SplitState {
            try JSONDecoder().decode(SplitStateRecord.self, from: JSONEncoder().encode(SplitStateRecord(state))).state
        }
        let state = SplitState(
            rollBack: .init(api: "a", weight: 1, reason: "r", since: Timestamp(microseconds: 5)), owners: ["a", "b"])
        #expect(try decoded(state) == state)
        #expect(try decoded(SplitState()) == SplitState())
        #expect(Mirror(reflecting: state).children.count == 2)
        #expect(throws: NewerFormat.self) {
            try JSONDecoder().decode(SplitStateRecord.self, from: Data(#"{"format":2}"#.utf8))
        }
    }

    @Test("S3: the default of a field that is newer than the format is not written")
    func newerFields() throws {
        var plan = Self.plan
        plan.restart = .always
        let text = String(decoding: try JSONEncoder().encode(PodPlanRecord(plan)), as: UTF8.self)
        #expect(!text.contains("restart"))
        #expect(try JSONDecoder().decode(PodPlanRecord.self, from: Data(text.utf8)).plan == plan)
    }

    /// Every field has another value than its default.
    static let jobs = JobPolicy(
        retention: .seconds(1), maxResult: 2, maxConcurrentJobs: 3, maxQueuedJobs: 4, startTimeout: .seconds(5),
        schedules: [
            ScheduleSpecification(
                name: "a", timing: .every(.milliseconds(1500)), overlap: .queue, catchUp: .all,
                catchUpWindow: .seconds(6), jitter: .seconds(7), isSuspended: true, job: #"{"workers":1.0}"#)
        ])
    static let batch = BatchSpecification(
        pod: api.specification.pod, jobs: jobs, timeout: .seconds(8),
        retries: RetryPolicy(maxAttempts: 9, on: [.itemFailed], backoff: .seconds(10)), keepFailed: .seconds(11),
        maxPayload: 12)
    static let task = TaskSpecification(
        pod: api.specification.pod, jobs: jobs, timeout: .seconds(13),
        retries: TaskRetryPolicy(
            maxAttempts: 14, on: [.oom, .exit], noRetryExitCodes: [3, 1, 2], onLost: .fail, backoff: .seconds(15)),
        maxArtifacts: 16)

    @Test("J7: every field of a BatchAPI and a TaskAPI survives its record", arguments: [true, false])
    func kindsWithJobs(isBatch: Bool) throws {
        var api = Self.api
        api.specification.kind = isBatch ? .batch(Self.batch) : .task(Self.task)
        let data = try JSONEncoder().encode(DeployedAPIRecord(api))
        #expect(try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api == api)
    }

    @Test("S3: no field was added without its record")
    func fields() {
        func count(_ value: Any) -> Int { Mirror(reflecting: value).children.count }
        let specification = Self.api.specification
        #expect(count(Self.api) == 9)
        #expect(count(specification) == 3 && count(specification.networking) == 2)
        if case .async(let api) = specification.kind { #expect(count(api) == 2 && count(api.workload) == 3) }
        #expect(count(specification.pod) == 5 && count(Self.container) == 10)
        #expect(count(Self.container.compute) == 5 && count(Self.container.volumes[0]) == 3)
        #expect(count(Self.probe) == 6 && count(HTTPGet(port: 1)) == 2)
        #expect(count(specification.autoscaling) == 11 && count(specification.updateStrategy) == 2)
        #expect(count(Self.batch) == 6 && count(Self.task) == 5 && count(Self.jobs) == 6)
        #expect(count(Self.jobs.schedules[0]) == 8 && count(Self.task.retries) == 5)
        #expect(count(specification.requests) == 8 && count(specification.requests.retries) == 3)
        #expect(count(Self.plan) == 8 && count(Self.plan.containers[0]) == 7)
        switch Self.plan.owner {
        case .api(let version): #expect(count(version) == 4)
        case .worker(let worker): #expect(count(worker) == 5)
        }
    }

    @Test("S3: a record of a newer format, or of a kind that is not served, is distinguished from a damaged one")
    func newer() {
        let error = #expect(throws: NewerFormat.self) {
            try JSONDecoder().decode(DeployedAPIRecord.self, from: Data(#"{"format":7,"id":3}"#.utf8))
        }
        #expect(error == .format(7, latest: 1))
        let unserved = #expect(throws: NewerFormat.self) {
            let data = try JSONEncoder().encode(DeployedAPIRecord(Self.api))
            let text = String(decoding: data, as: UTF8.self).replacing("\"AsyncAPI\"", with: "\"OtherAPI\"")
            _ = try JSONDecoder().decode(DeployedAPIRecord.self, from: Data(text.utf8))
        }
        #expect(unserved == .kind("OtherAPI"))
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(DeployedAPIRecord.self, from: Data(#"{"format":1,"id":3}"#.utf8))
        }
    }
}
