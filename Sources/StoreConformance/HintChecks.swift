import Core
import TestSupport
import Testing

extension StoreCheck {
    static let hints = [
        StoreCheck("S2, A5: hints name the APIs with new work, what ended and what was deployed") { fixture in
            var hints = HintReader(fixture.store.changes())
            try await fixture.deploy()
            try await hints.expect { $0.apis.contains("echo") }
            try await fixture.submit(1...3)
            try await hints.expect { $0.queued.contains("echo") }
            let leases = try await fixture.claim(3).map(\.lease)
            _ = try await fixture.store.finish(leases[0], outcome: .completed(.empty), now: fixture.at(1))
            try await hints.expect { $0.ended.contains(fixture.id(1)) }
            _ = try await fixture.store.finish(
                leases[1], outcome: .retry(StoreFixture.failure, notBefore: fixture.at(1)), now: fixture.at(1))
            try await hints.expect { $0.queued.contains("echo") }
            try await fixture.store.release([leases[2]], now: fixture.at(1))
            try await hints.expect { $0.queued.contains("echo") }
            _ = try await fixture.store.cancel(fixture.id(2), api: "echo", now: fixture.at(1))
            try await hints.expect { $0.ended.contains(fixture.id(2)) }
            _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(1))
            try await hints.expect { $0.ended.contains(fixture.id(3)) && $0.apis.contains("echo") }
        },
        StoreCheck("A10: hints tell of rescued, returned, expired and retried requests") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...2, deadline: fixture.at(200))
            var hints = HintReader(fixture.store.changes())
            _ = try await fixture.claim(1)
            _ = try await fixture.store.maintain(now: fixture.at(30))
            try await hints.expect { $0.queued.contains("echo") }
            _ = try await fixture.claim(1)
            _ = try await fixture.store.releaseLeases(heldBy: "replica", now: fixture.at(31))
            try await hints.expect { $0.queued.contains("echo") }
            _ = try await fixture.store.maintain(now: fixture.at(200))
            try await hints.expect { $0.ended.isSuperset(of: [fixture.id(1), fixture.id(2)]) }
            _ = try await fixture.store.retry(fixture.id(1), api: "echo", now: fixture.at(201))
            try await hints.expect { $0.queued.contains("echo") }
            _ = try await fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(202))
            try await hints.expect { $0.ended.contains(fixture.id(1)) && $0.apis.contains("echo") }
        },
        StoreCheck("S2: a hint names the API whose requested replicas changed, and a reader gets only what it wants") {
            fixture in
            try await fixture.deploy()
            var all = HintReader(fixture.store.changes())
            var declared = HintReader(fixture.store.changes([.apis, .replicas]))
            try await fixture.submit(1...1)
            try await fixture.store.saveRequestedReplicas(2, of: "echo")
            try await all.expect { $0.queued == ["echo"] && $0.replicas == ["echo"] }
            try await declared.expect {
                #expect($0.kinds.isSubset(of: [.apis, .replicas]))
                return $0.replicas == ["echo"]
            }
            _ = try await fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(1))
            try await declared.expect {
                #expect($0.kinds.isSubset(of: [.apis, .replicas]))
                return $0.apis == ["echo"]
            }
        },
        StoreCheck("Every subscriber hears, also the slow one, and a forgotten stream delays no other") { fixture in
            try await fixture.deploy()
            do { _ = fixture.store.changes() }
            let streams = (0..<3).map { _ in fixture.store.changes() }
            try await fixture.submit(1...50)
            _ = try await fixture.store.cancel(fixture.id(50), api: "echo", now: fixture.at(1))
            for stream in streams {
                var hints = HintReader(stream)
                try await hints.expect { $0.queued == ["echo"] && $0.ended == [fixture.id(50)] }
            }
        },
    ]
}

/// Gathers hints until they say what is expected; they may come merged.
struct HintReader {
    private var iterator: AsyncStream<StoreChanges>.Iterator

    init(_ stream: AsyncStream<StoreChanges>) { self.iterator = stream.makeAsyncIterator() }

    /// Fails when the stream ends first; a hint that never comes is caught by the test's time limit.
    mutating func expect(_ condition: (StoreChanges) -> Bool) async throws {
        var seen = StoreChanges()
        while !condition(seen) {
            let next = try #require(await iterator.next())
            #expect(!next.isEmpty)
            seen.queued.formUnion(next.queued)
            seen.ended.formUnion(next.ended)
            seen.apis.formUnion(next.apis)
            seen.replicas.formUnion(next.replicas)
            seen.jobs.formUnion(next.jobs)
        }
    }
}
