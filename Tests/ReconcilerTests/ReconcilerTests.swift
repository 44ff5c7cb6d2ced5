import Core
import Logging
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import Reconciler

@Suite("Reconciler: what the store declares is what the orchestrator has", .timeLimit(.minutes(1)))
struct ReconcilerTests {
    private let store = TestStore()
    private let orchestrator = TestOrchestrator()
    private let clock = ManualClock()

    private func reconciler(holding reasons: [String: String] = [:]) -> Reconciler {
        Reconciler(
            store: store, orchestrator: orchestrator, clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, check: { _ in reasons })
    }

    private func deploy(_ name: String, version: Int = 1, replicas: Int? = nil) async throws {
        try await store.base.deploy(.sample(name, version: version), now: clock.now())
        if let replicas { try await store.base.saveRequestedReplicas(replicas, of: name) }
    }

    private var calls: [String] { orchestrator.calls.withLock { $0 } }

    // MARK: Start

    @Test("S4: a start applies every API with its last number of replicas, within its bounds, its versions first")
    func restore() async throws {
        try await deploy("iris", version: 1)
        try await deploy("iris", version: 2, replicas: 9)
        try await deploy("lily", replicas: 1000)
        try await deploy("rose")
        try await reconciler().restore()
        #expect(
            calls == [
                "recall iris-2 iris-1", "apply iris-2 9", "recall lily-1", "apply lily-1 100", "recall rose-1",
                "apply rose-1 1",
            ])
    }

    @Test("N2: an API that must not start is not applied, until it was checked again or another version is there")
    func heldBack() async throws {
        try await deploy("iris")
        try await deploy("lily")
        let reconciler = reconciler(holding: ["iris": "its volume is gone", "lily": "its volume is gone"])
        try await reconciler.restore()
        await reconciler.reconcile("iris")
        #expect(calls.isEmpty)
        #expect(reconciler.reasonHeldBack("iris") == "its volume is gone")
        try await deploy("iris", version: 2)
        await reconciler.reconcile("iris")
        #expect(calls.last == "apply iris-2 1" && reconciler.reasonHeldBack("iris") == nil)
        await reconciler.admit("lily")
        #expect(calls.last == "apply lily-1 1" && reconciler.reasonHeldBack("lily") == nil)
    }

    @Test("X: a TrafficSplitter is never applied; replicas of an API that had its name are removed")
    func splitter() async throws {
        try await deploy("iris")
        var splitter = DeployedAPI.sample("split", version: 1)
        splitter.specification.kind = .trafficSplitter(SplitterSpecification(targets: [.init(api: "a", weight: 100)]))
        try await store.base.deploy(splitter, now: clock.now())
        let reconciler = reconciler()
        try await reconciler.restore()
        await reconciler.admit("split")
        #expect(calls == ["recall iris-1", "apply iris-1 1"])
        _ = try await store.base.delete(api: "iris", keepRequests: false, now: clock.now())
        splitter.specification.name = "iris"
        try await store.base.deploy(splitter, now: clock.now())
        await reconciler.admit("iris")
        await reconciler.admit("iris")
        #expect(calls.dropFirst(2) == ["delete iris"])
    }

    @Test("U5: a start without the store fails, and says what the store says")
    func restoreWithoutStore() async throws {
        try await deploy("iris")
        store.isAway.withLock { $0 = true }
        await #expect(throws: PlatformError.self) { try await reconciler().restore() }
        #expect(calls.isEmpty)
    }

    // MARK: Changes

    @Test("S1, S3: the difference is applied and nothing else: a version, a number, nothing")
    func differences() async throws {
        try await deploy("iris", replicas: 2)
        try await deploy("lily")
        let reconciler = reconciler()
        try await reconciler.restore()
        orchestrator.forget()
        await reconciler.reconcile("iris")
        #expect(calls.isEmpty)
        try await store.base.saveRequestedReplicas(5, of: "iris")
        await reconciler.reconcile("iris")
        #expect(calls == ["scale iris 5"])
        try await deploy("iris", version: 2)
        await reconciler.reconcile("iris")
        #expect(calls == ["scale iris 5", "apply iris-2 5"])
        // Another part of the platform, or a restart of the orchestrator, changed what it has.
        await orchestrator.scale(api: "iris", replicas: 1)
        await reconciler.reconcile("iris")
        #expect(calls.last == "scale iris 5")
        orchestrator.requested.withLock { $0["iris"] = nil }
        await reconciler.reconcile("iris")
        #expect(calls.suffix(2) == ["recall iris-2 iris-1", "apply iris-2 5"])
    }

    @Test("A13: a deleted API is deleted, also one that this process does not know, and can come back")
    func deletion() async throws {
        try await deploy("iris", replicas: 3)
        let reconciler = reconciler()
        try await reconciler.restore()
        orchestrator.forget()
        _ = try await store.base.delete(api: "iris", keepRequests: true, now: clock.now())
        await reconciler.reconcile("iris")
        await reconciler.reconcile("ghost")
        #expect(calls == ["delete iris", "delete ghost"])
        try await deploy("iris")
        await reconciler.reconcile("iris")
        #expect(calls.last == "apply iris-1 1")
    }

    @Test("S1: without the store nothing changes, and what was missed is applied by the next regular pass")
    func storeAway() async throws {
        try await deploy("iris", replicas: 2)
        let reconciler = reconciler()
        try await reconciler.restore()
        try await running(reconciler) {
            orchestrator.forget()
            store.isAway.withLock { $0 = true }
            _ = try await store.base.delete(api: "iris", keepRequests: true, now: clock.now())
            try await deploy("lily", replicas: 3)
            await reconciler.reconcile("iris")
            await reconciler.reconcile("lily")
            #expect(calls.isEmpty, "unknown is not zero")
            store.isAway.withLock { $0 = false }
            clock.advance(by: Reconciler.interval)
            // A hint that is followed only now applies one of the two before the regular pass.
            try await expectEventually { calls.sorted() == ["apply lily-1 3", "delete iris", "recall lily-1"] }
            #expect(
                calls.filter { $0.hasSuffix("3") || $0.hasPrefix("recall") } == ["recall lily-1", "apply lily-1 3"])
        }
    }

    @Test("S1: an API that cannot be read does not keep the others from being applied")
    func oneFails() async throws {
        for name in ["iris", "lily", "rose"] { try await deploy(name) }
        store.unreadable.withLock { $0 = "lily" }
        await #expect(throws: PlatformError.self) { try await reconciler().restore() }
        #expect(calls == ["recall iris-1", "apply iris-1 1", "recall rose-1", "apply rose-1 1"])
    }

    // MARK: Hints

    @Test("S2: what another process writes is applied on the store's hint, at once")
    func hints() async throws {
        try await deploy("iris", replicas: 2)
        let reconciler = reconciler()
        try await reconciler.restore()
        try await running(reconciler) {
            try await store.base.saveRequestedReplicas(3, of: "iris")
            try await expectEventually { calls.last == "scale iris 3" }
            try await deploy("lily")
            try await expectEventually { calls.last == "apply lily-1 1" }
            _ = try await store.base.delete(api: "iris", keepRequests: false, now: clock.now())
            try await expectEventually { calls.last == "delete iris" }
        }
    }

    @Test("S1: without any hint the next regular pass applies the change; a stream that ends is opened again")
    func hintsLost() async throws {
        try await deploy("iris", replicas: 2)
        store.hintsEnd.withLock { $0 = true }
        let reconciler = reconciler()
        try await reconciler.restore()
        try await running(reconciler, sleepers: 2) {
            try await store.base.saveRequestedReplicas(4, of: "iris")
            store.hintsEnd.withLock { $0 = false }
            clock.advance(by: Reconciler.interval)
            try await expectEventually { calls.last == "scale iris 4" }
            // The stream was opened again; the regular pass sleeps.
            try await expectEventually { clock.sleepers == 1 && store.streams.withLock { $0 } == 2 }
            try await store.base.saveRequestedReplicas(1, of: "iris")
            try await expectEventually { calls.last == "scale iris 1" }
        }
    }

    // MARK: Passes

    @Test("S3: passes run one at a time: an older reading never overwrites a newer one")
    func order() async throws {
        try await deploy("iris")
        let reconciler = reconciler()
        try await reconciler.restore()
        orchestrator.forget()
        try await deploy("iris", version: 2)
        let gate = store.holdReads()
        let first = Task { await reconciler.reconcile("iris") }
        try await expectEventually { store.heldReads.withLock { $0 } == 1 }
        try await deploy("iris", version: 3, replicas: 7)
        let others = (0..<3).map { _ in Task { await reconciler.reconcile("iris") } }
        // They share the pass behind the one that reads.
        try await expectEventually { await reconciler.waitingCount == 3 }
        // Its caller leaves; those that share the pass are not affected.
        first.cancel()
        others[0].cancel()
        gate.finish()
        await first.value
        for other in others { await other.value }
        #expect(calls == ["apply iris-2 7", "apply iris-3 7"])
        #expect(orchestrator.requested.withLock { $0["iris"] } == 7)
    }

    /// Runs the service around `body`, from the moment when its regular pass sleeps.
    private func running(_ reconciler: Reconciler, sleepers: Int = 1, _ body: () async throws -> Void) async throws {
        let service = Task { try await reconciler.run() }
        defer { service.cancel() }
        try await expectEventually { clock.sleepers == sleepers && store.streams.withLock { $0 } == 1 }
        try await body()
        service.cancel()
        try await service.value
    }
}

/// The memory store with the faults of these tests.
private final class TestStore: WrappedStore {
    let base = MemoryStore()
    let isAway = Mutex(false)
    /// An API whose number of replicas cannot be read.
    let unreadable = Mutex<String?>(nil)
    let hintsEnd = Mutex(false)
    let streams = Mutex(0)
    let heldReads = Mutex(0)
    private let gate = Mutex<AsyncStream<Void>?>(nil)

    /// The next reading of the APIs returns what it read, and not before the result is finished.
    func holdReads() -> AsyncStream<Void>.Continuation {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        gate.withLock { $0 = stream }
        return continuation
    }

    private func check() throws {
        if isAway.withLock({ $0 }) { throw PlatformError(.storeUnavailable, "The store is away.") }
    }

    func deployedAPIs() async throws -> [DeployedAPI] {
        try check()
        let apis = try await base.deployedAPIs()
        let held = gate.withLock { gate in
            defer { gate = nil }
            return gate
        }
        if let held {
            heldReads.withLock { $0 += 1 }
            for await _ in held {}
        }
        return apis
    }

    func requestedReplicas(of api: String) async throws -> Int? {
        try check()
        if unreadable.withLock({ $0 }) == api { throw PlatformError(.storeUnavailable, "This row is damaged.") }
        return try await base.requestedReplicas(of: api)
    }

    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        let stream = hintsEnd.withLock { $0 } ? AsyncStream { $0.finish() } : base.changes(kinds)
        // Counted when nothing can be missed any more.
        streams.withLock { $0 += 1 }
        return stream
    }
}

/// Remembers what it was asked for, and how many replicas of each API it has.
private final class TestOrchestrator: Orchestrator {
    let calls = Mutex<[String]>([])
    let requested = Mutex<[String: Int]>([:])

    func forget() { calls.withLock { $0 = [] } }
    private func note(_ call: String) { calls.withLock { $0.append(call) } }

    func recall(_ versions: [DeployedAPI]) async {
        note("recall " + versions.map(\.id).joined(separator: " "))
    }
    func apply(_ api: DeployedAPI, replicas: Int) async {
        requested.withLock { $0[api.name] = replicas }
        note("apply \(api.id) \(replicas)")
    }
    func scale(api: String, replicas: Int) async {
        requested.withLock { $0[api] = replicas }
        note("scale \(api) \(replicas)")
    }
    func delete(api: String) async {
        requested.withLock { $0[api] = nil }
        note("delete \(api)")
    }
    func status(api: String) async -> APIStatus? { requested.withLock { $0[api] }.map { APIStatus(requested: $0) } }
    func problems(with specification: APISpecification) async -> [String] { [] }
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> { LogStream { _ in } }
    func readyReplicas() -> AsyncStream<[ReadyReplica]> { AsyncStream { $0.finish() } }
}

extension DeployedAPI {
    fileprivate static func sample(_ name: String, version: Int) -> DeployedAPI {
        DeployedAPI(
            specification: APISpecification.async(
                name: name, networking: .init(endpoint: "/\(name)"), pod: PodSpecification(containers: [])),
            id: "\(name)-\(version)", specID: "spec-\(version)", podID: "pod-\(version)", deploymentID: "deployment",
            initialDeployment: Timestamp(seconds: 0), lastUpdated: Timestamp(seconds: Int64(version)))
    }
}
