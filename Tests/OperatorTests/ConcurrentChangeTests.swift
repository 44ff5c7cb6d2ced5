import Access
import Core
import Logging
import NIOHTTP1
import Reconciler
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("A13, S1: changes of APIs beside one another")
struct ConcurrentChangeTests {
    @Test("A13: changes of one API wait for one another in order; those of others pass")
    func perAPI() async throws {
        let gate = Limiter(waitingLimit: 128, of: "changes")
        let order = Locked<[String]>([])
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await gate.run(["a", "/a"]) {
                    order.withLock { $0.append("a 1") }
                    for await _ in held { break }
                }
            }
            try await expectEventually { order.withLock { $0 } == ["a 1"] }
            for (name, keys) in [("a 2", ["a"] as Set), ("a and b", ["/a", "b"]), ("b behind it", ["b"])] {
                group.addTask { try await gate.run(keys) { order.withLock { $0.append(name) } } }
                try await Task.sleep(for: .milliseconds(20))
            }
            try await gate.run(["c"]) { order.withLock { $0.append("c") } }
            #expect(order.withLock { $0 } == ["a 1", "c"])
            release.yield()
            try await group.waitForAll()
        }
        let ended = order.withLock { $0 }
        #expect(Set(ended) == ["a 1", "c", "a 2", "a and b", "b behind it"])
        #expect(ended.firstIndex(of: "a and b") ?? 9 < ended.firstIndex(of: "b behind it") ?? 0, "no overtaking")
    }

    @Test("U4: waiting changes are limited, with a named error, and a caller that leaves does not wait on")
    func bounded() async throws {
        let gate = Limiter(waitingLimit: 2, of: "changes")
        let (held, release) = AsyncStream.makeStream(of: Void.self)
        let isInside = Locked(false)
        let first = Task {
            try await gate.run(["a"]) {
                isInside.withLock { $0 = true }
                for await _ in held { break }
            }
        }
        try await expectEventually { isInside.withLock { $0 } }
        let waiting = (0..<2).map { _ in Task { try await gate.run(["a"]) {} } }
        try await expectEventually {
            // Refused as soon as both wait.
            let more = Task { try await gate.run(["a"]) {} }
            defer { more.cancel() }
            try await Task.sleep(for: .milliseconds(20))
            more.cancel()
            guard case .failure(let error) = await more.result else { return false }
            return (error as? PlatformError)?.code == .unavailable
        }
        waiting[0].cancel()
        await #expect(throws: CancellationError.self) { try await waiting[0].value }
        release.yield()
        try await first.value
        try await waiting[1].value
        try await gate.run(["a"]) {}
    }

    @Test("S1, S3: a scaling decision at any step of a deploy is neither lost nor applied to the wrong version")
    func scalingDecisions() async throws {
        let steps = try await deploy(deciding: nil).steps
        #expect(steps >= 4)
        for step in 0..<steps {
            let result = try await deploy(deciding: step)
            #expect(result.saved == result.declared, "step \(step)")
            #expect(result.isAccepted && result.saved == 5, "step \(step)")
            let old = try await deploy(deciding: step, forOldVersion: true)
            #expect(old.saved == old.declared, "step \(step)")
            #expect(old.saved == (old.isAccepted ? 5 : 2), "step \(step)")
        }
        #expect(try await !deploy(deciding: steps - 1, forOldVersion: true).isAccepted)
    }

    // MARK: Other processes

    /// A version that another process deploys.
    private func rival(_ number: Int, endpoint: String = "/iris") -> DeployedAPI {
        DeployedAPI(
            specification: APISpecification.async(
                name: "iris", networking: .init(endpoint: endpoint),
                pod: PodSpecification(containers: [.init(name: "api", image: "rival:\(number)")])),
            id: "rival-\(number)", specID: "rival-spec-\(number)", podID: "rival-pod-\(number)", deploymentID: "rival",
            initialDeployment: Timestamp(seconds: 1), lastUpdated: Timestamp(seconds: 1))
    }

    @Test("A13: a deploy whose version was replaced by another process is decided again, for the version it finds")
    func deployConflict() async throws {
        try await Fixture.with { fixture in
            fixture.store.rivals.withLock { $0 = [[rival(1)], [rival(2)]] }
            let results = try await fixture.deploy().decoded([DeployResultDocument].self)
            #expect(results.map(\.message) == ["updating iris (AsyncAPI)"], "it was not there at first")
            let versions = try await fixture.store.versions(of: "iris")
            #expect(versions.dropFirst().map(\.id) == ["rival-2", "rival-1"])
            #expect(versions[0].deploymentID == "rival" && versions[0].initialDeployment == Timestamp(seconds: 1))
            #expect(fixture.orchestrator.applied.map(\.id) == [versions[0].id])
        }
    }

    @Test("A13: a deploy that lost against another API's endpoint is refused, and the other stays")
    func deployAgainstEndpoint() async throws {
        try await Fixture.with { fixture in
            var other = rival(1)
            other.specification.name = "lily"
            fixture.store.rivals.withLock { $0 = [[other, rival(2, endpoint: "/other")]] }
            let results = try await fixture.deploy().decoded([DeployResultDocument].self)
            #expect(results[0].api == nil && results[0].errorKind == "conflict")
            #expect(results[0].error.contains("/iris is the endpoint of lily"))
            #expect(try await fixture.store.deployedAPIs().map(\.id) == ["rival-2", "rival-1"])
        }
    }

    @Test("S4: a refresh and a rollback that lost against another process are made for the version they find")
    func refreshConflict() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.orchestrator.setStatus(.of(.ready), of: "iris")
            fixture.store.rivals.withLock { $0 = [[rival(1)]] }
            #expect(try await fixture.call(.POST, "/refresh/iris").status == 200)
            let refreshed = try await fixture.store.versions(of: "iris")
            #expect(refreshed[0].specID == "rival-spec-1" && refreshed[1].id == "rival-1")
            // Another version of the pod comes; the one before it is the one to go back to.
            fixture.store.rivals.withLock { $0 = [[rival(2)]] }
            #expect(try await fixture.call(.POST, "/rollback/iris").status == 200)
            let present = try await fixture.store.deployedAPIs()[0]
            #expect(present.specification.pod.containers[0].image == "rival:1")
        }
    }

    @Test("U4: a change that loses again and again is refused in words, and changes nothing")
    func endlessConflict() async throws {
        try await Fixture.with { fixture in
            fixture.store.rivals.withLock { $0 = (1...50).map { [rival($0)] } }
            let results = try await fixture.deploy().decoded([DeployResultDocument].self)
            #expect(results[0].errorKind == "conflict" && results[0].error.contains("try again"))
            #expect(try await fixture.store.deployedAPIs()[0].id.hasPrefix("rival-"))
            #expect(fixture.orchestrator.applied.isEmpty)
        }
    }

    private struct Ending {
        var steps: Int
        var isAccepted: Bool
        var saved: Int?
        var declared: Int?
    }

    /// An update of an API with two replicas. At one step of it the autoscaler decides on five, as it does: store
    /// first, then it has the number applied.
    ///
    /// - Parameter forOldVersion: whether it decided for the version before the update.
    private func deploy(deciding step: Int?, forOldVersion: Bool = false) async throws -> Ending {
        let orchestrator = CountingOrchestrator()
        let store = SteppingStore()
        let clock = ManualClock()
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let reconciler = Reconciler(store: store, orchestrator: orchestrator, clock: clock, logger: logger)
        let service = DeployService(
            store: store, orchestrator: orchestrator, reconciler: reconciler, clock: clock,
            random: SeededGenerator(seed: 1), kinds: [.async], logger: logger)
        let yaml = Array(Fixture.yaml.utf8)
        _ = try await service.deploy(yaml, fileName: "cortex.yaml", baseDirectory: nil, by: .admin, force: true)
        try await store.base.saveRequestedReplicas(2, of: "iris")
        await reconciler.reconcile("iris")
        let oldVersion = try await store.base.deployedAPIs().first?.id
        let isAccepted = Locked(false)
        let applying = Locked<Task<Void, Never>?>(nil)
        store.begin { number in
            guard number == step else { return }
            let base = store.base
            let present = try await base.deployedAPIs().first?.id
            guard let version = forOldVersion ? oldVersion : present,
                let current = try await base.requestedReplicas(of: "iris")
            else { return }
            let isSaved = try await base.replaceRequestedReplicas(5, of: "iris", version: version, expecting: current)
            isAccepted.withLock { $0 = isSaved }
            // Not awaited here: this call may be a part of the pass that it would wait for.
            if isSaved { applying.withLock { $0 = Task { await reconciler.reconcile("iris") } } }
        }
        _ = try await service.deploy(
            Array((Fixture.yaml + "\n        env: {A: b}").utf8), fileName: "cortex.yaml", baseDirectory: nil,
            by: .admin, force: true)
        let steps = store.end()
        await applying.withLock { $0 }?.value
        return Ending(
            steps: steps, isAccepted: isAccepted.withLock { $0 },
            saved: try await store.base.requestedReplicas(of: "iris"),
            declared: await orchestrator.status(api: "iris")?.requested)
    }
}

/// Calls back before each call that concerns declared APIs.
private final class SteppingStore: WrappedStore {
    let base = MemoryStore()
    private let state = Mutex<(number: Int, action: (@Sendable (Int) async throws -> Void)?)>((0, nil))

    func begin(_ action: @escaping @Sendable (Int) async throws -> Void) { state.withLock { $0 = (0, action) } }

    func end() -> Int {
        state.withLock { state in
            state.action = nil
            return state.number
        }
    }

    private func step() async throws {
        let (number, action) = state.withLock { state in
            defer { state.number += 1 }
            return (state.number, state.action)
        }
        try await action?(number)
    }

    func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        try await step()
        return try await base.deploy(api, expecting: expecting, now: now)
    }

    func deployedAPIs() async throws -> [DeployedAPI] {
        try await step()
        return try await base.deployedAPIs()
    }

    func requestedReplicas(of api: String) async throws -> Int? {
        try await step()
        return try await base.requestedReplicas(of: api)
    }

    func replaceRequestedReplicas(_ count: Int, of api: String, version: String, expecting current: Int) async throws
        -> Bool
    {
        try await step()
        return try await base.replaceRequestedReplicas(count, of: api, version: version, expecting: current)
    }
}

/// Knows only how many replicas were declared last.
private final class CountingOrchestrator: Orchestrator {
    private let requested = Mutex<[String: Int]>([:])

    func problems(with specification: APISpecification) async -> [String] { [] }
    func apply(_ api: DeployedAPI, replicas: Int) async { requested.withLock { $0[api.name] = replicas } }
    func scale(api: String, replicas: Int) async { requested.withLock { $0[api] = replicas } }
    func delete(api: String) async { requested.withLock { $0[api] = nil } }
    func status(api: String) async -> APIStatus? {
        requested.withLock { $0[api] }.map { APIStatus(requested: $0) }
    }
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> { LogStream { _ in } }
    func readyReplicas() -> AsyncStream<[ReadyReplica]> { AsyncStream { $0.finish() } }
}

/// A value that closures share.
private final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        value.withLock { body(&$0) }
    }
}
