import Autoscaler
import Core
import Logging
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("S1, S2: the autoscaler's loop")
struct AutoscalerTests {
    private let clock = ManualClock()
    private let store: FakeStore
    private let reconciler: FakeReconciler
    /// Knows no API until a test says so.
    private let other = FakeLoad()
    private let autoscaler: Autoscaler

    init() {
        let policy = AutoscalingPolicy(
            minReplicas: 0, initReplicas: 1, window: .seconds(10), downscaleStabilizationPeriod: .zero,
            upscaleStabilizationPeriod: .zero, maxDownscaleFactor: 0)
        let api = DeployedAPI(
            specification: APISpecification.async(
                name: "iris", networking: .init(endpoint: "/iris"), pod: PodSpecification(containers: []),
                autoscaling: policy),
            id: "1", specID: "2", podID: "3", deploymentID: "4", initialDeployment: Timestamp(seconds: 0),
            lastUpdated: Timestamp(seconds: 0))
        store = FakeStore(.init(apis: [api], counts: ["iris": QueueCounts(inQueue: 2, inProgress: 1)]))
        reconciler = FakeReconciler(store)
        autoscaler = Autoscaler(
            store: store, sources: [QueueLoad(store), other], reconciler: reconciler, clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private func set(_ inQueue: Int) {
        store.state.withLock { $0.counts["iris"] = QueueCounts(inQueue: inQueue) }
    }

    @Test("S1: a decision is saved, then carried out; queued and in progress both count")
    func look() async {
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2"])
        #expect(store.state.withLock { $0.saved } == ["iris": 2])
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2", "iris 3"])
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0.count } == 2)
    }

    @Test("S1: a store that does not answer, an unknown count and an API that is held back change nothing")
    func blind() async {
        store.state.withLock { $0.isBroken = true }
        await autoscaler.decideOnce()
        store.state.withLock {
            $0.isBroken = false
            $0.counts = [:]
        }
        await autoscaler.decideOnce()
        reconciler.heldBack.withLock { $0 = ["iris"] }
        set(9)
        await autoscaler.decideOnce()
        store.state.withLock { $0.saved["iris"] = 0 }
        await autoscaler.wake(["iris"])
        #expect(reconciler.events.withLock { $0 } == [])
        #expect(store.state.withLock { $0.saved } == ["iris": 0])
    }

    @Test("S1: what cannot be saved is not carried out, and is tried again at the next look")
    func unsaved() async {
        store.state.withLock { $0.cannotSave = true }
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == [])
        store.state.withLock { $0.cannotSave = false }
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2"])
    }

    @Test("S1, S3: a decision for a version or a number that was replaced meanwhile is dropped")
    func overtaken() async throws {
        // A deploy saves another number between the decision and its saving.
        store.state.withLock { $0.afterReplicas = { $0.saved["iris"] = 7 } }
        await autoscaler.decideOnce()
        #expect(store.state.withLock { $0.saved } == ["iris": 7])
        #expect(reconciler.events.withLock { $0 } == ["iris 7"], "what is saved holds")
        store.state.withLock { state in
            state.saved = [:]
            state.afterCounts = { $0.apis[0].id = "another" }
        }
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(store.state.withLock { $0.saved }.isEmpty)
        #expect(reconciler.events.withLock { $0 } == ["iris 7"])
    }

    @Test("S1, S2: the loads of all sources add up, each wakes an API, and without one of them nothing changes")
    func severalSources() async throws {
        set(2)
        other.state.withLock { $0.load = ["iris": 1, "lily": 9] }
        await autoscaler.decideOnce()
        #expect(await autoscaler.decisions(of: "iris").last?.inFlight == 3)
        #expect(await autoscaler.decisions(of: "lily").isEmpty, "it is not deployed")
        other.state.withLock { $0.isBroken = true }
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2"])

        set(0)
        store.state.withLock { $0.saved["iris"] = 0 }
        let (autoscaler, clock) = (autoscaler, clock)
        let service = Task { try await autoscaler.run() }
        try await expectEventually { clock.sleepers == 1 }
        other.hints.yield(["iris"])
        other.state.withLock { $0.isBroken = false }
        other.hints.yield(["iris"])
        try await expectEventually { reconciler.events.withLock { $0.last } == "iris 1" }
        service.cancel()
        try await service.value
    }

    @Test("X: nothing is decided about an API without replicas")
    func withoutReplicas() async {
        let splitter = SplitterSpecification(targets: [.init(api: "a", weight: 100)])
        store.state.withLock { $0.apis[0].specification.kind = .trafficSplitter(splitter) }
        await autoscaler.decideOnce()
        await autoscaler.wake(["iris"])
        #expect(await autoscaler.decisions(of: "iris").isEmpty)
        #expect(reconciler.events.withLock { $0.isEmpty })
    }

    @Test("S2: a request that comes just as the last replica is taken away wakes one")
    func raceAtZero() async {
        set(0)
        store.state.withLock { $0.afterCounts = { $0.counts["iris"] = QueueCounts(inQueue: 1) } }
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 0", "iris 1"])
        #expect(store.state.withLock { $0.saved } == ["iris": 1])
    }

    @Test("S1: a change of the configuration takes effect at the next look")
    func configuration() async {
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2"])
        store.state.withLock {
            $0.apis[0].specification.autoscaling.targetInFlight = 0.5
            $0.apis[0].specification.autoscaling.maxUpscaleFactor = 10
        }
        clock.advance(by: .seconds(10))
        await autoscaler.decideOnce()
        #expect(reconciler.events.withLock { $0 } == ["iris 2", "iris 6"])
    }

    @Test("S1: the last hundred decisions are kept with what they were made of, and go with their API")
    func decisions() async throws {
        for _ in 0..<3 {
            await autoscaler.decideOnce()
            clock.advance(by: .seconds(10))
        }
        let decisions = await autoscaler.decisions(of: "iris")
        #expect(decisions.map(\.current) == [1, 2, 3] && decisions.map(\.replicas) == [2, 3, 3])
        #expect(decisions.map(\.reason) == [.moreLoad, .moreLoad, .steady])
        let steps = try #require(decisions.first?.steps)
        #expect(steps.average == 3 && steps.target == 1 && steps.raw == 3)
        #expect(
            [
                steps.load, steps.tolerance, steps.downscaleFactor, steps.upscaleFactor, steps.bounds,
                steps.downscaleStabilization, steps.upscaleStabilization,
            ] == [3, 3, 3, 2, 2, 2, 2])
        let document = try #require(ScalingDocument(decisions))
        #expect(document.why == "3 replicas: 3 requests on average, 1 for each replica; the load fits")
        #expect(document.decisions.map(\.to) == [3, 3, 2], "newest first")
        for _ in 0..<150 { await autoscaler.decideOnce() }
        #expect(await autoscaler.decisions(of: "iris").count == 100)
        store.state.withLock { $0.apis = [] }
        await autoscaler.decideOnce()
        #expect(await autoscaler.decisions(of: "iris").isEmpty)
    }

    @Test("S1, S2: looks every ten seconds, wakes on a hint in between, and ends without an error")
    func service() async throws {
        set(0)
        store.state.withLock { $0.saved["iris"] = 0 }
        let (autoscaler, clock, store, reconciler) = (autoscaler, clock, store, reconciler)
        let service = Task { try await autoscaler.run() }
        let isAsleep = try await eventually { clock.sleepers == 1 }
        #expect(isAsleep, "after the first look")
        set(1)
        store.hint(StoreChanges(ended: []))
        store.hint(StoreChanges(queued: ["iris", "unknown"]))
        let isAwake = try await eventually { reconciler.events.withLock { $0 } == ["iris 1"] }
        #expect(isAwake)
        let looks = store.state.withLock { $0.looks }
        clock.advance(by: Autoscaler.interval)
        let looksAgain = try await eventually {
            store.state.withLock { $0.looks } == looks + 1 && clock.sleepers == 1
        }
        #expect(looksAgain)
        service.cancel()
        try await service.value
    }
}
