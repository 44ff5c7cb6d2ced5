import Core
import TestSupport
import Testing

@testable import Proxy

/// Drives a ``GateMachine`` with random events and compares it with a plain model, which searches where the machine
/// keeps count.
private struct GateWorld {
    struct Waiting {
        let waiter: TestWaiter
        let key: UInt64?
        /// `nil`: not delivered before.
        let avoiding: Set<String>?
        /// When a replica was ready for the first time since the request began to wait.
        var since: Instant?
        /// Whether a replica was avoided meanwhile. Then the model does not know for how long the request waits for the
        /// replica of its key.
        var isUncertain = false
    }

    struct Replica {
        let test: TestReplica
        var isListed = true
        /// Whether it takes no more requests, and whether the machine has noticed.
        var isClosed = false
        var isKnownClosed = false
        var avoidedUntil: Instant?
        var slots: [ReplicaSlot] = []
        var lastUsed = 0

        var isReady: Bool { isListed && !isKnownClosed }
    }

    var generator: SeededGenerator
    var machine: GateMachine
    var now = Instant(seconds: 1_000_000)
    var maxConcurrency: Int
    var maxQueueLength: Int
    var replicas: [Replica] = []
    /// In order of arrival.
    var waiting: [Waiting] = []
    var obstacle: GateRefusal?
    var assigned = 0
    var entered = 0
    var ended = 0
    var gone = 0
    var refused = 0
    var wakes = 0
    var created = 0
    var upgraded: Set<Int> = []
    /// Whether the machine noticed during the last event that a replica is closed. Its decisions before that moment
    /// were made without this knowledge, which the model has.
    var hasNoticed = false

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        maxConcurrency = 2
        maxQueueLength = 4
        machine = GateMachine(maxConcurrency: 2, maxQueueLength: 4)
    }

    // MARK: The model

    var ready: [Int] { replicas.indices.filter { replicas[$0].isReady } }

    func isHeld(_ index: Int) -> Bool { replicas[index].avoidedUntil.map { $0 > now } ?? false }

    /// Replicas that may get a request now, avoided ones only if there is no other.
    var available: [Int] {
        let free = ready.filter { !isHeld($0) }
        return free.isEmpty ? ready : free
    }

    func owner(of key: UInt64) -> Int? {
        ready.max {
            StableHash.score(key: key, candidate: StableHash.of(replicas[$0].test.id))
                < StableHash.score(key: key, candidate: StableHash.of(replicas[$1].test.id))
        }
    }

    /// Whether a waiting request has to take a free slot of this replica.
    func mayUse(_ entry: Waiting, _ index: Int) -> Bool {
        guard available.contains(index) else { return false }
        if let avoiding = entry.avoiding {
            return !avoiding.contains(replicas[index].test.id)
                || !ready.contains { !avoiding.contains(replicas[$0].test.id) }
        }
        guard let key = entry.key, let since = entry.since, let owner = owner(of: key) else { return true }
        return owner == index || (!entry.isUncertain && now - since >= Limits.stickyWait)
    }

    func hasFreeSlot(_ index: Int) -> Bool { replicas[index].slots.count < maxConcurrency }

    mutating func took(_ slot: ReplicaSlot, unkeyed: Bool) {
        guard let index = replicas.lastIndex(where: { $0.test.activity === slot.replica.ready.activity }) else {
            Issue.record("an unknown replica")
            return
        }
        #expect(replicas[index].isReady && !replicas[index].isClosed, "a request went to a replica that is not ready")
        #expect(available.contains(index), "a request went to an avoided replica")
        #expect(hasFreeSlot(index), "more inside than max_concurrency")
        if unkeyed {
            let use = (replicas[index].slots.count, replicas[index].lastUsed)
            for other in available where hasFreeSlot(other) && !replicas[other].isClosed {
                #expect(
                    use <= (replicas[other].slots.count, replicas[other].lastUsed),
                    "another replica has fewer inside, or was used less recently")
            }
        }
        assigned += 1
        replicas[index].slots.append(slot)
        replicas[index].lastUsed = assigned
    }

    // MARK: Events

    /// Sends an event, and follows what the machine returns.
    mutating func send<Result>(_ event: (inout GateMachine, (ProxyReplica) -> Bool) -> Result) -> Result {
        var closed: [TestReplica] = []
        let present = replicas
        let result = event(&machine) { replica in
            guard let known = present.last(where: { $0.test.activity === replica.ready.activity }) else { return false }
            if known.isClosed { closed.append(known.test) }
            return !known.isClosed
        }
        hasNoticed = !closed.isEmpty
        for test in closed {
            if let index = replicas.firstIndex(where: { $0.test.activity === test.activity }) {
                replicas[index].isKnownClosed = true
            }
        }
        return result
    }

    mutating func follow() {
        for action in machine.takeActions() {
            switch action {
            case .assign(let waiter, let slot):
                guard let position = waiting.firstIndex(where: { $0.waiter === waiter }) else {
                    Issue.record("a request that does not wait was assigned")
                    continue
                }
                let entry = waiting.remove(at: position)
                guard let index = replicas.lastIndex(where: { $0.test.activity === slot.replica.ready.activity })
                else { continue }
                if entry.avoiding == nil {
                    #expect(
                        hasNoticed || !waiting.contains { $0.avoiding != nil && mayUse($0, index) },
                        "a request that is delivered again was overtaken")
                    #expect(
                        !waiting[..<position].contains { $0.avoiding == nil && $0.key == nil },
                        "an earlier request was overtaken")
                } else {
                    #expect(
                        !waiting[..<position].contains { $0.avoiding == entry.avoiding },
                        "an earlier request that is delivered again was overtaken")
                    #expect(mayUse(entry, index), "a request returned to a replica that it avoids")
                }
                took(slot, unkeyed: entry.avoiding == nil && entry.key == nil)
            case .refuse(let waiter, _):
                #expect(waiting.contains { $0.waiter === waiter })
                waiting.removeAll { $0.waiter === waiter }
                refused += 1
            case .wake:
                wakes += 1
                #expect(ready.isEmpty)
            }
        }
        bindKeys()
    }

    mutating func bindKeys() {
        guard !ready.isEmpty else {
            for index in waiting.indices { waiting[index].since = nil }
            return
        }
        let avoids = replicas.contains { $0.avoidedUntil != nil }
        for index in waiting.indices {
            waiting[index].since = waiting[index].since ?? now
            if avoids { waiting[index].isUncertain = true }
        }
    }

    func check() {
        let load = machine.load
        #expect(load.waiting == waiting.count, "a waiting request was lost or kept")
        #expect(load.inside == replicas.reduce(0) { $0 + $1.slots.count }, "a slot was lost or kept")
        #expect(load.upgraded == upgraded.count)
        #expect(machine.capacity == max(1, ready.count) * (maxConcurrency + maxQueueLength))
        for index in available where hasFreeSlot(index) {
            #expect(!waiting.contains { mayUse($0, index) }, "a request waits beside a free slot")
        }
        #expect(entered == waiting.count + gone + refused + assigned, "a request was lost")
    }

    mutating func enter(again: Bool) {
        let waiter = TestWaiter(entered)
        let key = Int.random(in: 0..<4, using: &generator) == 0 ? UInt64.random(in: 0..<20, using: &generator) : nil
        var avoiding: Set<String>?
        if again { avoiding = Set(replicas.filter { _ in Bool.random(using: &generator) }.prefix(2).map(\.test.id)) }
        let mayWait = again || Int.random(in: 0..<10, using: &generator) > 0
        let time = now
        entered += 1
        let inside = ready.reduce(0) { $0 + replicas[$1].slots.count }
        let isFull = inside + waiting.count >= max(1, ready.count) * (maxConcurrency + maxQueueLength)
        let isBlocked = ready.isEmpty && obstacle != nil
        let admission = send { machine, begin in
            if let avoiding {
                return machine.enterAgain(waiter, key: key, avoiding: avoiding, now: time, begin: begin)
            }
            return machine.enter(waiter, key: key, mayWait: mayWait, now: time, begin: begin)
        }
        // First those that were assigned before this request was looked at.
        follow()
        switch admission {
        case .assigned(let slot):
            #expect(again || !isFull)
            took(slot, unkeyed: key == nil && avoiding == nil)
        case .waiting(let hasReplica):
            #expect(again || (mayWait && !isFull))
            #expect(hasReplica == !ready.isEmpty)
            waiting.append(Waiting(waiter: waiter, key: key, avoiding: avoiding))
            bindKeys()
        case .refused(let refusal):
            refused += 1
            switch refusal {
            case .queueFull: #expect(isFull && !again, "refused although the queue is not full")
            case .noFreeSlot:
                #expect(!mayWait && !available.contains { hasFreeSlot($0) }, "refused beside a free slot")
            default: #expect(isBlocked)
            }
        }
    }

    mutating func step() {
        let time = now
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<40: enter(again: false)
        case 40..<46: enter(again: true)
        case 46..<52:
            guard let entry = waiting.randomElement(using: &generator) else { break }
            let left = [1, 2].map { _ in send { machine, _ in machine.leave(entry.waiter) } }
            #expect(left == [true, false])
            waiting.removeAll { $0.waiter === entry.waiter }
            gone += 1
        case 52..<82:
            guard let index = replicas.indices.filter({ !replicas[$0].slots.isEmpty }).randomElement(using: &generator)
            else { break }
            let slot = replicas[index].slots.remove(
                at: Int.random(in: 0..<replicas[index].slots.count, using: &generator))
            upgraded.remove(slot.number)
            ended += 1
            send { machine, begin in machine.end(slot, now: time, begin: begin) }
            if replicas[index].slots.isEmpty, !replicas[index].isListed { replicas.remove(at: index) }
        case 82..<85:
            guard let index = replicas.indices.filter({ !replicas[$0].slots.isEmpty }).randomElement(using: &generator)
            else { break }
            let slot = replicas[index].slots[0]
            replicas[index].avoidedUntil = now + Limits.replicaAvoidance
            send { machine, begin in machine.refused(by: slot, now: time, begin: begin) }
        case 85..<88:
            let before = waiting.count
            let raised = Int.random(in: 1...4, using: &generator)
            let isLowered = raised <= maxConcurrency
            maxConcurrency = raised
            maxQueueLength = Int.random(in: 1...8, using: &generator)
            let (concurrency, length) = (maxConcurrency, maxQueueLength)
            send { machine, begin in
                machine.update(maxConcurrency: concurrency, maxQueueLength: length, now: time, begin: begin)
            }
            if isLowered { #expect(machine.load.waiting == before, "a lowered limit dropped a request that waits") }
        case 88..<93:
            if Bool.random(using: &generator), ready.count < 6 {
                created += 1
                replicas.append(Replica(test: TestReplica("r\(created)")))
            } else if let index = replicas.indices.filter({ replicas[$0].isListed }).randomElement(using: &generator) {
                replicas[index].isListed = false
            }
            let listed = replicas.filter(\.isListed).map(\.test.ready)
            replicas.removeAll { !$0.isListed && $0.slots.isEmpty }
            if !ready.isEmpty { obstacle = nil }
            send { machine, begin in machine.update(replicas: listed, now: time, begin: begin) }
        case 93..<94:
            guard let index = ready.randomElement(using: &generator) else { break }
            replicas[index].isClosed = true
        case 94..<96:
            let refusal: GateRefusal? =
                Bool.random(using: &generator) ? .noReplica(reason: "no image", retryAfter: 1) : nil
            if ready.isEmpty { obstacle = refusal }
            send { machine, _ in machine.setObstacle(refusal) }
        case 96..<97:
            guard let slot = replicas.flatMap(\.slots).randomElement(using: &generator) else { break }
            upgraded.insert(slot.number)
            send { machine, _ in machine.upgraded(slot) }
        default:
            now = now + .milliseconds(Int.random(in: 1...600, using: &generator))
            for index in replicas.indices {
                if let until = replicas[index].avoidedUntil, until <= now { replicas[index].avoidedUntil = nil }
            }
            let time = now
            send { machine, begin in machine.tick(now: time, begin: begin) }
        }
        follow()
        check()
    }

    /// Lets everything end: each waiting request gets a slot.
    mutating func finish() {
        created += 1
        replicas.append(Replica(test: TestReplica("r\(created)")))
        obstacle = nil
        let listed = replicas.filter(\.isListed).map(\.test.ready)
        now = now + .seconds(10)
        for index in replicas.indices { replicas[index].avoidedUntil = nil }
        var time = now
        send { machine, begin in machine.update(replicas: listed, now: time, begin: begin) }
        follow()
        for _ in 0..<100_000 {
            guard let index = replicas.indices.first(where: { !replicas[$0].slots.isEmpty }) else { break }
            let slot = replicas[index].slots.removeFirst()
            upgraded.remove(slot.number)
            now = now + .seconds(2)
            time = now
            send { machine, begin in machine.end(slot, now: time, begin: begin) }
            follow()
        }
        #expect(waiting.isEmpty, "\(waiting.count) requests wait for ever")
        #expect(machine.load == (0, 0, 0))
    }
}

@Suite("The gate's machine")
struct GateMachineTests {
    @Test(
        "R10, R11, R13, R15, R20, R21, R22: 10,000 random events keep order, limits, balance, and lose nothing",
        arguments: 1...6)
    func random(seed: Int) {
        var world = GateWorld(seed: UInt64(seed))
        for _ in 0..<10_000 { world.step() }
        world.finish()
        #expect(world.assigned > 2000 && world.gone > 100 && world.refused > 100 && world.wakes > 0)
    }

    @Test("R10: 30,000 requests wait, leave from any place and are assigned without a search through the queue")
    func large() {
        var machine = GateMachine(maxConcurrency: 300, maxQueueLength: 300)
        let replicas = (0..<100).map { TestReplica("r\($0)") }
        let now = Instant(seconds: 1)
        machine.update(replicas: replicas.map(\.ready), now: now) { _ in true }
        var slots: [ReplicaSlot] = []
        for number in 0..<30_000 {
            guard
                let slot = machine.enter(TestWaiter(number), key: nil, mayWait: true, now: now, begin: { _ in true })
                    .slot
            else { break }
            slots.append(slot)
        }
        #expect(slots.count == 30_000)
        var generator = SeededGenerator(seed: 3)
        var waiters = (0..<30_000).map { TestWaiter($0) }
        let clock = ContinuousClock()
        let time = clock.measure {
            for waiter in waiters { _ = machine.enter(waiter, key: nil, mayWait: true, now: now) { _ in true } }
            waiters.shuffle(using: &generator)
            let left = waiters.prefix(15_000).filter { machine.leave($0) }
            #expect(left.count == 15_000)
            for slot in slots.prefix(15_000) { machine.end(slot, now: now) { _ in true } }
        }
        let assigned = machine.takeActions().compactMap { action -> Int? in
            guard case .assign(let waiter, _) = action else { return nil }
            return (waiter as? TestWaiter)?.name
        }
        #expect(assigned.count == 15_000)
        #expect(assigned == waiters.dropFirst(15_000).map(\.name).sorted())
        #expect(machine.load == (0, 30_000, 0))
        // 60,000 events; a search through the queue at each would take minutes.
        #expect(time < .seconds(20))
    }
}
