import Core
import Testing

extension StoreCheck {
    static let upkeep = [
        StoreCheck("A3: what waits longer than max_queue_time fails as expired") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2, deadline: fixture.at(10))
            try await fixture.submit(3...3)
            #expect(try await fixture.store.maintain(now: fixture.at(9)) == Upkeep())
            #expect(try await fixture.store.maintain(now: fixture.at(10)) == Upkeep(expired: 2))
            #expect(try await fixture.store.maintain(now: fixture.at(10)) == Upkeep())
            let record = try #require(try await fixture.read(1))
            #expect(record.status == .failed)
            #expect(record.failure?.kind == .expired)
            #expect(record.attempts == 0)
            #expect(record.failures.isEmpty)
            #expect(record.endedAt == fixture.at(10))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1))
        },
        StoreCheck("A3: the deadline is for the first delivery: it holds for what was given back, not for a retry") {
            fixture in
            try await fixture.deploy()
            try await fixture.submit(1...3, deadline: fixture.at(10))
            let leases = try await fixture.claim(3, visibility: .seconds(500)).map(\.lease)
            #expect(try await fixture.store.maintain(now: fixture.at(20)) == Upkeep())
            try await fixture.store.release([leases[0]], now: fixture.at(20))
            _ = try await fixture.store.finish(
                leases[1], outcome: .retry(StoreFixture.failure, notBefore: fixture.at(30)), now: fixture.at(20))
            #expect(try await fixture.store.maintain(now: fixture.at(40)) == Upkeep(expired: 1))
            #expect(try await fixture.status(1) == .failed)
            #expect(try await fixture.status(2) == .inQueue)
            #expect(try await fixture.status(3) == .inProgress)
        },
        StoreCheck("A11: a retry that waits longer than any may, since the clock was set back, is due at once") {
            fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            for wait in [Limits.retryBackoff * 2, Limits.retryBackoff * 2 + .microseconds(1)] {
                _ = try await fixture.store.finish(
                    try await fixture.claimOne(),
                    outcome: .retry(StoreFixture.failure, notBefore: fixture.at(5) + wait), now: fixture.at(0))
            }
            var hints = HintReader(fixture.store.changes())
            #expect(try await fixture.store.maintain(now: fixture.at(5)) == Upkeep())
            try await hints.expect { $0.queued.contains("echo") }
            #expect(try await fixture.claim(2, now: fixture.at(5)).map(\.lease.id) == [fixture.id(2)])
        },
        StoreCheck("C6: an ended request is readable for its retention, to the microsecond, then unknown") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            for (number, status) in [RequestStatus.completed, .failed, .cancelled].enumerated() {
                try await fixture.bring(number, to: status)
            }
            try await fixture.submit(3...3)
            let last = fixture.at(60) - .microseconds(1)
            #expect(try await fixture.store.maintain(now: last).purged == 0)
            for number in 0...3 { #expect(try await fixture.read(number, now: last) != nil) }
            // Gone for readers at once, whether or not the upkeep ran.
            for number in 0...2 {
                #expect(try await fixture.read(number, now: fixture.at(60)) == nil)
                #expect(try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(60)) == nil)
                #expect(try await fixture.store.retry(fixture.id(number), api: "echo", now: fixture.at(60)) == nil)
            }
            #expect(
                try await fixture.store.list(api: "echo", filter: .init(), now: fixture.at(60)).map(\.id) == [
                    fixture.id(3)
                ])
            #expect(try await fixture.store.maintain(now: fixture.at(60)) == Upkeep(purged: 3))
            #expect(try await fixture.store.maintain(now: fixture.at(60)) == Upkeep())
            #expect(try await fixture.status(3, now: fixture.at(60)) == .inQueue)
            // Even a clock that is set back does not bring it back.
            #expect(try await fixture.read(0, now: fixture.at(0)) == nil)
        },
        StoreCheck("C6: retention is the one in force when the request ended") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            try await fixture.bring(1, to: .completed)
            try await fixture.deploy(version: 2, policy: .init(retention: .seconds(600)))
            try await fixture.bring(2, to: .completed)
            #expect(try await fixture.store.maintain(now: fixture.at(60)) == Upkeep(purged: 1))
            #expect(try await fixture.status(2, now: fixture.at(599)) == .completed)
        },
        StoreCheck("C6: kept requests of a deleted API are purged after their retention") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            try await fixture.submit(1...2)
            _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(10))
            #expect(try await fixture.store.maintain(now: fixture.at(69)) == Upkeep())
            #expect(try await fixture.store.maintain(now: fixture.at(70)) == Upkeep(purged: 2))
        },
        StoreCheck("A12: a failed request outlives its payload") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(600), keepFailed: .seconds(60)))
            let payload = try await fixture.body(StoreFixture.bytes(100_000))
            _ = try await fixture.store.submit(
                fixture.submission(1, payload: payload), maxQueueLength: nil, now: fixture.at(0))
            _ = try await fixture.store.finish(
                try await fixture.claimOne(), outcome: .failed(StoreFixture.failure), now: fixture.at(0))
            _ = try await fixture.store.maintain(now: fixture.at(59))
            #expect(try await !fixture.isGone(payload))
            #expect(try await fixture.store.maintain(now: fixture.at(60)) == Upkeep())
            _ = try await fixture.store.maintain(now: fixture.at(120))
            #expect(try await fixture.isGone(payload))
            #expect(try await fixture.status(1, now: fixture.at(120)) == .failed)
        },
        StoreCheck("Upkeep of many requests at once does them all") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            try await fixture.submit(1...1200, deadline: fixture.at(10))
            _ = try await fixture.claim(601)
            #expect(try await fixture.store.maintain(now: fixture.at(30)) == Upkeep(rescued: 601, expired: 1200))
            #expect(try await fixture.store.maintain(now: fixture.at(90)) == Upkeep(purged: 1200))
            #expect(try await fixture.counts() == QueueCounts())
        },
    ]
}
