import Core
import Foundation
import LocalOrchestrator
import Logging
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineSandbox

@Suite("Tasks on the sandbox engine", .timeLimit(.minutes(2)))
struct SandboxTaskTests {
    @Test("T2, T6, T10: a task survives the platform, its true end and its artifacts are known, and nothing is left")
    func task() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let (first, second) = (fixture.engine(), fixture.engine())
            let go = "while [ ! -e /cortex/artifacts/go ]; do sleep 0.05; done"
            let plan = Self.plan("cat /cortex/spec/job.json > /cortex/artifacts/out; \(go); echo bye; exit 5")
            try await Self.withOrchestrator(first, { await $0.start(plan) }) { orchestrator in
                #expect(await Self.state(orchestrator) { $0?.phase == .running }?.startedAt != nil)
            }
            // Meanwhile no platform runs: the task ends by itself.
            let folder = try #require(try await second.artifactsFolder(pod: plan.pod))
            #expect(FileManager.default.createFile(atPath: folder + "/go", contents: nil))
            let began = Date()
            #expect(
                try await eventually {
                    try await second.list().first?.containers.first?.state == .exited(ContainerExit(code: 5))
                })
            try await Self.withOrchestrator(second, { await $0.resume(plan) }) { orchestrator in
                let end = try #require(await Self.state(orchestrator) { $0?.end != nil }?.end)
                #expect(end.cause == .exit && end.exit?.code == 5 && end.container == "main")
                #expect(abs(Double(end.endedAt.microseconds) / 1e6 - began.timeIntervalSince1970) < 10)
                let names = Mutex<[String]>([])
                let omitted = try await ArtifactFolder(path: folder).copy(limit: 1 << 20) { path, content in
                    let text = String(decoding: try await content.read(upTo: 100) ?? [], as: UTF8.self)
                    names.withLock { $0.append("\(path)=\(text)") }
                }
                #expect(omitted.isEmpty && names.withLock { $0 } == ["go=", "out={}\n"])
                await orchestrator.acknowledge(run: plan.pod)
                #expect(await Self.state(orchestrator) { $0 == nil } == nil)
            }
            #expect(try await second.artifactsFolder(pod: plan.pod) == nil)
            try await expectEventually { fixture.leftovers(plan.pod) == [] }
        }
    }

    private static func plan(_ script: String) -> RunPlan {
        let containers = [
            ContainerSpecification(name: "main", image: nil, command: ["sh", "-c", script]),
            ContainerSpecification(name: "side", image: nil, command: ["sleep", "1000"]),
        ]
        let api = DeployedAPI(
            specification: .async(
                name: "task", networking: .init(endpoint: "/task"),
                pod: PodSpecification(terminationGracePeriod: .seconds(1), containers: containers)),
            id: "a", specID: "s", podID: "p", deploymentID: "d", initialDeployment: Timestamp(seconds: 0),
            lastUpdated: Timestamp(seconds: 0))
        return RunPlan(
            pod: "t-j-0-x", api: api,
            job: JobContext(jobID: "j", workers: 1, files: [PodFile(name: "job.json", text: "{}\n")]), index: 0,
            attempt: 1)
    }

    /// Runs an orchestrator that is ended as by `kill -9`: without a graceful shutdown.
    private static func withOrchestrator(
        _ engine: any Engine, _ declare: (LocalOrchestrator) async -> Void,
        _ body: (LocalOrchestrator) async throws -> Void
    ) async throws {
        try await engine.setUp()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let orchestrator = LocalOrchestrator(
            engine: engine, clock: SystemClock(),
            configuration: .init(clientConfiguration: { _, _ in "" }, makePodSuffix: { "x" }), logger: logger)
        await declare(orchestrator)
        let run = Task { try await orchestrator.run() }
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(orchestrator))
        } catch {
            result = .failure(error)
        }
        run.cancel()
        _ = await run.result
        try result.get()
    }

    /// The state of the only run that satisfies the condition.
    private static func state(
        _ orchestrator: LocalOrchestrator, where condition: @Sendable (RunState?) -> Bool
    ) async -> RunState? {
        for await states in orchestrator.runs() where condition(states.first) { return states.first }
        return nil
    }
}
