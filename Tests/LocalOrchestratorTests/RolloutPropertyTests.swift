import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("S3: what holds for a rolling update under any strategy and any luck, by seeds")
struct RolloutPropertyTests {
    /// A machine that does what the rollout says, and on which replicas get ready, waver and break as the dice say.
    private struct World {
        var wanted: Int
        var strategy: UpdateStrategy
        var replicas: [RolloutReplica] = []
        var now = Instant(seconds: 1000)
        var made = 0
        var generator: SeededGenerator

        init(seed: Int) {
            generator = SeededGenerator(seed: UInt64(seed))
            wanted = Int.random(in: 1...12, using: &generator)
            strategy = UpdateStrategy(
                maxSurge: Self.amount(&generator), maxUnavailable: Self.amount(&generator))
            for _ in 0..<Int.random(in: 0...wanted + 2, using: &generator) { add(isCurrent: false, isReady: true) }
        }

        private static func amount(_ generator: inout SeededGenerator) -> UpdateStrategy.Amount {
            Bool.random(using: &generator)
                ? .count(Int.random(in: 0...4, using: &generator))
                : .percent(Int.random(in: 0...100, using: &generator))
        }

        var floor: Int { max(0, wanted - strategy.maxUnavailable.count(of: wanted, roundingUp: false)) }
        var ceiling: Int {
            let surge = strategy.maxSurge.count(of: wanted, roundingUp: true)
            return wanted + (surge == 0 && floor == wanted ? 1 : surge)
        }
        var ready: Int { replicas.count { $0.isReady } }

        mutating func add(isCurrent: Bool, isReady: Bool) {
            made += 1
            replicas.append(
                RolloutReplica(
                    id: "r\(made)", isCurrent: isCurrent, isReady: isReady,
                    inFlight: Int.random(in: 0...2, using: &generator),
                    createdAt: Timestamp(microseconds: now.microseconds)))
        }

        /// One look, with everything that must hold of it.
        mutating func step(_ seed: Int) -> RolloutSteps {
            let steps = Rollout.steps(wanted: wanted, strategy: strategy, replicas: replicas, now: now)
            let before = (ready: ready, total: replicas.count, current: replicas.count { $0.isCurrent })
            #expect(Set(steps.stop).count == steps.stop.count, "seed \(seed)")
            #expect(Set(steps.stop).isSubset(of: Set(replicas.map(\.id))), "seed \(seed)")
            replicas.removeAll { steps.stop.contains($0.id) }
            #expect(ready >= min(before.ready, floor), "the floor of ready ones; seed \(seed)")
            for _ in 0..<steps.start { add(isCurrent: true, isReady: false) }
            #expect(replicas.count <= max(before.total, ceiling), "the ceiling; seed \(seed)")
            #expect(steps.start <= max(0, wanted - before.current), "never more than asked; seed \(seed)")
            now = now + .seconds(5)
            return steps
        }

        mutating func setReady(_ index: Int, _ isReady: Bool) {
            replicas[index].isReady = isReady
            replicas[index].unreadySince = isReady ? nil : now
        }

        var isDone: Bool { replicas.count == wanted && replicas.allSatisfy { $0.isCurrent && $0.isReady } }
    }

    @Test("S3: floor and ceiling hold while replicas break and the number changes", arguments: 0..<150)
    func bounds(_ seed: Int) {
        var world = World(seed: seed)
        for _ in 0..<120 {
            _ = world.step(seed)
            for index in world.replicas.indices {
                switch Int.random(in: 0..<20, using: &world.generator) {
                case 0..<6: world.setReady(index, true)
                case 6: world.setReady(index, false)
                case 7: (world.replicas[index].isReady, world.replicas[index].unreadySince) = (false, nil)
                default: break
                }
            }
            switch Int.random(in: 0..<40, using: &world.generator) {
            case 0: world.wanted = Int.random(in: 0...12, using: &world.generator)
            case 1:
                // Another version is declared midway, by force.
                for index in world.replicas.indices { world.replicas[index].isCurrent = false }
            default: break
            }
        }
    }

    @Test("S3: once new replicas get ready it ends, with just as many as were wanted", arguments: 0..<150)
    func terminates(_ seed: Int) {
        var world = World(seed: seed)
        var rounds = 0
        while !world.isDone, rounds < 200 {
            rounds += 1
            _ = world.step(seed)
            // One at a time, the slowest luck there is.
            let starting = world.replicas.indices.filter { world.replicas[$0].isCurrent && !world.replicas[$0].isReady }
            if let next = starting.randomElement(using: &world.generator) { world.setReady(next, true) }
        }
        #expect(world.isDone, "seed \(seed) after \(rounds) rounds")
        #expect(world.step(seed) == RolloutSteps(), "and then it rests; seed \(seed)")
    }

    @Test("S3: a version that never gets ready takes no more down than max_unavailable allows", arguments: 0..<80)
    func neverReady(_ seed: Int) {
        var world = World(seed: seed)
        let serving = world.ready
        for _ in 0..<60 {
            _ = world.step(seed)
            #expect(world.ready >= min(serving, world.floor), "seed \(seed)")
        }
        #expect(world.replicas.count { $0.isCurrent } <= world.wanted, "seed \(seed)")
    }
}
