import Core
import TestSupport
import Testing

extension StoreCheck {
    static let deployments = [
        StoreCheck("A13: a deployed API is listed as it was given, sorted by name") { fixture in
            #expect(try await fixture.store.deployedAPIs().isEmpty)
            for name in ["zebra", "apple", "mango"] { try await fixture.deploy(name) }
            let listed = try await fixture.store.deployedAPIs()
            #expect(listed == [fixture.api("apple"), fixture.api("mango"), fixture.api("zebra")])
        },
        StoreCheck("A13: the last version is the present one, ten are kept, newest first") { fixture in
            for version in 1...13 { try await fixture.deploy(version: version) }
            #expect(try await fixture.store.deployedAPIs() == [fixture.api(version: 13)])
            let versions = try await fixture.store.versions(of: "echo")
            #expect(versions == (4...13).reversed().map { fixture.api(version: $0) })
            #expect(try await fixture.store.versions(of: "unknown").isEmpty)
        },
        StoreCheck("A13: a version that is deployed again is kept once and becomes the present one") { fixture in
            for version in [1, 2, 1] { try await fixture.deploy(version: version) }
            #expect(try await fixture.store.versions(of: "echo").map(\.id) == ["echo-1", "echo-2"])
            #expect(try await fixture.store.deployedAPIs().map(\.id) == ["echo-1"])
        },
        StoreCheck("A13: a version is deployed only where the one that it replaces is still present") { fixture in
            let store = fixture.store
            func deploy(_ version: Int, _ expecting: String?) async throws -> Bool {
                try await store.deploy(fixture.api(version: version), expecting: expecting, now: StoreFixture.start)
            }
            #expect(try await !deploy(1, "echo-0"), "nothing is deployed")
            #expect(try await store.deployedAPIs().isEmpty)
            #expect(try await deploy(1, nil))
            #expect(try await !deploy(2, nil))
            #expect(try await !deploy(2, "echo-0"))
            #expect(try await store.versions(of: "echo").map(\.id) == ["echo-1"], "a conflict changes nothing")
            #expect(try await deploy(2, "echo-1"))
            #expect(try await !deploy(3, "echo-1"))
            #expect(try await store.versions(of: "echo").map(\.id) == ["echo-2", "echo-1"])
            // Of many at once exactly one wins.
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for version in 10..<30 { group.addTask { try await deploy(version, "echo-2") } }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(wins == 1)
            let present = try #require(try await store.deployedAPIs().first?.id)
            #expect(try await store.versions(of: "echo").map(\.id) == [present, "echo-2", "echo-1"])
            // After a deletion none is present, also where the versions are kept for the requests.
            for keep in [true, false] {
                let present = try await store.deployedAPIs().first?.id
                _ = try await store.delete(api: "echo", keepRequests: keep, now: fixture.at(1))
                #expect(try await !deploy(40, present))
                #expect(try await store.deployedAPIs().isEmpty)
                #expect(try await deploy(41, nil))
            }
        },
        StoreCheck("A13: an update keeps the queue") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...3)
            let lease = try await fixture.claimOne()
            try await fixture.deploy(version: 2)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 2, inProgress: 1))
            #expect(try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(1)) == .applied)
        },
        StoreCheck("S2: the requested replicas are remembered until the API is deleted") { fixture in
            try await fixture.deploy()
            #expect(try await fixture.store.requestedReplicas(of: "echo") == nil)
            try await fixture.store.saveRequestedReplicas(0, of: "echo")
            #expect(try await fixture.store.requestedReplicas(of: "echo") == 0)
            try await fixture.store.saveRequestedReplicas(7, of: "echo")
            try await fixture.deploy(version: 2)
            #expect(try await fixture.store.requestedReplicas(of: "echo") == 7)
            try await fixture.store.saveRequestedReplicas(3, of: "unknown")
            #expect(try await fixture.store.requestedReplicas(of: "unknown") == nil)
            for keep in [true, false] {
                _ = try await fixture.store.delete(api: "echo", keepRequests: keep, now: fixture.at(1))
                #expect(try await fixture.store.requestedReplicas(of: "echo") == nil)
                try await fixture.deploy(version: 3)
                #expect(try await fixture.store.requestedReplicas(of: "echo") == nil)
                try await fixture.store.saveRequestedReplicas(4, of: "echo")
            }
        },
        StoreCheck(
            "S1, S3: a number of replicas is replaced only where version and number are the ones it was decided for"
        ) {
            fixture in
            let store = fixture.store
            func replace(_ count: Int, _ version: String, _ current: Int) async throws -> Bool {
                try await store.replaceRequestedReplicas(count, of: "echo", version: version, expecting: current)
            }
            #expect(try await !replace(1, "echo-1", 0), "nothing is deployed")
            try await fixture.deploy()
            #expect(try await replace(3, "echo-1", 7), "where none was saved, any number matches")
            #expect(try await !replace(4, "echo-1", 7))
            #expect(try await !replace(4, "echo-2", 3))
            #expect(try await store.requestedReplicas(of: "echo") == 3)
            #expect(try await replace(3, "echo-1", 3))
            // A deploy comes between a decision and its saving.
            try await fixture.deploy(version: 2)
            #expect(try await !replace(9, "echo-1", 3))
            #expect(try await replace(5, "echo-2", 3))
            #expect(try await store.requestedReplicas(of: "echo") == 5)
            // Of many at once exactly one wins.
            let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
                for count in 10..<30 {
                    group.addTask {
                        try await store.replaceRequestedReplicas(count, of: "echo", version: "echo-2", expecting: 5)
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(wins == 1)
            #expect(try await (10..<30).contains(store.requestedReplicas(of: "echo") ?? 0))
            _ = try await store.delete(api: "echo", keepRequests: true, now: fixture.at(1))
            #expect(try await !replace(1, "echo-2", 5))
        },
        StoreCheck(
            "X8: a splitter's state belongs to its present version; a deploy of another one and a deletion erase it"
        ) {
            fixture in
            let store = fixture.store
            let state = fixture.splitState
            #expect(try await !store.saveSplitState(state, of: "echo", version: "echo-1"), "nothing is deployed")
            #expect(try await store.splitState(of: "echo") == nil)
            try await fixture.deploy()
            try await fixture.deploy("other")
            #expect(try await store.splitState(of: "echo") == nil)
            #expect(try await store.saveSplitState(state, of: "echo", version: "echo-1"))
            #expect(try await store.splitState(of: "echo") == state)
            #expect(try await store.splitState(of: "other") == nil)
            // The last one holds.
            #expect(try await store.saveSplitState(SplitState(), of: "echo", version: "echo-1"))
            #expect(try await store.splitState(of: "echo") == SplitState())
            #expect(try await store.saveSplitState(state, of: "echo", version: "echo-1"))
            // The same version again changes nothing.
            try await fixture.deploy()
            #expect(try await store.splitState(of: "echo") == state)
            // A deploy comes between a decision and its saving.
            try await fixture.deploy(version: 2)
            #expect(try await store.splitState(of: "echo") == nil)
            #expect(try await !store.saveSplitState(state, of: "echo", version: "echo-1"))
            #expect(try await store.splitState(of: "echo") == nil)
            for keep in [true, false] {
                #expect(try await store.saveSplitState(state, of: "echo", version: "echo-2"))
                _ = try await store.delete(api: "echo", keepRequests: keep, now: fixture.at(1))
                #expect(try await !store.saveSplitState(state, of: "echo", version: "echo-2"))
                #expect(try await store.splitState(of: "echo") == nil)
                try await fixture.deploy(version: 2)
                #expect(try await store.splitState(of: "echo") == nil)
            }
        },
        StoreCheck("A13: a long queue is gone at once for everybody, and its name is free, whether or not it is kept") {
            fixture in
            for keep in [false, true] {
                try await fixture.deploy()
                try await fixture.submitMany(1...3000)
                let lease = try await fixture.claimOne()
                #expect(try await fixture.store.delete(api: "echo", keepRequests: keep, now: fixture.at(1)))
                #expect(try await fixture.store.counts().isEmpty)
                #expect(try await fixture.read(3000) == nil)
                #expect(
                    try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(1)) == .stale)
                // Another API, and the same one again, while the old requests go.
                try await fixture.deploy("other")
                try await fixture.submit(1...1, api: "other")
                #expect(try await fixture.claim(api: "other").count == 1)
                try await fixture.deploy(version: 2)
                #expect(try await fixture.claim(10).isEmpty)
                #expect(try await fixture.counts() == QueueCounts())
                #expect(try await fixture.status(3000) == (keep ? .cancelled : nil))
                try await fixture.submit(4000...4000)
                #expect(try await fixture.claim(10).map(\.lease.id) == [fixture.id(4000)])
                for name in ["echo", "other"] {
                    _ = try await fixture.store.delete(api: name, keepRequests: false, now: fixture.at(2))
                }
                _ = try await fixture.store.maintain(now: fixture.at(3))
                #expect(try await fixture.store.deployedAPIs().isEmpty)
            }
        },
        StoreCheck("A13: deleting forgets the API, its versions and its requests") { fixture in
            try await fixture.deploy()
            try await fixture.bring(1, to: .completed)
            try await fixture.bring(2, to: .failed)
            try await fixture.bring(3, to: .inProgress)
            try await fixture.bring(4, to: .inQueue)
            #expect(try await fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(1)))
            #expect(try await !fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(1)))
            #expect(try await fixture.store.deployedAPIs().isEmpty)
            #expect(try await fixture.store.versions(of: "echo").isEmpty)
            #expect(try await fixture.store.counts().isEmpty)
            for number in 1...4 { #expect(try await fixture.read(number) == nil) }
            try await fixture.deploy(version: 2)
            for number in 1...4 { #expect(try await fixture.read(number) == nil) }
            #expect(try await fixture.store.list(api: "echo", filter: .init(), now: fixture.at(1)).isEmpty)
            #expect(try await fixture.counts() == QueueCounts())
            #expect(try await fixture.store.versions(of: "echo").map(\.id) == ["echo-2"])
        },
        StoreCheck("A13: kept requests are cancelled, unreadable, and readable again once the API is deployed again") {
            fixture in
            try await fixture.deploy()
            try await fixture.bring(1, to: .completed)
            try await fixture.bring(2, to: .failed)
            try await fixture.submit(3...4)
            let lease = try await fixture.claimOne()
            #expect(try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(1)))
            #expect(try await fixture.store.versions(of: "echo").isEmpty)
            for number in 1...4 { #expect(try await fixture.read(number) == nil) }
            #expect(try await fixture.store.finish(lease, outcome: .completed(.empty), now: fixture.at(2)) == .stale)
            #expect(try await fixture.store.extend([lease], visibility: .seconds(30), now: fixture.at(2)) == [lease])
            try await fixture.deploy(version: 2)
            #expect(try await fixture.read(1)?.result == StoreFixture.result)
            #expect(try await fixture.status(2) == .failed)
            #expect(try await fixture.status(3) == .cancelled)
            #expect(try await fixture.status(4) == .cancelled)
            #expect(try await fixture.read(4)?.endedAt == fixture.at(1))
            #expect(try await fixture.counts() == QueueCounts())
            #expect(try await fixture.claim(10).isEmpty)
            #expect(try await fixture.store.versions(of: "echo").map(\.id) == ["echo-2", "echo-1"])
        },
        StoreCheck("A13: a deletion is the API's alone") { fixture in
            try await fixture.deploy("one")
            try await fixture.deploy("two")
            try await fixture.submit(1...1, api: "one")
            try await fixture.submit(1...2, api: "two")
            #expect(try await fixture.store.delete(api: "one", keepRequests: false, now: fixture.at(1)))
            #expect(try await fixture.counts("two") == QueueCounts(inQueue: 2))
            #expect(try await fixture.status(1, api: "two") == .inQueue)
        },
    ]
}
