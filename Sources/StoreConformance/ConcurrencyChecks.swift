import Core
import Synchronization
import TestSupport
import Testing

extension StoreCheck {
    static let concurrency = [
        StoreCheck("A10: many submit, claim and finish at once: nothing twice, nothing lost") { fixture in
            try await fixture.deploy()
            let (submitters, each) = (16, 40)
            let tally = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for submitter in 0..<submitters {
                    group.addTask {
                        for number in submitter * each..<(submitter + 1) * each {
                            try await fixture.submit(number...number)
                        }
                    }
                }
                for worker in 0..<8 {
                    group.addTask {
                        while tally.finished.withLock({ $0 }) < submitters * each {
                            let claimed = try await fixture.claim(5, holder: "worker-\(worker)")
                            if claimed.isEmpty { await Task.yield() }
                            for request in claimed {
                                tally.delivered.withLock { $0[request.id, default: 0] += 1 }
                                let result = try await fixture.store.finish(
                                    request.lease, outcome: .completed(request.payload), now: fixture.at(1))
                                #expect(result == .applied)
                                tally.finished.withLock { $0 += 1 }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(tally.delivered.withLock { $0.count } == submitters * each)
            #expect(tally.delivered.withLock { $0.values.allSatisfy { $0 == 1 } })
            #expect(try await fixture.counts() == QueueCounts())
            for number in stride(from: 0, to: submitters * each, by: 7) {
                #expect(try await fixture.read(number)?.result == fixture.submission(number).payload)
            }
        },
        StoreCheck("A7: a cancel that races with a finish: exactly one of them wins") { fixture in
            try await fixture.deploy()
            for number in 1...40 {
                try await fixture.submit(number...number)
                let lease = try await fixture.claimOne()
                async let finish = fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(1))
                async let cancel = fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(1))
                let (finished, cancelled) = (try await finish == .applied, try await cancel?.wasCancelled == true)
                #expect(finished != cancelled)
                #expect(try await fixture.status(number) == (finished ? .completed : .cancelled))
            }
            #expect(try await fixture.counts() == QueueCounts())
        },
        StoreCheck("A10: two finishes of one lease at once: one is applied") { fixture in
            try await fixture.deploy()
            for number in 1...20 {
                try await fixture.submit(number...number)
                let lease = try await fixture.claimOne()
                let outcomes: [Outcome] = [
                    .completed(.inline([1])), .completed(.inline([2])), .failed(StoreFixture.failure),
                ]
                let results = try await withThrowingTaskGroup(of: LeaseResult.self) { group in
                    for outcome in outcomes {
                        group.addTask { try await fixture.store.finish(lease, outcome: outcome, now: fixture.at(1)) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(results.count { $0 == .applied } == 1)
                #expect(try await fixture.read(number)?.attempts == 1)
            }
        },
        StoreCheck("A13: a deletion among submits and claims leaves no work behind") { fixture in
            try await fixture.deploy()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 1...100 {
                    group.addTask {
                        _ = try await fixture.store.submit(
                            fixture.submission(number), maxQueueLength: nil, now: fixture.at(0))
                        for request in try await fixture.claim() {
                            _ = try await fixture.store.finish(
                                request.lease, outcome: .completed(.empty), now: fixture.at(0))
                        }
                    }
                }
                group.addTask {
                    _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(0))
                }
                try await group.waitForAll()
            }
            try await fixture.deploy()
            #expect(try await fixture.counts() == QueueCounts())
            let listed = try await fixture.store.list(api: "echo", filter: .init(limit: 1000), now: fixture.at(0))
            #expect(listed.allSatisfy { $0.status.isEnded })
        },
    ]
}

/// What the workers of one check have done.
private final class Tally: Sendable {
    let delivered = Mutex<[RequestID: Int]>([:])
    let finished = Mutex(0)
}
