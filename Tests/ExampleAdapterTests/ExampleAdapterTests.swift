import Core
import EngineConformance
import Foundation
import StoreConformance
import StoreMemory
import TestSupport
import Testing

@Suite("The examples of the pages for adapters", .timeLimit(.minutes(5)))
struct ExampleAdapterTests {
    // region: store test
    @Test("AuditedStore", arguments: StoreCheck.all(for: [.exclusive]))
    func store(_ check: StoreCheck) async throws {
        try await check(StoreFixture(AuditedStore(MemoryStore())))
    }
    // endregion: store test

    @Test("A10: the audited store records each end once, and no end of a stale lease")
    func audit() async throws {
        let store = AuditedStore(MemoryStore())
        let now = Timestamp(seconds: 1_800_000_000)
        let specification = APISpecification.async(
            name: "echo", networking: .init(endpoint: "/echo"), pod: .init(containers: [.init(name: "main")]))
        let api = DeployedAPI(
            specification: specification, id: "echo-1", specID: "s", podID: "p", deploymentID: "d",
            initialDeployment: now, lastUpdated: now, submitted: "{}")
        try await store.deploy(api, now: now)
        var generator = SeededGenerator(seed: 1)
        let id = RequestID(now: now, using: &generator)
        let submission = Submission(id: id, api: "echo", payload: .inline([]), headers: [], query: nil)
        _ = try await store.submit(submission, maxQueueLength: nil, now: now)
        let claimed = try await store.claim(
            api: "echo", limit: 1, visibility: .seconds(30), holder: "replica", now: now)
        let lease = try #require(claimed.first).lease
        let outcome = Outcome.completed(.inline(Array("1".utf8)))
        // The second finds the lease used.
        _ = await store.finish([(lease, outcome), (lease, outcome)], now: now)
        #expect(store.audit == ["echo \(id)"])
    }

    // region: engine test
    /// What an engine without isolation can keep of the contract. An engine of the product runs
    /// `EngineCheck.all(for: capabilities)`.
    private static let kept: Set<String> = [
        "U4: stopping an unknown or stopped pod is no error",
        "C14: the end of a container is listed, and there is a hint",
        "C14: a command's output is cut at the limit, and the command still ends",
        "C14: a command that cannot be run, or a missing container, is an error",
        "O4: logs have lines of both streams, the last lines, and those before a restart",
        "O4: the last output is a line although its end is missing",
        "O4: a line that is too long is split, bytes that are not text become U+FFFD",
        "O4: logs of a missing container are an error",
    ]

    @Test("ProcessEngine", arguments: EngineCheck.all(for: []).filter { kept.contains($0.name) })
    func engine(_ check: EngineCheck) async throws {
        try await withTemporaryDirectory { folder in
            let engine = ProcessEngine(directory: folder)
            let fixture = EngineFixture(
                engine: engine, anotherEngine: { engine },
                container: { ContainerPlan(name: $0, command: $1) },
                gatewaySocket: folder.path + "/gateway.sock", operatorSocket: folder.path + "/operator.sock",
                folder: folder, killInit: { _ in }, leftovers: { _ in [] })
            try await check(fixture)
        }
    }
    // endregion: engine test

    @Test("The suite has every check that the example names")
    func names() {
        #expect(Self.kept.isSubset(of: EngineCheck.all(for: []).map(\.name)))
    }
}
