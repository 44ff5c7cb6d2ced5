import Core
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import LocalOrchestrator

/// A running orchestrator with a fake engine and a manual clock.
struct OrchestratorFixture: Sendable {
    let engine: FakeEngine
    let clock: ManualClock
    let orchestrator: LocalOrchestrator
    let log: LogRecorder
    /// What the free space of the disk is; unknown at first.
    let disk: Disk

    final class Disk: Sendable {
        private let value = Mutex<DiskMargin?>(nil)
        var margin: DiskMargin? { value.withLock { $0 } }
        func set(free: Int64, reserve: Int64) { value.withLock { $0 = DiskMargin(free: free, reserve: reserve) } }
    }

    static func with(_ body: @Sendable (OrchestratorFixture) async throws -> Void) async throws {
        try await with(prepare: { _ in }, body: body)
    }

    /// `prepare` runs before the orchestrator does.
    ///
    /// - Parameter engine: the same one twice is a restart of the platform after `kill -9`.
    static func with(
        engine: FakeEngine = FakeEngine(), recorder: (any WorkerRecorder)? = nil,
        prepare: @Sendable (OrchestratorFixture) async throws -> Void,
        body: @Sendable (OrchestratorFixture) async throws -> Void
    ) async throws {
        let log = LogRecorder()
        let clock = ManualClock()
        let counter = Counter()
        let disk = Disk()
        let orchestrator = LocalOrchestrator(
            engine: engine, clock: clock,
            configuration: .init(
                clientConfiguration: { _, id in "# of \(id)" }, makePodSuffix: { "p\(counter.next())" },
                diskMargin: { disk.margin }, recorder: recorder),
            logger: Logger(label: "test", factory: { _ in log.handler }))
        let fixture = OrchestratorFixture(
            engine: engine, clock: clock, orchestrator: orchestrator, log: log, disk: disk)
        try await prepare(fixture)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await orchestrator.run() }
            try await body(fixture)
            group.cancelAll()
        }
    }

    static func api(
        _ name: String = "echo", version: String = "1", deployment: String = "d1", grace: Duration = .seconds(60),
        preStop: ContainerSpecification.PreStop? = nil, liveness: Probe? = nil, containers: Int = 1,
        disk: String? = nil
    ) -> DeployedAPI {
        let containers = (0..<containers).map { index in
            ContainerSpecification(
                name: index == 0 ? "main" : "side\(index)", image: "x",
                compute: Compute(disk: disk.flatMap { Quantity($0) }), livenessProbe: index == 0 ? liveness : nil,
                preStop: index == 0 ? preStop : nil)
        }
        return DeployedAPI(
            specification: APISpecification.async(
                name: name, networking: .init(endpoint: "/\(name)"),
                pod: PodSpecification(terminationGracePeriod: grace, containers: containers)),
            id: "api-\(version)-\(deployment)", specID: version, podID: version, deploymentID: deployment,
            initialDeployment: Timestamp(seconds: 0), lastUpdated: Timestamp(seconds: 0))
    }

    /// The newest list of ready replicas that satisfies `condition`.
    func ready(where condition: ([ReadyReplica]) -> Bool) async -> [ReadyReplica] {
        for await replicas in orchestrator.readyReplicas() {
            if condition(replicas) { return replicas }
        }
        return []
    }

    /// The list of ready replicas as it stands.
    func latest() async -> [ReadyReplica] {
        await ready { _ in true }
    }

    /// Lets time pass step by step until `condition` holds.
    func advance(
        by step: Duration = .milliseconds(500), until condition: @escaping @Sendable () async -> Bool
    ) async throws {
        try await expectEventually {
            if await condition() { return true }
            clock.advance(by: step)
            return await condition()
        }
    }

    private final class Counter: Sendable {
        private let value = Mutex(0)
        func next() -> Int {
            value.withLock {
                $0 += 1
                return $0
            }
        }
    }
}

/// Keeps the messages that were logged.
final class LogRecorder: Sendable {
    private let state = Mutex<[String]>([])
    var messages: [String] { state.withLock { $0 } }

    var handler: any LogHandler { Handler(recorder: self) }

    private struct Handler: LogHandler {
        let recorder: LogRecorder
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) { recorder.state.withLock { $0.append("\(event.message)") } }
    }
}
