import Core
import Testing

extension StoreCheck {
    static let idempotency = [
        StoreCheck("A6: the same key and content again gives the first id, in every status") { fixture in
            try await fixture.deploy()
            func submit(_ number: Int, _ fingerprint: [UInt8]) async throws -> SubmitResult {
                try await fixture.store.submit(
                    fixture.submission(number, key: "k", fingerprint: fingerprint), maxQueueLength: nil,
                    now: fixture.at(0))
            }
            #expect(try await submit(1, [1, 2]) == .accepted)
            #expect(try await submit(2, [1, 2]) == .duplicate(of: fixture.id(1)))
            #expect(try await submit(3, [1, 3]) == .idempotencyMismatch)
            let lease = try await fixture.claimOne()
            #expect(try await submit(4, [1, 2]) == .duplicate(of: fixture.id(1)))
            _ = try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(1))
            #expect(try await submit(5, [1, 2]) == .duplicate(of: fixture.id(1)))
            #expect(try await submit(6, []) == .idempotencyMismatch)
            #expect(try await fixture.counts() == QueueCounts())
            for number in 2...6 { #expect(try await fixture.read(number) == nil) }
        },
        StoreCheck("A6: keys are the API's own, and told apart by every character") { fixture in
            try await fixture.deploy("one")
            try await fixture.deploy("two")
            let keys = ["k", "K", " ", "'", "%", "k ", String(repeating: "x", count: Limits.idempotencyKey)]
            for (offset, api) in ["one", "two"].enumerated() {
                for (number, key) in keys.enumerated() {
                    let submission = fixture.submission(offset * 10 + number, api: api, key: key)
                    #expect(
                        try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0)) == .accepted
                    )
                }
            }
        },
        StoreCheck("A6: a duplicate is answered even when the queue is full") { fixture in
            try await fixture.deploy()
            func submit(_ number: Int) async throws -> SubmitResult {
                try await fixture.store.submit(
                    fixture.submission(number, key: "k"), maxQueueLength: 1, now: fixture.at(0))
            }
            #expect(try await submit(1) == .accepted)
            #expect(try await submit(2) == .duplicate(of: fixture.id(1)))
        },
        StoreCheck("A6: a key that was refused is still free") { fixture in
            try await fixture.deploy()
            try await fixture.submit(9...9)
            func submit(_ limit: Int?) async throws -> SubmitResult {
                try await fixture.store.submit(
                    fixture.submission(1, key: "k"), maxQueueLength: limit, now: fixture.at(0))
            }
            #expect(try await submit(1) == .queueFull)
            #expect(try await submit(nil) == .accepted)
        },
        StoreCheck("A6: many at the same moment are one request") { fixture in
            try await fixture.deploy()
            let results = try await withThrowingTaskGroup(of: (Int, SubmitResult).self) { group in
                for number in 1...40 {
                    group.addTask {
                        let submission = fixture.submission(number, key: "k")
                        return (
                            number, try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
                        )
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let accepted = results.filter { $0.1 == .accepted }
            #expect(accepted.count == 1)
            let winner = fixture.id(try #require(accepted.first).0)
            #expect(results.count { $0.1 == .duplicate(of: winner) } == 39)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1))
        },
        StoreCheck("A6: a key is forgotten with its request, after the retention") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            func submit(_ number: Int, _ now: Int) async throws -> SubmitResult {
                try await fixture.store.submit(
                    fixture.submission(number, key: "k"), maxQueueLength: nil, now: fixture.at(now))
            }
            #expect(try await submit(1, 0) == .accepted)
            _ = try await fixture.store.cancel(fixture.id(1), api: "echo", now: fixture.at(0))
            #expect(try await submit(2, 59) == .duplicate(of: fixture.id(1)))
            // Without upkeep in between.
            #expect(try await submit(2, 60) == .accepted)
            #expect(try await submit(3, 60) == .duplicate(of: fixture.id(2)))
            _ = try await fixture.store.cancel(fixture.id(2), api: "echo", now: fixture.at(60))
            // And with it.
            _ = try await fixture.store.maintain(now: fixture.at(120))
            #expect(try await submit(4, 120) == .accepted)
        },
        StoreCheck("A6: deleting an API forgets its keys unless its requests are kept") { fixture in
            func submit(_ number: Int) async throws -> SubmitResult {
                try await fixture.store.submit(
                    fixture.submission(number, key: "k"), maxQueueLength: nil, now: fixture.at(0))
            }
            try await fixture.deploy()
            #expect(try await submit(1) == .accepted)
            _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(0))
            try await fixture.deploy()
            #expect(try await submit(2) == .duplicate(of: fixture.id(1)))
            _ = try await fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(0))
            try await fixture.deploy()
            #expect(try await submit(3) == .accepted)
        },
    ]
}
