import Core
import Support
import Synchronization
import TestSupport
import Testing

@testable import Proxy

private let start = Instant(seconds: 1_000_000)

@Suite("The gate")
struct GateTests {
    /// A gate with so many ready replicas.
    private func gate(
        _ count: Int, maxConcurrency: Int = 1, maxQueueLength: Int = 100, onArrival: @escaping @Sendable () -> Void = {}
    ) -> (Gate, [TestReplica]) {
        let gate = Gate(
            api: "api", maxConcurrency: maxConcurrency, maxQueueLength: maxQueueLength, onArrival: onArrival)
        let replicas = (0..<count).map { TestReplica("r\($0)") }
        gate.update(replicas: replicas.map(\.ready), now: start)
        return (gate, replicas)
    }

    private func enter(
        _ gate: Gate, _ waiter: TestWaiter = TestWaiter(), key: UInt64? = nil, mayWait: Bool = true,
        now: Instant = start
    ) -> Gate.Admission {
        gate.enter(waiter, key: key, mayWait: mayWait, now: now)
    }

    /// A key that belongs to this replica while only these are ready.
    private func key(of replica: TestReplica, among replicas: [TestReplica]) throws -> UInt64 {
        let keys = (0..<1000).map { StableHash.of("key \($0)") }
        return try #require(
            keys.first { key in
                let best = replicas.max {
                    StableHash.score(key: key, candidate: StableHash.of($0.id))
                        < StableHash.score(key: key, candidate: StableHash.of($1.id))
                }
                return best?.id == replica.id
            })
    }

    @Test("R10: max_concurrency requests are inside a replica; the others wait and are assigned in order of arrival")
    func order() throws {
        let (gate, replicas) = gate(1, maxConcurrency: 2)
        let slots = [try #require(enter(gate).slot), try #require(enter(gate).slot)]
        let waiters = (0..<3).map { TestWaiter($0) }
        for waiter in waiters { #expect(enter(gate, waiter).isWaiting) }
        #expect(gate.load == (3, 2, 0))
        #expect(replicas[0].activity.inFlight == 2)
        gate.end(slots[0], now: start + .seconds(1))
        #expect(waiters.map(\.calls) == [1, 0, 0])
        #expect(waiters[0].slot?.startedAt == start + .seconds(1))
        gate.end(slots[1], now: start)
        #expect(waiters.map(\.calls) == [1, 1, 0])
        #expect(replicas[0].activity.inFlight == 2)
    }

    @Test("R10: capacity is (max_concurrency + max_queue_length) for each ready replica, and for none as for one")
    func capacity() {
        for (replicas, expected) in [(0, 5), (1, 5), (3, 15)] {
            let (gate, _) = gate(replicas, maxConcurrency: 2, maxQueueLength: 3)
            for _ in 0..<expected { #expect(enter(gate).refusal == nil) }
            #expect(enter(gate).refusal == .queueFull(limit: expected))
        }
    }

    @Test(
        "R10: a lowered limit drops no request that waits, and holds for the next request; a raised one is used at once"
    )
    func limits() throws {
        let (gate, _) = gate(1, maxConcurrency: 2, maxQueueLength: 4)
        let slots = [try #require(enter(gate).slot), try #require(enter(gate).slot)]
        let waiters = (0..<4).map { TestWaiter($0) }
        for waiter in waiters { _ = enter(gate, waiter) }
        gate.update(maxConcurrency: 1, maxQueueLength: 1, now: start)
        #expect(waiters.allSatisfy { $0.calls == 0 })
        #expect(enter(gate).refusal == .queueFull(limit: 2))
        gate.end(slots[0], now: start)
        #expect(waiters[0].calls == 0)
        gate.end(slots[1], now: start)
        #expect(waiters.map(\.calls) == [1, 0, 0, 0])
        gate.update(maxConcurrency: 3, maxQueueLength: 1, now: start)
        #expect(waiters.map(\.calls) == [1, 1, 1, 0])
    }

    @Test("R11: the replica with the fewest requests inside is next, among equals the one used least recently")
    func balancing() throws {
        let (gate, _) = gate(3, maxConcurrency: 10)
        let first = try (0..<3).map { _ in try #require(enter(gate).slot) }
        #expect(first.map(\.replica.id) == ["r0", "r1", "r2"])
        gate.end(first[1], now: start)
        #expect(enter(gate).slot?.replica.id == "r1")
        for slot in first where slot.replica.id != "r1" { gate.end(slot, now: start) }
        // r1 has one inside; r0 was used before r2.
        #expect(enter(gate).slot?.replica.id == "r0")
        #expect(enter(gate).slot?.replica.id == "r2")
    }

    @Test("R11: sequential requests reach both of two ready replicas in turn")
    func turns() throws {
        let (gate, _) = gate(2, maxConcurrency: 5)
        var reached: [String] = []
        for _ in 0..<6 {
            let slot = try #require(enter(gate).slot)
            reached.append(slot.replica.id)
            gate.end(slot, now: start)
        }
        #expect(reached == ["r0", "r1", "r0", "r1", "r0", "r1"])
    }

    @Test("R12: with max_queue_time 0 a request that finds no free slot is refused, and a replica is woken at zero")
    func noWait() {
        let calls = Mutex(0)
        let (gate, replicas) = gate(0) { calls.withLock { $0 += 1 } }
        #expect(enter(gate, mayWait: false).refusal == .noFreeSlot)
        #expect(calls.withLock { $0 } == 1)
        #expect(replicas.isEmpty)
        gate.update(replicas: [TestReplica("r").ready], now: start)
        #expect(enter(gate, mayWait: false).slot != nil)
        #expect(enter(gate, mayWait: false).refusal == .noFreeSlot)
        #expect(gate.load == (0, 1, 0))
    }

    @Test("R13: a request that gives up leaves the queue from any place and is not called")
    func leaving() throws {
        let (gate, _) = gate(1)
        let slot = try #require(enter(gate).slot)
        let waiters = (0..<5).map { TestWaiter($0) }
        for waiter in waiters { _ = enter(gate, waiter) }
        #expect(gate.leave(waiters[2]) && gate.leave(waiters[0]) && gate.leave(waiters[4]))
        #expect(!gate.leave(waiters[2]))
        gate.end(slot, now: start)
        #expect(waiters.map(\.calls) == [0, 1, 0, 0, 0])
        #expect(!gate.leave(waiters[1]))
        gate.end(try #require(waiters[1].slot), now: start)
        #expect(waiters.map(\.calls) == [0, 1, 0, 1, 0])
        #expect(gate.load == (0, 1, 0))
    }

    @Test("R15: a request that is delivered again comes before those that wait, and not to the same replica")
    func again() throws {
        let (gate, replicas) = gate(2)
        let slots = [try #require(enter(gate).slot), try #require(enter(gate).slot)]
        let waiting = TestWaiter()
        _ = enter(gate, waiting)
        gate.refused(by: slots[0], now: start)
        gate.end(slots[0], now: start)
        // The replica is avoided, so its slot stays free.
        #expect(waiting.calls == 0)
        let again = TestWaiter()
        #expect(gate.enterAgain(again, key: nil, avoiding: ["r0"], now: start).isWaiting)
        gate.end(slots[1], now: start)
        #expect(again.slot?.replica.id == "r1")
        #expect(waiting.calls == 0)
        // After a second the replica is used again, for those that may use it.
        gate.tick(now: start + .seconds(1))
        #expect(waiting.slot?.replica.id == "r0")
        // It returns to the same replica when that is the only one.
        gate.update(replicas: [replicas[0].ready], now: start)
        let last = TestWaiter()
        #expect(gate.enterAgain(last, key: nil, avoiding: ["r0"], now: start).isWaiting)
        gate.end(try #require(waiting.slot), now: start)
        #expect(last.slot?.replica.id == "r0")
    }

    @Test("R15: a full queue does not refuse a request that is delivered again")
    func againWhenFull() throws {
        let (gate, _) = gate(1, maxQueueLength: 1)
        let slot = try #require(enter(gate).slot)
        _ = enter(gate)
        #expect(enter(gate).refusal == .queueFull(limit: 2))
        gate.end(slot, now: start)
        #expect(gate.enterAgain(TestWaiter(), key: nil, avoiding: ["r0"], now: start).isWaiting)
    }

    @Test("R15: when every replica refuses connections, none is avoided")
    func allAvoided() throws {
        let (gate, _) = gate(2)
        let slots = [try #require(enter(gate).slot), try #require(enter(gate).slot)]
        let waiters = [TestWaiter(), TestWaiter()]
        for waiter in waiters { _ = enter(gate, waiter) }
        gate.refused(by: slots[0], now: start)
        gate.end(slots[0], now: start)
        #expect(waiters.map(\.calls) == [0, 0])
        gate.refused(by: slots[1], now: start)
        #expect(waiters.map(\.calls) == [1, 0])
        gate.end(slots[1], now: start)
        #expect(waiters.map(\.calls) == [1, 1])
    }

    @Test(
        "R18: a replica that is missing from the list gets no request and keeps those inside, which do not fill the queue"
    )
    func draining() throws {
        let (gate, replicas) = gate(2, maxConcurrency: 4, maxQueueLength: 1)
        let slots = try (0..<8).map { _ in try #require(enter(gate).slot) }
        gate.update(replicas: [replicas[1].ready], now: start)
        for slot in slots where slot.replica.id == "r1" { gate.end(slot, now: start) }
        #expect(gate.load == (0, 4, 0))
        for _ in 0..<4 { #expect(enter(gate).slot?.replica.id == "r1") }
        #expect(enter(gate).isWaiting)
        #expect(enter(gate).refusal == .queueFull(limit: 5))
        for slot in slots where slot.replica.id == "r0" { gate.end(slot, now: start) }
        #expect(gate.load == (1, 4, 0))
        #expect(replicas[0].activity.inFlight == 0)
    }

    @Test("R18: a replica that is listed again under another version keeps its requests and its place")
    func listedAgain() throws {
        let (gate, replicas) = gate(1)
        let slot = try #require(enter(gate).slot)
        let same = TestReplica("r0", activity: replicas[0].activity)
        gate.update(replicas: [same.ready], now: start)
        let waiter = TestWaiter()
        #expect(enter(gate, waiter).isWaiting)
        gate.end(slot, now: start)
        #expect(waiter.slot?.replica === slot.replica)
        // A new pod with the id of an old one is another replica.
        gate.update(replicas: [TestReplica("r0").ready], now: start)
        #expect(enter(gate).slot?.replica !== slot.replica)
    }

    @Test("R20: a request at zero wakes a replica and waits for it; when it is ready, those that wait are assigned")
    func zero() throws {
        let calls = Mutex(0)
        let (gate, _) = gate(0) { calls.withLock { $0 += 1 } }
        let waiter = TestWaiter()
        guard case .waiting(hasReplica: false) = enter(gate, waiter) else {
            Issue.record("the request does not wait for a replica")
            return
        }
        #expect(calls.withLock { $0 } == 1)
        gate.update(replicas: [TestReplica("r").ready], now: start + .seconds(2))
        #expect(waiter.slot?.startedAt == start + .seconds(2))
        guard case .waiting(hasReplica: true) = enter(gate) else {
            Issue.record("a replica is ready")
            return
        }
        #expect(calls.withLock { $0 } == 1)
    }

    @Test("R20: a replica that was closed a moment ago loses no request: it waits, and a replica is woken")
    func closedReplica() throws {
        let calls = Mutex(0)
        let (gate, replicas) = gate(2) { calls.withLock { $0 += 1 } }
        replicas[0].activity.close()
        let slot = try #require(enter(gate).slot)
        #expect(slot.replica.id == "r1")
        let waiter = TestWaiter()
        #expect(enter(gate, waiter).isWaiting)
        replicas[1].activity.close()
        gate.end(slot, now: start)
        #expect(waiter.calls == 0)
        #expect(calls.withLock { $0 } == 1)
        guard case .waiting(hasReplica: false) = enter(gate) else {
            Issue.record("no replica is ready")
            return
        }
        #expect(calls.withLock { $0 } == 2)
        // The list may still name the closed ones.
        gate.update(replicas: replicas.map(\.ready) + [TestReplica("r2").ready], now: start)
        #expect(waiter.slot?.replica.id == "r2")
    }

    @Test("R20: when the last ready replica goes while requests wait, a replica is woken")
    func lastGoes() {
        let calls = Mutex(0)
        let (gate, _) = gate(1) { calls.withLock { $0 += 1 } }
        _ = enter(gate)
        _ = enter(gate)
        gate.update(replicas: [], now: start)
        #expect(calls.withLock { $0 } == 1)
    }

    @Test("R21: an obstacle refuses those that wait and later ones, until it is gone or a replica is ready")
    func obstacle() {
        let refusal = GateRefusal.noReplica(reason: "image", retryAfter: 3)
        let (gate, replicas) = gate(0)
        #expect(replicas.isEmpty)
        let waiters = [TestWaiter(), TestWaiter()]
        for waiter in waiters { _ = enter(gate, waiter) }
        gate.setObstacle(refusal)
        #expect(waiters.map(\.refusal) == [refusal, refusal])
        #expect(enter(gate).refusal == refusal)
        #expect(gate.enterAgain(TestWaiter(), key: nil, avoiding: [], now: start).refusal == refusal)
        gate.setObstacle(nil)
        #expect(enter(gate).isWaiting)
        gate.setObstacle(refusal)
        gate.update(replicas: [TestReplica("r").ready], now: start)
        gate.setObstacle(refusal)
        #expect(enter(gate).slot != nil)
        #expect(enter(gate).isWaiting)
    }

    @Test("R17, R18: a closed gate refuses those that wait and later ones; those inside end as usual")
    func closing() throws {
        let (gate, replicas) = gate(1)
        let slot = try #require(enter(gate).slot)
        let waiter = TestWaiter()
        _ = enter(gate, waiter)
        gate.close(.shutdown)
        #expect(waiter.refusal == .shutdown)
        #expect(enter(gate).refusal == .shutdown)
        #expect(gate.enterAgain(TestWaiter(), key: nil, avoiding: [], now: start).refusal == .shutdown)
        #expect(gate.load == (0, 1, 0))
        gate.end(slot, now: start)
        #expect(gate.load == (0, 0, 0))
        #expect(replicas[0].activity.inFlight == 0)
    }

    @Test("R14, R19: an upgraded connection is one request inside until it ends")
    func upgraded() throws {
        let (gate, _) = gate(1, maxConcurrency: 2)
        let slot = try #require(enter(gate).slot)
        _ = enter(gate)
        gate.upgraded(slot)
        #expect(gate.load == (0, 2, 1))
        gate.end(slot, now: start)
        #expect(gate.load == (0, 1, 0))
    }

    @Test("R22: equal keys get the same replica; when its slots are taken they wait 1 s for it, then any takes them")
    func sticky() throws {
        let (gate, replicas) = gate(2)
        let key = try key(of: replicas[1], among: replicas)
        let slot = try #require(enter(gate, key: key).slot)
        #expect(slot.replica.id == "r1")
        let waiters = [TestWaiter(), TestWaiter(), TestWaiter()]
        #expect(enter(gate, waiters[0], key: key).isWaiting)
        #expect(enter(gate, waiters[1], key: key, now: start + .milliseconds(500)).isWaiting)
        #expect(gate.nextTick == start + .seconds(1))
        gate.end(slot, now: start + .milliseconds(600))
        #expect(waiters[0].slot?.replica.id == "r1")
        gate.tick(now: start + .milliseconds(1499))
        #expect(waiters[1].calls == 0)
        // A request without a key takes the other replica meanwhile.
        let other = try #require(enter(gate, now: start + .milliseconds(1499)).slot)
        #expect(other.replica.id == "r0")
        gate.end(other, now: start + .milliseconds(1499))
        gate.tick(now: start + .milliseconds(1500))
        #expect(waiters[1].slot?.replica.id == "r0")
        #expect(gate.nextTick == nil)
        // Without the right to wait it takes any free slot at once.
        gate.end(try #require(waiters[1].slot), now: start)
        #expect(enter(gate, waiters[2], key: key, mayWait: false).slot?.replica.id == "r0")
    }

    @Test("R22: a request of a sticky key whose replica goes away waits for its next one, from the same beginning")
    func stickyMoves() throws {
        let (gate, replicas) = gate(3)
        let key = try key(of: replicas[2], among: replicas)
        let second = try key2(key, replicas)
        // Every slot is taken, and one request waits for the key's replica.
        let slots = try (0..<3).map { _ in try #require(enter(gate).slot) }
        let waiter = TestWaiter()
        _ = enter(gate, waiter, key: key)
        gate.update(replicas: [replicas[0].ready, replicas[1].ready], now: start + .milliseconds(900))
        let other = try #require(slots.first { $0.replica.id != second && $0.replica.id != "r2" })
        gate.end(other, now: start + .milliseconds(950))
        #expect(waiter.calls == 0)
        let theirs = try #require(slots.first { $0.replica.id == second })
        gate.end(theirs, now: start + .milliseconds(960))
        #expect(waiter.slot?.replica.id == second)
    }

    /// The replica of a key once the last one is gone.
    private func key2(_ key: UInt64, _ replicas: [TestReplica]) throws -> String {
        try #require(
            replicas.dropLast().max {
                StableHash.score(key: key, candidate: StableHash.of($0.id))
                    < StableHash.score(key: key, candidate: StableHash.of($1.id))
            }
        ).id
    }

    @Test("R22: when a replica is added or removed, at most 2/n of 100,000 keys move, and only from or to that replica")
    func fewMove() {
        func owners(_ ids: [String]) -> [String?] {
            let candidates = ids.map { ($0, StableHash.of($0)) }
            return (0..<100_000).map { number in
                let key = StableHash.of("user-\(number)")
                return candidates.max {
                    StableHash.score(key: key, candidate: $0.1) < StableHash.score(key: key, candidate: $1.1)
                }?.0
            }
        }
        for count in [2, 5, 20] {
            let ids = (0..<count).map { "api-7f3c-\($0)" }
            let before = owners(ids)
            let after = owners(ids + ["api-7f3c-new"])
            let moved = zip(before, after).filter { $0 != $1 }
            #expect(moved.allSatisfy { $0.1 == "api-7f3c-new" })
            #expect(moved.count < 100_000 * 2 / (count + 1))
            #expect(moved.count > 100_000 / 2 / (count + 1))
        }
    }

    @Test("R22: the hash of a key is the same in every process")
    func stable() {
        #expect(StableHash.of("") == 0xC381_7C01_6BA4_FF30)
        #expect(StableHash.of("user-1") == 0xF16D_8D44_0FBB_25D5)
    }

    @Test("R13: concurrent entering, leaving and ending from several threads lose nothing")
    func concurrent() async {
        let (gate, replicas) = gate(3, maxConcurrency: 4, maxQueueLength: 1000)
        await withTaskGroup(of: Void.self) { group in
            for seed in 0..<8 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(seed))
                    for round in 0..<500 {
                        let waiter = TestWaiter(round)
                        let now = start + .milliseconds(round)
                        var slot: ReplicaSlot?
                        switch gate.enter(waiter, key: nil, mayWait: true, now: now) {
                        case .assigned(let assigned): slot = assigned
                        case .waiting:
                            if Bool.random(using: &generator), gate.leave(waiter) { continue }
                            while waiter.calls == 0 { await Task.yield() }
                            slot = waiter.slot
                        case .refused: Issue.record("the queue is long enough")
                        }
                        if let slot { gate.end(slot, now: now) }
                    }
                }
            }
        }
        #expect(gate.load == (0, 0, 0))
        #expect(replicas.allSatisfy { $0.activity.inFlight == 0 && $0.activity.youngestStart == nil })
    }
}
