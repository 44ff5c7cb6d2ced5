import Core
import Testing

extension StoreCheck {
    static let endings = [
        StoreCheck("C5: a result is read back byte for byte, with its time") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let text = #" {"b":12345678901234567890,"a":1.0,"a":1e400,"\u00e9":"\ud800"} "#
            let lease = try await fixture.claimOne()
            _ = try await fixture.store.finish(
                lease, outcome: .completed(.inline(Array(text.utf8))), now: fixture.at(7))
            let record = try #require(try await fixture.read(1))
            #expect(record.status == .completed)
            #expect(record.result == .inline(Array(text.utf8)))
            #expect(record.endedAt == fixture.at(7))
            #expect(record.attempts == 1)
            #expect(record.failure == nil && record.failures.isEmpty)
        },
        StoreCheck("A3: a failure is read back with all it says") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let first = RequestFailure(.replicaLost, "The connection was lost.")
            _ = try await fixture.store.finish(
                try await fixture.claimOne(), outcome: .retry(first, notBefore: fixture.at(2)), now: fixture.at(1))
            _ = try await fixture.store.finish(
                try await fixture.claimOne(now: fixture.at(2)), outcome: .failed(StoreFixture.failure),
                now: fixture.at(3))
            let record = try #require(try await fixture.read(1))
            #expect(record.status == .failed)
            #expect(record.failure == StoreFixture.failure)
            #expect(record.endedAt == fixture.at(3))
            #expect(record.attempts == 2)
            #expect(record.result == nil)
            #expect(
                record.failures == [
                    AttemptFailure(at: fixture.at(1), failure: first),
                    AttemptFailure(at: fixture.at(3), failure: StoreFixture.failure),
                ])
        },
        StoreCheck("C13: an interrupted delivery goes back uncounted, and how often that happened is kept") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            let failure = RequestFailure(.replicaLost, "The connection was lost.")
            for round in 0..<3 {
                let claimed = try #require(try await fixture.claim(1).first)
                #expect(claimed.id == fixture.id(1))
                #expect(claimed.attempts == 0 && claimed.interruptions == round)
                #expect(
                    try await fixture.store.finish(claimed.lease, outcome: .interrupted, now: fixture.at(1)) == .applied
                )
                #expect(
                    try await fixture.store.finish(claimed.lease, outcome: .interrupted, now: fixture.at(1)) == .stale)
                #expect(try await fixture.read(1)?.status == .inQueue)
                #expect(try await fixture.counts() == QueueCounts(inQueue: 2))
            }
            _ = try await fixture.store.finish(
                try await fixture.claimOne(), outcome: .retry(failure, notBefore: fixture.at(1)), now: fixture.at(1))
            let again = try #require(try await fixture.claim(1, now: fixture.at(2)).first)
            #expect(again.attempts == 1 && again.interruptions == 3)
            _ = try await fixture.store.finish(again.lease, outcome: .failed(failure), now: fixture.at(2))
            let record = try #require(try await fixture.read(1))
            #expect(record.attempts == 2 && record.failures.count == 2)
            _ = try await fixture.store.retry(fixture.id(1), api: "echo", now: fixture.at(3))
            let byHand = try #require(try await fixture.claim(1, now: fixture.at(3)).first)
            #expect(byHand.id == fixture.id(1) && byHand.attempts == 0 && byHand.interruptions == 0)
            _ = try await fixture.store.finish(byHand.lease, outcome: .interrupted, now: fixture.at(3))
            let last = try #require(try await fixture.claim(1, now: fixture.at(3)).first)
            _ = try await fixture.store.finish(last.lease, outcome: .completed(.empty), now: fixture.at(4))
            #expect(try await fixture.read(1)?.attempts == 1)
        },
        StoreCheck("A10: deliveries that end together end each for itself") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...4)
            let leases = try await fixture.claim(4).map(\.lease)
            _ = try await fixture.store.cancel(fixture.id(2), api: "echo", now: fixture.at(2))
            let results = await fixture.store.finish(
                [
                    (lease: leases[0], outcome: .completed(.inline(Array("1".utf8)))),
                    (lease: leases[1], outcome: .completed(.inline(Array("2".utf8)))),
                    (lease: leases[2], outcome: .failed(StoreFixture.failure)),
                    (lease: leases[3], outcome: .retry(StoreFixture.failure, notBefore: fixture.at(9))),
                ], now: fixture.at(3))
            let ends = try results.map { try $0.get() }
            #expect(ends == [.applied, .stale, .applied, .applied])
            let statuses: [RequestStatus] = [.completed, .cancelled, .failed, .inQueue]
            for (number, status) in zip(1...4, statuses) {
                #expect(try await fixture.read(number)?.status == status)
            }
            #expect(try await fixture.read(1)?.result == .inline(Array("1".utf8)))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1))
            let again = await fixture.store.finish(
                [(lease: leases[0], outcome: .completed(.empty))], now: fixture.at(4))
            let repeated = try again.map { try $0.get() }
            #expect(repeated == [.stale])
        },
        StoreCheck("A7: what is in queue or in progress is cancelled, and its lease is void") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2)
            let lease = try await fixture.claimOne()
            for number in 1...2 {
                let answer = try #require(
                    try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(4)))
                #expect(answer.wasCancelled)
                #expect(answer.record.status == .cancelled)
                #expect(answer.record.endedAt == fixture.at(4))
                #expect(try await fixture.read(number) == answer.record)
            }
            #expect(try await fixture.counts() == QueueCounts())
            #expect(try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(5)) == .stale)
            #expect(try await fixture.store.extend([lease], visibility: .seconds(30), now: fixture.at(5)) == [lease])
            #expect(try await fixture.store.maintain(now: fixture.at(100)).rescued == 0)
        },
        StoreCheck("A7: a request that waits for its retry is cancelled too") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let retry = Outcome.retry(StoreFixture.failure, notBefore: fixture.at(50))
            _ = try await fixture.store.finish(try await fixture.claimOne(), outcome: retry, now: fixture.at(1))
            #expect(
                try await fixture.store.cancel(fixture.id(1), api: "echo", now: fixture.at(2))?.wasCancelled == true)
            #expect(try await fixture.claim(now: fixture.at(60)).isEmpty)
            #expect(try await fixture.counts() == QueueCounts())
        },
        StoreCheck("A7: what has ended stays as it is") { fixture in
            try await fixture.deploy()
            for (number, status) in [RequestStatus.completed, .failed, .cancelled].enumerated() {
                try await fixture.bring(number, to: status)
                let before = try #require(try await fixture.read(number))
                let answer = try #require(
                    try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(9)))
                #expect(!answer.wasCancelled)
                #expect(answer.record == before)
            }
        },
        StoreCheck("A4: an unknown request, or another API's, is neither cancelled nor retried") { fixture in
            try await fixture.deploy()
            try await fixture.deploy("other")
            try await fixture.submit(1...1)
            for (number, api) in [(2, "echo"), (1, "other"), (1, "unknown")] {
                #expect(try await fixture.store.cancel(fixture.id(number), api: api, now: fixture.at(0)) == nil)
                #expect(try await fixture.store.retry(fixture.id(number), api: api, now: fixture.at(0)) == nil)
            }
            #expect(try await fixture.status(1) == .inQueue)
        },
        StoreCheck("A12: a failed request runs again by hand, from the start, with its payload") { fixture in
            try await fixture.deploy(policy: .init(maxQueueTime: .seconds(100)))
            let headers = [HeaderField("content-type", "text/plain"), HeaderField("x-a", "1")]
            let submission = fixture.submission(1, headers: headers, query: "q", deadline: fixture.at(10))
            _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
            let old = try await fixture.claimOne()
            _ = try await fixture.store.finish(old, outcome: .failed(StoreFixture.failure), now: fixture.at(1))
            let record = try #require(try await fixture.store.retry(fixture.id(1), api: "echo", now: fixture.at(50)))
            let expected = RequestRecord(
                id: fixture.id(1), api: "echo", status: .inQueue, attempts: 0, submittedAt: fixture.at(0))
            #expect(record == expected)
            #expect(try await fixture.read(1) == expected)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1))
            #expect(try await fixture.store.maintain(now: fixture.at(149)) == Upkeep())
            let claimed = try #require(try await fixture.claim(now: fixture.at(149)).first)
            #expect(claimed.payload == submission.payload)
            #expect(claimed.headers == headers)
            #expect(claimed.query == "q")
            #expect(claimed.attempts == 0)
            #expect(claimed.lease.token > old.token)
        },
        StoreCheck("A12: a retry by hand gets a new deadline of max_queue_time") { fixture in
            try await fixture.deploy(policy: .init(maxQueueTime: .seconds(100)))
            try await fixture.bring(1, to: .failed)
            _ = try await fixture.store.retry(fixture.id(1), api: "echo", now: fixture.at(50))
            #expect(try await fixture.store.maintain(now: fixture.at(150)) == Upkeep(expired: 1))
        },
        StoreCheck("A12: only a failed request whose payload is kept can be retried") { fixture in
            try await fixture.deploy(policy: .init(keepFailed: .seconds(10)))
            for (number, status) in RequestStatus.allCases.enumerated() where status != .failed {
                try await fixture.bring(number, to: status)
                await fixture.expectError(.conflict) {
                    _ = try await fixture.store.retry(fixture.id(number), api: "echo", now: fixture.at(1))
                }
                #expect(try await fixture.status(number) == status)
                _ = try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(1))
            }
            try await fixture.bring(10, to: .failed)
            await fixture.expectError(.conflict) {
                _ = try await fixture.store.retry(fixture.id(10), api: "echo", now: fixture.at(10))
            }
            try await fixture.deploy(version: 2, policy: .init(keepFailed: .zero))
            try await fixture.bring(11, to: .failed)
            await fixture.expectError(.conflict) {
                _ = try await fixture.store.retry(fixture.id(11), api: "echo", now: fixture.at(0))
            }
        },
    ]
}
