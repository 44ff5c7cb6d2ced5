import Core
import TestSupport
import Testing

extension StoreCheck {
    static let restarts = [
        StoreCheck("A13: a deletion that a restart cuts short stays one, and is finished", needs: [.durable]) { old in
            for keep in [true, false] {
                try await old.deploy(keep ? "kept" : "echo")
                try await old.submitMany(1...3000, api: keep ? "kept" : "echo")
                _ = try await old.claim(20, api: keep ? "kept" : "echo")
                #expect(
                    try await old.store.delete(api: keep ? "kept" : "echo", keepRequests: keep, now: old.at(1)))
            }
            let new = try await old.reopened()
            #expect(try await new.store.deployedAPIs().isEmpty)
            #expect(try await new.store.counts().isEmpty)
            for name in ["kept", "echo"] {
                try await new.deploy(name, version: 2)
                #expect(try await new.counts(name) == QueueCounts())
                #expect(try await new.claim(10, api: name).isEmpty)
            }
            #expect(try await new.status(3000, api: "kept", now: new.at(2)) == .cancelled)
            #expect(try await new.status(3000, api: "echo", now: new.at(2)) == nil)
        },
        StoreCheck("A1: whatever was acknowledged is there after a restart", needs: [.durable]) { old in
            try await old.deploy(policy: .init(keepFailed: .seconds(1000)))
            try await old.deploy(version: 2, policy: .init(keepFailed: .seconds(1000)))
            try await old.store.saveRequestedReplicas(3, of: "echo")
            #expect(try await old.store.saveSplitState(old.splitState, of: "echo", version: "echo-2"))
            for (number, status) in RequestStatus.allCases.reversed().enumerated() {
                try await old.bring(number, to: status)
            }
            let file = try await old.body(StoreFixture.bytes(123_456))
            let submission = old.submission(
                9, payload: file, headers: [HeaderField("x-a", "1")], query: "q=1", key: "k", fingerprint: [7])
            _ = try await old.store.submit(submission, maxQueueLength: nil, now: old.at(0))
            var records: [RequestRecord] = []
            for number in [0, 1, 2, 3, 4, 9] { records.append(try #require(try await old.read(number))) }

            let new = try await old.reopened()
            #expect(
                try await new.store.deployedAPIs() == [old.api(version: 2, policy: .init(keepFailed: .seconds(1000)))])
            #expect(try await new.store.versions(of: "echo").map(\.id) == ["echo-2", "echo-1"])
            #expect(try await new.store.requestedReplicas(of: "echo") == 3)
            #expect(try await new.store.splitState(of: "echo") == old.splitState, "X8")
            for (index, number) in [0, 1, 2, 3, 4, 9].enumerated() {
                #expect(try await new.read(number) == records[index])
            }
            #expect(try await new.counts() == QueueCounts(inQueue: 2, inProgress: 1))
            #expect(
                try await new.store.submit(
                    new.submission(10, key: "k", fingerprint: [7]), maxQueueLength: nil, now: new.at(1))
                    == .duplicate(of: new.id(9)))
            let claimed = try #require(try await new.claim(10).last)
            #expect(claimed.headers == submission.headers)
            #expect(claimed.query == "q=1")
            #expect(try await new.bytes(of: claimed.payload) == StoreFixture.bytes(123_456))
        },
        StoreCheck("A10: leases outlive a restart, until they are given back", needs: [.durable, .exclusive]) { old in
            try await old.deploy()
            try await old.submit(1...2)
            let leases = try await old.claim(2).map(\.lease)
            let new = try await old.reopened()
            #expect(try await new.store.finish(leases[0], outcome: .completed(.empty), now: new.at(1)) == .applied)
            #expect(try await new.store.beat(process: "next", now: new.at(1)) == 1)
            #expect(try await new.store.finish(leases[1], outcome: .completed(.empty), now: new.at(1)) == .stale)
            let again = try await new.claimOne()
            #expect(again.id == new.id(2))
            #expect(again.token > leases[1].token)
        },
        StoreCheck("A11: a waiting retry waits on after a restart", needs: [.durable]) { old in
            try await old.deploy()
            try await old.submit(1...1)
            _ = try await old.store.finish(
                try await old.claimOne(), outcome: .retry(StoreFixture.failure, notBefore: old.at(50)), now: old.at(1))
            let new = try await old.reopened()
            #expect(try await new.claim(now: new.at(49)).isEmpty)
            #expect(try await new.claim(now: new.at(50)).first?.attempts == 1)
        },
        StoreCheck(
            "A13: kept requests of a deleted API are readable after restarts and a new deployment", needs: [.durable]
        ) {
            old in
            try await old.deploy()
            try await old.bring(1, to: .completed)
            try await old.submit(2...2)
            _ = try await old.store.delete(api: "echo", keepRequests: true, now: old.at(1))
            let new = try await old.reopened()
            #expect(try await new.store.deployedAPIs().isEmpty)
            #expect(try await new.read(1) == nil)
            try await new.deploy(version: 2)
            let newest = try await new.reopened()
            #expect(try await newest.read(1)?.result == StoreFixture.result)
            #expect(try await newest.status(2) == .cancelled)
        },
        StoreCheck("A13: what was erased with its API stays gone after a restart", needs: [.durable]) { old in
            try await old.deploy()
            let payload = try await old.body(StoreFixture.bytes(70_000))
            _ = try await old.store.submit(old.submission(1, payload: payload), maxQueueLength: nil, now: old.at(0))
            _ = try await old.store.delete(api: "echo", keepRequests: false, now: old.at(1))
            let new = try await old.reopened()
            try await new.deploy()
            #expect(try await new.read(1) == nil)
            #expect(try await new.isGone(payload))
        },
        StoreCheck("A9: a body that no request names is swept at the next start, the others stay", needs: [.durable]) {
            old in
            try await old.deploy()
            let (named, orphan) = (
                try await old.body(StoreFixture.bytes(70_000)), try await old.body(StoreFixture.bytes(70_001))
            )
            _ = try await old.store.submit(old.submission(1, payload: named), maxQueueLength: nil, now: old.at(0))
            #expect(try await !old.isGone(orphan))
            let new = try await old.reopened()
            #expect(try await new.isGone(orphan))
            #expect(try await new.bytes(of: named) == StoreFixture.bytes(70_000))
            // Names never come again, so an old record cannot show another's bytes.
            let fresh = try await new.body(StoreFixture.bytes(70_002))
            #expect(fresh != named)
            #expect(try await new.isGone(orphan))
        },
        StoreCheck("A store that was closed refuses, and its hints end", needs: [.durable]) { old in
            try await old.deploy()
            let hints = old.store.changes()
            _ = try await old.reopened()
            for await _ in hints {}
            await old.expectError(.storeUnavailable) {
                _ = try await old.store.submit(old.submission(1), maxQueueLength: nil, now: old.at(0))
            }
            await old.expectError(.storeUnavailable) { _ = try await old.read(1) }
        },
    ]
}
