import Core
import TestSupport
import Testing

/// Several processes of the platform, one after the other or at the same time.
extension StoreCheck {
    static let processes = [
        StoreCheck(
            "A10: a process that starts releases what others held, whatever their replicas; its own leases stay",
            needs: [.exclusive]
        ) { fixture in
            let store = fixture.store
            try await fixture.deploy()
            try await fixture.submit(1...7)
            func holder(_ process: String, _ replica: String) -> LeaseHolder {
                .init(process: process, replica: replica)
            }
            #expect(try await store.beat(process: "first", now: fixture.at(0)) == 0)
            for replica in ["a", "b"] { _ = try await fixture.claim(1, holder: holder("first", replica)) }
            _ = try await fixture.claim(1, holder: holder("first one", "a"))
            _ = try await fixture.claim(1, holder: holder("", "first"))
            let own = try await fixture.claim(2, holder: holder("second", "a")).map(\.lease)
            #expect(try await store.releaseLeases(heldBy: "first", now: fixture.at(1)) == 2)
            #expect(try await fixture.status(3) == .inProgress, "another name that begins alike")
            var hints = HintReader(store.changes())
            #expect(try await store.beat(process: "second", now: fixture.at(1)) == 2)
            try await hints.expect { $0.queued.contains("echo") }
            #expect(try await store.beat(process: "second", now: fixture.at(1)) == 0)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 5, inProgress: 2))
            #expect(try await store.extend(own, visibility: .seconds(30), now: fixture.at(1)).isEmpty)
            #expect(try await store.beat(process: "third", now: fixture.at(2)) == 2)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 7))
        },
        StoreCheck("A10: a process that beats keeps its leases; when it is silent, another one gets its requests") {
            fixture in
            let store = fixture.store
            try await fixture.deploy()
            try await fixture.submit(1...2)
            #expect(try await store.beat(process: "first", now: fixture.at(0)) == 0)
            let lease = try #require(
                try await fixture.claim(1, visibility: .seconds(1000), holder: "first").first
            ).lease
            for second in stride(from: 5, through: 60, by: 5) {
                #expect(try await store.beat(process: "first", now: fixture.at(second)) == 0)
                #expect(try await store.maintain(now: fixture.at(second)) == Upkeep())
            }
            #expect(try await store.extend([lease], visibility: .seconds(1000), now: fixture.at(60)).isEmpty)

            let later = fixture.at(60) + Limits.processTimeout
            let released = try await store.beat(process: "second", now: later)
            #expect(try await released + store.maintain(now: later).rescued == 1)
            #expect(try await store.finish(lease, outcome: .completed(.empty), now: later) == .stale)
            let again = try await fixture.claim(1, holder: "second", now: later)
            #expect(again.map(\.id) == [fixture.id(1)])
            #expect(again.first?.attempts == 0)
            #expect(try await store.maintain(now: later + Limits.heartbeat) == Upkeep())
            #expect(try await fixture.status(1, now: later) == .inProgress)
        },
        StoreCheck(
            "A10: processes that beat at the same time keep their leases; those of a silent one are released",
            needs: [.shared]
        ) { fixture in
            let store = fixture.store
            try await fixture.deploy()
            try await fixture.submit(1...4)
            for process in ["first", "second"] {
                #expect(try await store.beat(process: process, now: fixture.at(0)) == 0)
            }
            var leases: [Lease] = []
            // The third never announced itself.
            for process in ["first", "second", "third"] {
                let holder = LeaseHolder(process: process, replica: "a")
                leases += try await fixture.claim(1, visibility: .seconds(100), holder: holder).map(\.lease)
            }
            #expect(try await store.beat(process: "second", now: fixture.at(10)) == 0)
            let end = fixture.at(0) + Limits.processTimeout
            #expect(try await store.maintain(now: end - .microseconds(1)) == Upkeep())
            var hints = HintReader(store.changes())
            #expect(try await store.maintain(now: end) == Upkeep(rescued: 1))
            try await hints.expect { $0.queued.contains("echo") }
            #expect(try await store.maintain(now: end) == Upkeep())
            #expect(try await store.finish(leases[0], outcome: .completed(.empty), now: end) == .stale)
            #expect(try await store.extend(leases, visibility: .seconds(100), now: end) == [leases[0]])
            #expect(try await fixture.claim(1, holder: "second", now: end).map(\.id) == [fixture.id(1)])

            // A process that was taken for gone claims again; it keeps what it has since.
            #expect(try await store.beat(process: "first", now: end) == 0)
            let new = try await fixture.claim(1, visibility: .seconds(100), holder: "first", now: end).map(\.lease)
            #expect(new.map(\.id) == [fixture.id(4)])
            #expect(try await store.beat(process: "second", now: end + .seconds(1)) == 0)
            #expect(try await store.maintain(now: end + .seconds(1)) == Upkeep())
            #expect(try await store.finish(new[0], outcome: .completed(.empty), now: end) == .applied)
        },
        StoreCheck("A10, A3, C6: upkeep by several processes at the same time does everything once") { fixture in
            func maintain(now: Timestamp) async throws -> Upkeep {
                try await withThrowingTaskGroup(of: Upkeep.self) { group in
                    for _ in 0..<4 { group.addTask { try await fixture.store.maintain(now: now) } }
                    return try await group.reduce(into: Upkeep()) {
                        $0.rescued += $1.rescued
                        $0.expired += $1.expired
                        $0.purged += $1.purged
                    }
                }
            }
            let policy = RequestPolicy(retention: .seconds(60))
            try await fixture.deploy(policy: policy)
            try await fixture.submit(1...1200, deadline: fixture.at(10))
            _ = try await fixture.claim(601)
            try await fixture.deploy("other", policy: policy)
            try await fixture.submit(1...40, api: "other")
            #expect(try await fixture.store.delete(api: "other", keepRequests: true, now: fixture.at(1)))

            #expect(try await maintain(now: fixture.at(30)) == Upkeep(rescued: 601, expired: 1200))
            #expect(try await maintain(now: fixture.at(30)) == Upkeep())
            #expect(try await fixture.counts() == QueueCounts())
            try await fixture.deploy("other", version: 2, policy: policy)
            #expect(try await fixture.counts("other") == QueueCounts())
            #expect(try await maintain(now: fixture.at(90)) == Upkeep(purged: 1240))
            #expect(try await maintain(now: fixture.at(90)) == Upkeep())
            for number in [1, 40] { #expect(try await fixture.read(number, api: "other") == nil) }
        },
    ]
}
