import Core
import Logging
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// A store whose saving of a splitter's state can fail.
private final class FailingStore: WrappedStore {
    let base = MemoryStore()
    let isFailing = Mutex(false)

    func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool {
        if isFailing.withLock({ $0 }) { throw PlatformError(.storeUnavailable, "full") }
        return try await base.saveSplitState(state, of: splitter, version: version)
    }
}

/// A splitter with a store and a clock of its own.
private struct World {
    let store = FailingStore()
    let clock = ManualClock()
    let splitter: SplitterState
    let specification: SplitterSpecification

    static let quiet: Logger = {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }()

    static func specification(
        _ weights: KeyValuePairs<String, Int> = ["a": 90, "b": 10], isGuarded: Bool = true, window: Int = 60,
        maxP99: Duration? = nil
    ) -> SplitterSpecification {
        SplitterSpecification(
            targets: weights.map { .init(api: $0.key, weight: $0.value) },
            guarding: isGuarded ? .init(api: "b", window: .seconds(window), maxP99: maxP99) : nil)
    }

    static func api(_ specification: SplitterSpecification, version: Int, at time: Timestamp) -> DeployedAPI {
        DeployedAPI(
            specification: APISpecification(
                name: "split", networking: .init(endpoint: "/split"), kind: .trafficSplitter(specification)),
            id: "v\(version)", specID: "s\(version)", podID: "", deploymentID: "d", initialDeployment: time,
            lastUpdated: time)
    }

    init(_ specification: SplitterSpecification = specification()) async throws {
        self.specification = specification
        let api = Self.api(specification, version: 1, at: clock.now())
        try await store.deploy(api, now: clock.now())
        splitter = SplitterState(
            api, specification, saved: nil, store: store, clock: clock, seed: 1,
            logger: Self.quiet)
    }

    /// As after a restart of the platform.
    func restarted(_ specification: SplitterSpecification? = nil, version: Int = 1) async throws -> SplitterState {
        let specification = specification ?? self.specification
        return SplitterState(
            Self.api(specification, version: version, at: clock.now()), specification,
            saved: try await store.splitState(of: "split"), store: store, clock: clock,
            seed: 2, logger: Self.quiet)
    }

    func deploy(_ specification: SplitterSpecification, version: Int) async throws {
        let api = Self.api(specification, version: version, at: clock.now())
        try await store.deploy(api, now: clock.now())
        splitter.apply(api, specification)
    }

    func record(
        _ target: String, _ status: Int, _ count: Int, isByPlatform: Bool = false, time: Duration = .milliseconds(10)
    ) {
        let now = clock.instant()
        for _ in 0..<count {
            splitter.record(
                target: target, status: status, isByPlatform: isByPlatform, arrival: now - time, now: now)
        }
    }

    var report: SplitReport { splitter.report(now: clock.instant()) }

    func weights(_ splitter: SplitterState? = nil) -> [String: Int] {
        (0..<100).reduce(into: [:]) { counts, _ in
            if case .target(let name, _) = (splitter ?? self.splitter).choose(
                key: nil, override: nil, values: { _ in [] })
            {
                counts[name, default: 0] += 1
            }
        }
    }
}

@Suite("A TrafficSplitter at work")
struct SplitterStateTests {
    @Test("X8: a failing target is rolled back at the next tick, durably, with its figures, and its share moves")
    func rollBack() async throws {
        let world = try await World()
        world.record("a", 200, 180)
        world.record("b", 200, 18)
        world.record("b", 500, 1)
        world.record("b", 503, 1, isByPlatform: true)
        #expect(world.weights() == ["a": 90, "b": 10])
        #expect(world.report.state == .guarded)
        world.clock.advance(by: .seconds(1))
        await world.splitter.tick()
        #expect(world.weights() == ["a": 100])
        let report = world.report
        #expect(report.state == .rolledBack && report.api == "b" && report.weight == 10)
        #expect(report.since == world.clock.now())
        #expect(
            report.reason
                == "error rate 10.0 % of 20 requests in 60 s, others 0.0 % of 180; limits 5.0 % and 2.0 times the others"
        )
        #expect(report.targets.map(\.weight) == [100, 0])
        let saved = try await world.store.splitState(of: "split")
        #expect(saved?.rollBack?.reason == report.reason && saved?.rollBack?.since == report.since)
    }

    @Test("X8: a roll-back is neither in force nor reported before it is durable; the next tick tries again")
    func notDurable() async throws {
        let world = try await World()
        world.record("b", 500, 20)
        world.store.isFailing.withLock { $0 = true }
        for _ in 0..<3 { await world.splitter.tick() }
        #expect(world.report.state == .guarded)
        #expect(world.weights() == ["a": 90, "b": 10])
        world.store.isFailing.withLock { $0 = false }
        await world.splitter.tick()
        #expect(world.report.state == .rolledBack)
    }

    @Test("X8: a restart keeps a roll-back, its figures and its beginning")
    func restart() async throws {
        let world = try await World()
        world.record("b", 500, 20)
        await world.splitter.tick()
        let before = world.report
        world.clock.advance(by: .seconds(100))
        let again = try await world.restarted()
        #expect(world.weights(again) == ["a": 100])
        let after = again.report(now: world.clock.instant())
        #expect(after.state == .rolledBack && after.reason == before.reason && after.since == before.since)
        #expect(after.weight == 10 && after.api == "b")
        await again.tick()
        #expect(try await again.resume())
        #expect(world.weights(again) == ["a": 90, "b": 10])
    }

    @Test("X8: resume restores the weights durably; failures from before do not count again")
    func resume() async throws {
        let world = try await World()
        #expect(try await !world.splitter.resume(), "nothing is rolled back")
        world.record("b", 500, 20)
        await world.splitter.tick()
        world.store.isFailing.withLock { $0 = true }
        await #expect(throws: PlatformError.self) { try await world.splitter.resume() }
        #expect(world.report.state == .rolledBack)
        world.store.isFailing.withLock { $0 = false }
        world.clock.advance(by: .seconds(5))
        #expect(try await world.splitter.resume())
        await world.splitter.tick()
        #expect(world.report.state == .guarded && world.report.since == world.clock.now())
        #expect(world.weights() == ["a": 90, "b": 10])
        let again = try await world.restarted()
        #expect(again.report(now: world.clock.instant()).state == .guarded)
        world.record("b", 500, 20)
        await world.splitter.tick()
        #expect(world.report.state == .rolledBack)
    }

    @Test("X8: a deploy that changes the splitter ends a roll-back; one that does not leaves it")
    func deploys() async throws {
        let world = try await World()
        world.record("b", 500, 20)
        await world.splitter.tick()
        try await world.deploy(world.specification, version: 1)
        #expect(world.report.state == .rolledBack)
        try await world.deploy(World.specification(["a": 50, "b": 50]), version: 2)
        await world.splitter.tick()
        #expect(world.report.state == .guarded)
        #expect(world.weights() == ["a": 50, "b": 50])
        #expect(try await world.store.splitState(of: "split") == nil)
        // The first version again has no roll-back.
        try await world.deploy(world.specification, version: 1)
        #expect(try await world.restarted().report(now: world.clock.instant()).state == .guarded)
    }

    @Test("X8: a decision for a version that was replaced meanwhile changes nothing")
    func replaced() async throws {
        let world = try await World()
        world.record("b", 500, 20)
        // The store has the new version; the splitter does not know it yet.
        let next = World.api(World.specification(["a": 50, "b": 50]), version: 2, at: world.clock.now())
        try await world.store.deploy(next, now: world.clock.now())
        await world.splitter.tick()
        #expect(world.report.state == .guarded)
        #expect(try await world.store.splitState(of: "split") == nil)
        #expect(world.weights() == ["a": 90, "b": 10])
    }

    @Test("X8: a common outage of all targets rolls nothing back", arguments: 1...5)
    func commonOutage(seed: Int) async throws {
        let world = try await World()
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<120 {
            for _ in 0..<50 {
                let target = Int.random(in: 0..<10, using: &generator) == 0 ? "b" : "a"
                world.record(target, Bool.random(using: &generator) ? 500 : 503, 1, isByPlatform: true)
            }
            world.clock.advance(by: .seconds(1))
            await world.splitter.tick()
        }
        #expect(world.report.state == .guarded)
    }

    @Test("X8: with few requests there is no verdict; those that left the window do not count")
    func few() async throws {
        let world = try await World()
        for _ in 0..<20 {
            world.record("b", 500, 1)
            world.clock.advance(by: .seconds(4))
            await world.splitter.tick()
        }
        #expect(world.report.state == .guarded)
    }

    @Test(
        "X8: at most the window and 2 s pass until the roll-back, with windows of 1 s, 60 s and 1 h",
        arguments: [1, 60, 3600])
    func inTime(window: Int) async throws {
        let world = try await World(World.specification(window: window))
        world.clock.advance(by: .milliseconds(700))
        world.record("b", 500, 20)
        world.clock.advance(by: .milliseconds(window == 1 ? 300 : 1000))
        await world.splitter.tick()
        #expect(world.report.state == .rolledBack)
    }

    @Test("X8: a p99 over max_p99 rolls back, with no failure at all")
    func slow() async throws {
        let world = try await World(World.specification(maxP99: .milliseconds(500)))
        world.record("b", 200, 99)
        world.record("b", 200, 1, time: .milliseconds(501))
        await world.splitter.tick()
        #expect(world.report.state == .guarded)
        world.record("b", 200, 1, time: .milliseconds(501))
        await world.splitter.tick()
        #expect(world.report.state == .rolledBack)
        #expect(world.report.reason?.hasPrefix("p99 ") == true)
    }

    @Test("X8: without a guard nothing is rolled back")
    func unguarded() async throws {
        let world = try await World(World.specification(isGuarded: false))
        world.record("b", 500, 1000)
        await world.splitter.tick()
        #expect(world.report.state == .fixed)
    }

    @Test("X4: with three targets the owners of sticky keys survive changes of weights and a restart")
    func owners() async throws {
        let world = try await World(World.specification(["a": 50, "b": 30, "c": 20], isGuarded: false))
        let keys = (0..<2000).map { StableHash.of("k\($0)") }
        func targets(_ splitter: SplitterState) -> [SplitterState.Choice] {
            keys.map { splitter.choose(key: $0, override: nil, values: { _ in [] }) }
        }
        let changed = World.specification(["a": 30, "b": 30, "c": 40], isGuarded: false)
        let before = targets(world.splitter)
        try await world.deploy(changed, version: 2)
        let after = targets(world.splitter)
        #expect(zip(before, after).allSatisfy { $0 == $1 || $1 == .target("c", copyTo: nil) })
        await world.splitter.tick()
        let again = try await world.restarted(changed, version: 2)
        #expect(targets(again) == after)
    }

    @Test("X5: rules and override choose the target; an unknown one is refused")
    func rules() async throws {
        var specification = World.specification(["a": 100, "b": 0])
        specification.allowsOverride = true
        specification.matches = [.init(header: "x-beta", rule: .value("1"), api: "b")]
        let world = try await World(specification)
        func choose(_ override: String?, beta: Bool) -> SplitterState.Choice {
            world.splitter.choose(key: nil, override: override) { $0 == "x-beta" && beta ? ["1"] : [] }
        }
        #expect(choose(nil, beta: false) == .target("a", copyTo: nil))
        #expect(choose(nil, beta: true) == .target("b", copyTo: nil))
        #expect(choose("a", beta: true) == .target("a", copyTo: nil))
        #expect(choose("z", beta: true) == .unknown("z"))
        #expect(world.splitter.ranked.filter { $0 != "b" } == ["a"])
    }

    @Test("X11: the report has each target's share, error rate and p99, and what a shadow agreed with")
    func report() async throws {
        var specification = World.specification(["a": 80, "b": 20], isGuarded: false)
        specification.targets.append(.init(api: "s", weight: 50, isShadow: true))
        let world = try await World(specification)
        var report = world.report
        #expect(report.state == .fixed && report.since == world.clock.now())
        #expect(report.targets.map(\.served) == [nil, nil, nil] && report.targets.map(\.p99) == [nil, nil, nil])
        #expect(report.targets[2].copies == 0 && report.targets[2].agreedStatus == nil)
        world.record("a", 200, 60)
        world.record("a", 503, 20, isByPlatform: true)
        world.record("b", 200, 15)
        world.record("b", 500, 5)
        world.record("s", 200, 40)
        world.splitter.record(copy: .givenUp)
        world.splitter.record(copy: .compared(sameStatus: true, sameBody: false))
        world.splitter.record(copy: .compared(sameStatus: true, sameBody: true))
        report = world.report
        #expect(report.targets.map(\.served) == [0.75, 0.25, 0.5])
        #expect(report.targets.map(\.errorRate) == [0.25, 0.25, 0])
        #expect(report.targets.map(\.weight) == [80, 20, 50])
        #expect(report.targets[2].copies == 3 && report.targets[2].givenUp == 1)
        #expect(report.targets[2].agreedStatus == 1 && report.targets[2].agreedBody == 0.5)
        let p99 = try #require(report.targets[0].p99)
        #expect(abs(p99 - 10) < 0.5)
        world.clock.advance(by: .seconds(61))
        #expect(world.report.targets.map(\.served) == [nil, nil, nil])
    }

    @Test("X3, X8: requests and responses of many threads during roll-backs and deploys are all counted")
    func concurrent() async throws {
        let world = try await World()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<4 {
                group.addTask {
                    for _ in 0..<1000 { world.record(number % 2 == 0 ? "a" : "b", 200, 1) }
                    _ = world.weights()
                }
            }
            group.addTask { for _ in 0..<50 { await world.splitter.tick() } }
        }
        #expect(world.report.targets.map(\.served) == [0.5, 0.5])
    }
}
