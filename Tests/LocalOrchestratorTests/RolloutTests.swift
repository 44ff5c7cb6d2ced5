import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Rollout: which replicas to start and to stop")
struct RolloutTests {
    private func replica(
        _ id: String, current: Bool = true, ready: Bool = true, pending: Bool = false, unready: Int64? = nil,
        inFlight: Int = 0, began: Int64? = nil, age: Int64 = 0
    ) -> RolloutReplica {
        RolloutReplica(
            id: id, isCurrent: current, isReady: ready, isPending: pending,
            unreadySince: unready.map { Instant(seconds: -$0) }, inFlight: inFlight,
            youngestStart: began.map { Instant(seconds: -$0) }, createdAt: Timestamp(seconds: -age))
    }

    private let now = Instant(seconds: 0)

    private func steps(
        _ wanted: Int, surge: UpdateStrategy.Amount = .percent(25), unavailable: UpdateStrategy.Amount = .percent(25),
        _ replicas: RolloutReplica...
    ) -> RolloutSteps {
        Rollout.steps(
            wanted: wanted, strategy: UpdateStrategy(maxSurge: surge, maxUnavailable: unavailable), replicas: replicas,
            now: now)
    }

    @Test("S3: missing replicas are started, all at once where nothing old runs")
    func startsMissing() {
        #expect(steps(3) == RolloutSteps(start: 3))
        #expect(steps(3, replica("a"), replica("b")) == RolloutSteps(start: 1))
        #expect(steps(0) == RolloutSteps())
        #expect(steps(2, replica("a"), replica("b")) == RolloutSteps())
    }

    @Test(
        "S2: scale-down takes the pending first, then the not ready, the idle, then those likely to be idle first, the youngest of equals"
    )
    func choosesVictims() {
        #expect(steps(1, replica("busy", inFlight: 2), replica("new", ready: false)).stop == ["new"])
        #expect(steps(1, replica("busy", inFlight: 1), replica("idle")).stop == ["idle"])
        #expect(steps(1, replica("new", ready: false), replica("waits", ready: false, pending: true)).stop == ["waits"])
        #expect(
            steps(1, replica("asks", inFlight: 3), replica("busy", inFlight: 1, began: 60)).stop == ["asks"],
            "whoever has only asked for requests has none inside")
        #expect(
            steps(1, replica("long", inFlight: 5, began: 90), replica("short", inFlight: 1, began: 2)).stop == ["long"],
            "its youngest request began first, so it is likely to be free first")
        #expect(
            steps(1, replica("busier", inFlight: 5, began: 9), replica("busy", inFlight: 1, began: 9)).stop == ["busy"])
        #expect(steps(1, replica("old", age: 50), replica("young", age: 5)).stop == ["young"])
        #expect(steps(0, replica("a"), replica("b")).stop.sorted() == ["a", "b"])
    }

    @Test("S3: with one replica the new one starts beside the old, which stays until the new one is ready")
    func oneReplica() {
        #expect(steps(1, replica("old", current: false)) == RolloutSteps(start: 1))
        #expect(steps(1, replica("old", current: false), replica("new", ready: false)) == RolloutSteps())
        #expect(steps(1, replica("old", current: false), replica("new")) == RolloutSteps(stop: ["old"]))
    }

    @Test(
        "S3: a version that never gets ready never takes down the ready ones below the wanted number less `max_unavailable`"
    )
    func badVersion() {
        let old = (0..<4).map { replica("old\($0)", current: false) }
        let new = (0..<2).map { replica("new\($0)", ready: false) }
        let steps = Rollout.steps(
            wanted: 4, strategy: UpdateStrategy(maxSurge: .count(2), maxUnavailable: .count(0)), replicas: old + new,
            now: now)
        #expect(steps == RolloutSteps())
    }

    @Test("S3: surge rounds up, unavailable rounds down, and never are more started than wanted plus surge allows")
    func rounding() {
        let old = (0..<10).map { replica("old\($0)", current: false) }
        let steps = Rollout.steps(wanted: 10, strategy: UpdateStrategy(), replicas: old, now: now)
        #expect(steps.start == 3)
        #expect(steps.stop.count == 2)
        #expect(UpdateStrategy.Amount.percent(25).count(of: 1, roundingUp: true) == 1)
        #expect(UpdateStrategy.Amount.percent(25).count(of: 1, roundingUp: false) == 0)
        #expect(UpdateStrategy.Amount.percent(100).count(of: 7, roundingUp: true) == 7)
        #expect(UpdateStrategy.Amount.count(3).count(of: 1, roundingUp: false) == 3)
    }

    @Test("S3: old replicas that are not ready go at once; the new version is tried in their place")
    func deadOld() {
        let steps = steps(2, replica("a", current: false, ready: false), replica("b", current: false, ready: false))
        #expect(steps == RolloutSteps(start: 2, stop: ["a", "b"]))
    }

    @Test(
        "S3: an old replica whose probes fail for a moment is kept until the new one serves; after a minute it counts as broken"
    )
    func recentlyUnready() {
        let starting = replica("new", ready: false)
        #expect(steps(1, replica("old", current: false, ready: false, unready: 5), starting) == RolloutSteps())
        #expect(steps(1, replica("old", current: false, ready: false, unready: 60), starting).stop == ["old"])
        #expect(steps(1, replica("old", current: false, ready: false, unready: 5), replica("new")).stop == ["old"])
        // Two of three serve; the third may come back, and counts as there.
        let two = [replica("a", current: false), replica("b", current: false)]
        let third = replica("c", current: false, ready: false, unready: 5)
        let careful = Rollout.steps(
            wanted: 3, strategy: UpdateStrategy(maxSurge: .count(1), maxUnavailable: .count(0)),
            replicas: two + [third], now: now)
        #expect(careful == RolloutSteps(start: 1))
        // Without a surge it is the one that makes room.
        let replacing = Rollout.steps(
            wanted: 3, strategy: UpdateStrategy(maxSurge: .count(0), maxUnavailable: .count(1)),
            replicas: two + [third], now: now)
        #expect(replacing == RolloutSteps(start: 1, stop: ["c"]))
    }

    @Test("S3: where no replica serves, the old one makes space for a new one that waits for it")
    func makesRoom() {
        let old = replica("old", current: false, ready: false, unready: 5)
        let waiting = replica("new", ready: false, pending: true)
        #expect(steps(1, old, waiting).stop == ["old"])
        #expect(
            steps(1, replica("old", current: false), waiting) == RolloutSteps(), "who serves is never taken down for it"
        )
    }

    @Test(
        "S3: whatever order things happen in, a rollout ends with the wanted number of current replicas",
        arguments: 1...8)
    func converges(wanted: Int) {
        var replicas = (0..<wanted).map { replica("old\($0)", current: false) }
        var made = 0
        for _ in 0..<100 {
            let steps = Rollout.steps(wanted: wanted, strategy: UpdateStrategy(), replicas: replicas, now: now)
            if steps == RolloutSteps() && replicas.allSatisfy({ $0.isCurrent && $0.isReady }) { break }
            replicas.removeAll { steps.stop.contains($0.id) }
            #expect(replicas.count { $0.isReady } >= wanted - wanted * 25 / 100)
            for _ in 0..<steps.start {
                made += 1
                replicas.append(replica("new\(made)", ready: false))
            }
            #expect(replicas.count <= wanted + (wanted * 25 + 99) / 100)
            if let index = replicas.firstIndex(where: { !$0.isReady }) { replicas[index].isReady = true }
        }
        #expect(replicas.count == wanted && replicas.allSatisfy { $0.isCurrent && $0.isReady })
        #expect(made == wanted)
    }
}

@Suite("C14: backoff of restarts")
struct RestartBackoffTests {
    @Test("C14: 1 s, doubling to 5 minutes")
    func doubles() {
        var backoff = RestartBackoff()
        let now = Instant(seconds: 1000)
        let waits = (0..<12).map { _ in Int((backoff.ended(startedAt: now, now: now) - now).inSeconds) }
        #expect(waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300])
        #expect(backoff.count == 12)
    }

    @Test("C14: begins again at 1 s after 10 minutes of health, not before")
    func resets() {
        var backoff = RestartBackoff()
        let start = Instant(seconds: 1000)
        for _ in 0..<5 { _ = backoff.ended(startedAt: start, now: start) }
        let early = start + .seconds(599)
        #expect(backoff.ended(startedAt: start, now: early) - early == .seconds(32))
        let late = start + .seconds(600)
        #expect(backoff.ended(startedAt: start, now: late) - late == .seconds(1))
    }
}
