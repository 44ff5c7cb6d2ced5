import Core
import Testing

extension StoreCheck {
    static let queue = [
        StoreCheck("A1: an accepted request is readable at once, with what is known of it") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1, now: fixture.at(5))
            let expected = RequestRecord(
                id: fixture.id(1), api: "echo", status: .inQueue, attempts: 0, submittedAt: fixture.at(5))
            #expect(try await fixture.read(1) == expected)
        },
        StoreCheck("A4: a request for an API that is not deployed is refused") { fixture in
            #expect(
                try await fixture.store.submit(fixture.submission(1), maxQueueLength: nil, now: fixture.at(0))
                    == .unknownAPI)
            try await fixture.deploy()
            _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(0))
            #expect(
                try await fixture.store.submit(fixture.submission(1), maxQueueLength: nil, now: fixture.at(0))
                    == .unknownAPI)
        },
        StoreCheck("A1: the same id twice is refused and changes nothing") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            await fixture.expectError(.conflict) {
                _ = try await fixture.store.submit(fixture.submission(1), maxQueueLength: nil, now: fixture.at(0))
            }
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1))
        },
        StoreCheck("A4: max_queue_length counts what is in queue, and only that") { fixture in
            try await fixture.deploy()
            func submit(_ number: Int, _ limit: Int) async throws -> SubmitResult {
                try await fixture.store.submit(fixture.submission(number), maxQueueLength: limit, now: fixture.at(0))
            }
            #expect(try await submit(1, 0) == .queueFull)
            #expect(try await submit(1, 2) == .accepted)
            #expect(try await submit(2, 2) == .accepted)
            #expect(try await submit(3, 2) == .queueFull)
            #expect(try await fixture.read(3) == nil)
            _ = try await fixture.claimOne()
            #expect(try await submit(3, 2) == .accepted)
        },
        StoreCheck("A4: max_queue_length holds when many submit at once") { fixture in
            try await fixture.deploy()
            let accepted = try await withThrowingTaskGroup(of: SubmitResult.self) { group in
                for number in 1...60 {
                    group.addTask {
                        try await fixture.store.submit(
                            fixture.submission(number), maxQueueLength: 25, now: fixture.at(0))
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 == .accepted ? 1 : 0 }
            }
            #expect(accepted == 25)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 25))
        },
        StoreCheck("C2, C3: a claim brings payload, headers and query as they were submitted") { fixture in
            try await fixture.deploy()
            let headers = [
                HeaderField("content-type", "image/png"), HeaderField("x-b", "2"), HeaderField("x-a", "1"),
                HeaderField("x-b", "3"), HeaderField("authorization", "Bearer secret"),
            ]
            let submission = fixture.submission(
                1, payload: .inline([0, 255, 10]), headers: headers, query: "a=1&b=%20")
            _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(3))
            let claimed = try #require(try await fixture.claim().first)
            #expect(claimed.id == fixture.id(1))
            #expect(claimed.lease.api == "echo")
            #expect(claimed.payload == .inline([0, 255, 10]))
            #expect(claimed.headers == headers)
            #expect(claimed.query == "a=1&b=%20")
            #expect(claimed.attempts == 0)
            #expect(claimed.submittedAt == fixture.at(3))
        },
        StoreCheck("Claims take the oldest first, up to the limit, whatever order they came in") { fixture in
            try await fixture.deploy()
            for number in [3, 1, 5, 2, 4] { try await fixture.submit(number...number) }
            #expect(try await fixture.claim(0).isEmpty)
            #expect(try await fixture.claim(-1).isEmpty)
            #expect(try await fixture.claim(2).map(\.id) == [1, 2].map(fixture.id))
            #expect(try await fixture.claim(100).map(\.id) == [3, 4, 5].map(fixture.id))
            #expect(try await fixture.claim(100).isEmpty)
            #expect(try await fixture.status(1) == .inProgress)
        },
        StoreCheck("Claims are the API's own") { fixture in
            try await fixture.deploy("one")
            try await fixture.deploy("two")
            try await fixture.submit(1...1, api: "one")
            #expect(try await fixture.claim(api: "two").isEmpty)
            #expect(try await fixture.claim(api: "unknown").isEmpty)
            #expect(try await fixture.claim(api: "one").count == 1)
        },
        StoreCheck("A11: a retried request waits for its time, then takes its old place") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            let lease = try await fixture.claimOne()
            let retry = Outcome.retry(StoreFixture.failure, notBefore: fixture.at(20))
            #expect(try await fixture.store.finish(lease, outcome: retry, now: fixture.at(10)) == .applied)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 2))
            #expect(try await fixture.status(1) == .inQueue)
            #expect(try await fixture.claim(9, now: fixture.at(19)).map(\.id) == [fixture.id(2)])
            #expect(try await fixture.claim(9, now: fixture.at(19)).isEmpty)
            try await fixture.submit(3...3)
            let claimed = try await fixture.claim(9, now: fixture.at(20))
            #expect(claimed.map(\.id) == [1, 3].map(fixture.id))
            #expect(claimed.first?.attempts == 1)
        },
        StoreCheck("A3: what waits past its deadline is not claimed any more") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1, deadline: fixture.at(10))
            try await fixture.submit(2...2)
            #expect(try await fixture.claim(9, now: fixture.at(10)).map(\.id) == [fixture.id(2)])
        },
    ]
}
