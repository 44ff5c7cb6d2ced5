import Core
import TestSupport
import Testing

@testable import Dequeuer

private let start = Instant(seconds: 1_000_000)

@Suite("Which replica gets the next request")
struct ReplicaOrderTests {
    /// Replicas with so many requests inside, and for each a share of so many slots.
    private func order(_ members: [(inside: Int, slots: Int)]) -> (ReplicaOrder, [ReplicaOrder.Share]) {
        var order = ReplicaOrder()
        let shares = members.map { member -> ReplicaOrder.Share in
            let id = order.join()
            order.update(id) { $0.inside = member.inside }
            return .init(member: id, slots: member.slots)
        }
        return (order, shares)
    }

    @Test("C11: each request goes to the replica with the fewest inside that has a free slot")
    func fewest() {
        var (order, shares) = order([(5, 5), (2, 2), (4, 6)])
        let chosen = (0..<8).map { _ in order.assign(&shares, now: start) }
        // 5 2 4: the second up to 4, where it is full; then the third and the first level with each other.
        #expect(chosen.prefix(3) == [1, 1, 2])
        #expect(order.members.map(\.inside) == [8, 4, 7])
        #expect(shares.map(\.slots) == [2, 0, 3])
    }

    @Test("C11: among equals the one used least recently is next, so one after the other gets a request")
    func leastRecent() {
        var (order, shares) = order([(0, 9), (0, 9), (0, 9)])
        var chosen: [Int?] = []
        for _ in 0..<7 {
            let share = order.assign(&shares, now: start)
            chosen.append(share)
            if let share { order.update(shares[share].member) { $0.inside -= 1 } }
        }
        #expect(chosen == [0, 1, 2, 0, 1, 2, 0])
        // One that joins later was never used.
        let late = order.join()
        shares.append(.init(member: late, slots: 1))
        #expect(order.assign(&shares, now: start) == 3)
    }

    @Test("C11, C7: a replica that closed, left or is on hold gets no request; when no other has a slot, none does")
    func unavailable() {
        var (order, shares) = order([(0, 1), (0, 1), (0, 1), (9, 1)])
        order.update(1) { $0.isOpen = false }
        order.leave(2)
        order.update(3) { $0.failed(now: start, chance: 0.5) }
        #expect(order.assign(&shares, now: start) == 3)
        #expect(order.assign(&shares, now: start) == nil)
        #expect(shares.map(\.slots) == [1, 1, 1, 0])
        #expect(order.assign(&shares, now: start + .milliseconds(250)) == 2)
    }

    @Test("A11: a pod that does not connect gets no request for a delay that doubles up to 5 s, until it connects")
    func holds() {
        var (order, _) = order([(0, 1)])
        func hold() -> Duration? { order.members.first?.holdUntil.map { $0 - start } }
        order.update(1) { $0.failed(now: start, chance: 0.5) }
        #expect(hold() == .milliseconds(250))
        #expect(order.members.first?.isAvailable(at: start + .milliseconds(249)) == false)
        #expect(order.members.first?.isAvailable(at: start + .milliseconds(250)) == true)
        order.update(1) { $0.failed(now: start, chance: 0.5) }
        #expect(hold() == .milliseconds(500))
        for _ in 0..<100 { order.update(1) { $0.failed(now: start, chance: 0.5) } }
        #expect(hold() == .seconds(5))
        order.update(1) { $0.reached() }
        order.update(1) { $0.failed(now: start + .seconds(5), chance: 0.5) }
        #expect(hold() == .seconds(5) + .milliseconds(250))
    }

    @Test("C11: random requests never exceed a share, and never leave replicas with free slots more than one apart")
    func random() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<300 {
            let slots = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
                Int.random(in: 1...6, using: &generator)
            }
            var (order, shares) = order(slots.map { (0, $0) })
            for _ in 0..<Int.random(in: 0...30, using: &generator) { _ = order.assign(&shares, now: start) }
            let inside = order.members.map(\.inside)
            for (share, (slots, inside)) in zip(shares, zip(slots, inside)) {
                #expect(share.slots >= 0 && share.slots + inside == slots)
            }
            let free = zip(shares, inside).filter { $0.0.slots > 0 }.map(\.1)
            if let most = inside.max(), let least = free.min() { #expect(most - least <= 1) }
        }
    }
}
