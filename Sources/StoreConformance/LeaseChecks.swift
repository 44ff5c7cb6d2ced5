import Core
import TestSupport
import Testing

extension StoreCheck {
    static let leases = [
        StoreCheck("A10: tokens grow with every delivery, and an old one finishes, extends and releases nothing") {
            fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let old = try await fixture.claimOne()
            try await fixture.store.release([old], now: fixture.at(1))
            let new = try await fixture.claimOne()
            #expect(new.token > old.token)
            for outcome in [
                Outcome.completed(.empty), .failed(StoreFixture.failure),
                .retry(StoreFixture.failure, notBefore: fixture.at(9)),
            ] {
                #expect(try await fixture.store.finish(old, outcome: outcome, now: fixture.at(2)) == .stale)
            }
            #expect(try await fixture.store.extend([old, new], visibility: .seconds(5), now: fixture.at(2)) == [old])
            try await fixture.store.release([old], now: fixture.at(2))
            #expect(try await fixture.status(1) == .inProgress)
            #expect(try await fixture.read(1)?.attempts == 0)
            #expect(
                try await fixture.store.finish(new, outcome: .completed(StoreFixture.result), now: fixture.at(3))
                    == .applied)
            #expect(try await fixture.store.finish(new, outcome: .completed(.empty), now: fixture.at(4)) == .stale)
            #expect(try await fixture.read(1)?.result == StoreFixture.result)
        },
        StoreCheck("A10: a lease of an unknown request or API is stale") { fixture in
            try await fixture.deploy()
            let leases = [
                Lease(api: "echo", id: fixture.id(1), token: 1), Lease(api: "unknown", id: fixture.id(1), token: 1),
            ]
            for lease in leases {
                #expect(
                    try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(0)) == .stale)
            }
            #expect(try await fixture.store.extend(leases, visibility: .seconds(5), now: fixture.at(0)) == leases)
            #expect(try await fixture.store.extend([], visibility: .seconds(5), now: fixture.at(0)).isEmpty)
            try await fixture.store.release(leases, now: fixture.at(0))
        },
        StoreCheck("A10: an expired lease is rescued, uses no attempt, and the request keeps its place") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            let lease = try await fixture.claimOne()
            #expect(try await fixture.store.maintain(now: fixture.at(29)) == Upkeep())
            #expect(try await fixture.store.maintain(now: fixture.at(30)) == Upkeep(rescued: 1))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 2))
            #expect(try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(30)) == .stale)
            let again = try await fixture.claim(1, now: fixture.at(31))
            #expect(again.map(\.id) == [fixture.id(1)])
            #expect(again.first?.attempts == 0)
        },
        StoreCheck("A10: an extended lease lives on") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let lease = try await fixture.claimOne()
            for second in stride(from: 10, through: 100, by: 10) {
                #expect(
                    try await fixture.store.extend([lease], visibility: .seconds(30), now: fixture.at(second)).isEmpty)
                #expect(try await fixture.store.maintain(now: fixture.at(second + 9)).rescued == 0)
            }
            #expect(try await fixture.store.maintain(now: fixture.at(130)).rescued == 1)
        },
        StoreCheck("A10: a late finish counts until its request returns to the queue") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            let leases = try await fixture.claim(2).map(\.lease)
            #expect(try await fixture.store.extend([leases[0]], visibility: .seconds(30), now: fixture.at(40)).isEmpty)
            #expect(
                try await fixture.store.finish(leases[1], outcome: .completed(.empty), now: fixture.at(40)) == .applied)
        },
        StoreCheck("C13: a release gives back without an attempt, at the old place") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...3)
            let leases = try await fixture.claim(2).map(\.lease)
            try await fixture.store.release(leases, now: fixture.at(1))
            try await fixture.store.release([], now: fixture.at(1))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 3))
            #expect(try await fixture.claim(3).map(\.id) == [1, 2, 3].map(fixture.id))
            #expect(try await fixture.read(1)?.attempts == 0)
        },
        StoreCheck("A10: the leases of a dead holder go back, the others stay") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...5)
            _ = try await fixture.claim(2, holder: "dead")
            let alive = try await fixture.claim(1, holder: "alive").map(\.lease)
            #expect(try await fixture.store.releaseLeases(heldBy: "dead", now: fixture.at(1)) == 2)
            #expect(try await fixture.store.releaseLeases(heldBy: "dead", now: fixture.at(1)) == 0)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 4, inProgress: 1))
            #expect(try await fixture.store.extend(alive, visibility: .seconds(30), now: fixture.at(1)).isEmpty)
        },
        StoreCheck("A3: attempts count deliveries that went to their end") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            for attempt in 1...2 {
                let lease = try await fixture.claimOne(now: fixture.at(attempt))
                _ = try await fixture.store.finish(
                    lease, outcome: .retry(StoreFixture.failure, notBefore: fixture.at(attempt)),
                    now: fixture.at(attempt))
                try await fixture.store.release(
                    [try await fixture.claimOne(now: fixture.at(attempt))], now: fixture.at(attempt))
                #expect(try await fixture.read(1)?.attempts == attempt)
            }
            _ = try await fixture.store.finish(
                try await fixture.claimOne(now: fixture.at(3)), outcome: .completed(StoreFixture.result),
                now: fixture.at(3))
            let record = try #require(try await fixture.read(1))
            #expect(record.attempts == 3)
            #expect(record.failures.map(\.at) == [fixture.at(1), fixture.at(2)])
            #expect(record.failure == nil)
        },
    ]
}
