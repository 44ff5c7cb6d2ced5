import Core
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import Dequeuer

@Suite("Whose turn it is to claim", .timeLimit(.minutes(2)))
struct ClaimTurnsTests {
    /// An order of workers with so many slots and requests inside, and news of work.
    private func order(_ members: [(slots: Int, inside: Int)]) -> (ClaimOrder, [Int]) {
        var order = ClaimOrder()
        let ids = members.map { member -> Int in
            let id = order.join()
            order.update(id) {
                $0.slots = member.slots
                $0.inside = member.inside
                $0.isOpen = true
            }
            return id
        }
        order.hint()
        return (order, ids)
    }

    @Test("C11: the replica with the fewest requests inside takes the next, as many as keep it the one")
    func fewest() {
        let (order, ids) = order([(10, 5), (10, 2), (10, 4)])
        #expect(order.next == ids[1])
        #expect(order.turn(of: ids[1]) == .claim(2))
        #expect(order.turn(of: ids[0]) == .wait && order.turn(of: ids[2]) == .wait)
    }

    @Test("C11: only replicas with a free slot count, and a single one takes all that it has free")
    func free() {
        let (order, ids) = order([(2, 2), (10, 7)])
        #expect(order.next == ids[1])
        #expect(order.turn(of: ids[1]) == .claim(3))
        var closed = order
        closed.update(ids[1]) { $0.isOpen = false }
        #expect(closed.next == nil)
        #expect(closed.turn(of: ids[1]) == .wait)
    }

    @Test("C11: among equals the one used least recently is first; a claim that brings nothing is no use")
    func leastRecent() {
        var (order, ids) = order([(1, 0), (1, 0), (1, 0)])
        var used: [Int] = []
        for _ in 0..<7 {
            order.hint()
            guard let next = order.next else {
                Issue.record("nobody is next")
                return
            }
            used.append(next)
            let seen = order.claiming(next, granted: 1)
            order.claimed(next, since: seen, asked: 1, got: 1)
            // The queue may hold more: the next one looks, and finds nothing.
            if let other = order.next {
                let seen = order.claiming(other, granted: 1)
                order.update(other) { $0.inside = 0 }
                order.claimed(other, since: seen, asked: 1, got: 0)
            }
            #expect(!order.hasWork && order.next == nil)
            order.update(next) { $0.inside = 0 }
        }
        #expect(used == [ids[0], ids[1], ids[2], ids[0], ids[1], ids[2], ids[0]])
    }

    @Test("C11: while the first one's claim is under way nobody else is first; news that come meanwhile stay news")
    func underWay() {
        var (order, ids) = order([(9, 0), (9, 5)])
        let seen = order.claiming(ids[0], granted: 1)
        #expect(order.next == nil)
        order.hint()
        order.update(ids[0]) { $0.inside = 0 }
        order.claimed(ids[0], since: seen, asked: 1, got: 0)
        #expect(order.hasWork && order.next == ids[0])
    }

    @Test("C11: a claim that fails leaves the work to the others")
    func failed() {
        var (order, ids) = order([(1, 0), (1, 0)])
        let seen = order.claiming(ids[0], granted: 1)
        order.update(ids[0]) {
            $0.inside = 0
            $0.isOpen = false
        }
        order.claimed(ids[0], since: seen, asked: 1, got: nil)
        #expect(order.next == ids[1])
    }

    @Test("C11: a queue that fills every slot is claimed in large pieces, whatever the order")
    func backlog() {
        var (order, ids) = order([(4, 0), (4, 0)])
        var sizes: [Int] = []
        for _ in 0..<20 {
            guard let id = order.next, case .claim(let count) = order.turn(of: id) else { break }
            sizes.append(count)
            let seen = order.claiming(id, granted: count)
            order.claimed(id, since: seen, asked: count, got: count)
        }
        #expect(sizes.reduce(0, +) == 8 && order.next == nil)
        for id in ids { order.update(id) { $0.inside = 0 } }
        #expect(order.next.map { order.turn(of: $0) } == .claim(4))
    }

    @Test("C11: random events never leave work, a free slot and nobody whose turn it is; nor does one exceed its slots")
    func random() {
        var generator = SeededGenerator(seed: 9)
        for _ in 0..<300 {
            var order = ClaimOrder()
            var inside: [Int: Int] = [:]
            var claims: [(id: Int, seen: Int, asked: Int)] = []
            let ids = (0..<Int.random(in: 1...4, using: &generator)).map { _ in order.join() }
            for id in ids {
                inside[id] = 0
                order.update(id) {
                    $0.slots = Int.random(in: 1...5, using: &generator)
                    $0.isOpen = true
                }
            }
            for _ in 0..<60 {
                let id = ids.randomElement(using: &generator) ?? 0
                switch Int.random(in: 0...4, using: &generator) {
                case 0: order.hint()
                case 1 where (inside[id] ?? 0) > 0 && !claims.contains { $0.id == id }:
                    inside[id, default: 0] -= 1
                    order.update(id) { $0.inside -= 1 }
                case 2: order.update(id) { $0.isOpen.toggle() }
                case 3:
                    guard let next = order.next, case .claim(let most) = order.turn(of: next) else { continue }
                    inside[next, default: 0] += most
                    claims.append((next, order.claiming(next, granted: most), most))
                default:
                    guard let claim = claims.popLast() else { continue }
                    let got = Int.random(in: 0...claim.asked, using: &generator)
                    inside[claim.id, default: 0] -= claim.asked - got
                    order.update(claim.id) { $0.inside -= claim.asked - got }
                    order.claimed(claim.id, since: claim.seen, asked: claim.asked, got: got)
                }
                for member in order.members {
                    #expect(member.inside == inside[member.id] && member.inside <= member.slots)
                }
                if order.hasWork, order.members.contains(where: { $0.free > 0 }), order.next == nil {
                    #expect(order.members.contains { $0.isClaiming && $0.free > 0 })
                }
            }
        }
    }

    @Test(
        "C11: sequential requests reach both of two ready replicas in turn, a burst is shared evenly",
        arguments: [1, 3])
    func bothReplicas(_ concurrency: Int) async throws {
        var settings = Platform.Settings()
        settings.maxConcurrency = concurrency
        let served = Mutex<[Int]>([0, 0])
        let gate = Gate()
        let holds = Mutex(false)
        func handler(_ number: Int) -> @Sendable (inout ContainerServer.Connection) async throws -> Void {
            { connection in
                while try await connection.readRequest() != nil {
                    served.withLock { $0[number] += 1 }
                    if holds.withLock({ $0 }) { await gate.wait() }
                    try await connection.answer("1")
                }
            }
        }
        try await Platform.with(settings, container: handler(0)) { platform, _ in
            try await ContainerServer.with(handler(1)) { second in
                let replica = ReadyReplica(
                    id: "api-2", api: platform.api, connector: LoopbackConnector(port: second.port),
                    activity: ReplicaActivity())
                platform.ready.yield([platform.replica, replica])
                // Both workers have looked at the empty queue when each has served one.
                for _ in 0..<40 where served.withLock({ $0.contains(0) }) { _ = try await platform.run() }
                let before = served.withLock { $0 }
                for _ in 0..<10 {
                    #expect(try await platform.run().status == .completed)
                    // The slot is free a moment after the result is stored.
                    try await expectEventually { platform.activity.inFlight + replica.activity.inFlight == 0 }
                }
                let after = served.withLock { $0 }
                #expect(abs((after[0] - before[0]) - (after[1] - before[1])) == 0, "\(before) \(after)")
                holds.withLock { $0 = true }
                for _ in 0..<2 * concurrency { _ = try await platform.submit() }
                try await expectEventually {
                    platform.activity.inFlight == concurrency && replica.activity.inFlight == concurrency
                }
                gate.open()
                try await expectEventually { platform.activity.inFlight + replica.activity.inFlight == 0 }
                platform.ready.yield([platform.replica])
            }
        }
    }
}
