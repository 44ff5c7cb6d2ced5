import Core
import Testing

extension StoreCheck {
    static let reading = [
        StoreCheck("A4: a request is read only under its own API") { fixture in
            try await fixture.deploy()
            try await fixture.deploy("other")
            try await fixture.submit(1...1)
            #expect(try await fixture.read(1) != nil)
            #expect(try await fixture.read(1, api: "other") == nil)
            #expect(try await fixture.read(1, api: "unknown") == nil)
            #expect(try await fixture.read(2) == nil)
        },
        StoreCheck("A list shows the newest first, page by page, without results") { fixture in
            try await fixture.deploy()
            try await fixture.bring(1, to: .completed)
            try await fixture.submit(2...25)
            let first = try await fixture.store.list(api: "echo", filter: .init(limit: 10), now: fixture.at(0))
            #expect(first.map(\.id) == (16...25).reversed().map(fixture.id))
            var all = first
            while let last = all.last {
                let page = try await fixture.store.list(
                    api: "echo", filter: .init(before: last.id, limit: 10), now: fixture.at(0))
                if page.isEmpty { break }
                all += page
            }
            #expect(all.map(\.id) == (1...25).reversed().map(fixture.id))
            #expect(all.last?.status == .completed)
            #expect(all.last?.result == nil)
        },
        StoreCheck("A list shows one status, and its limit is clamped") { fixture in
            try await fixture.deploy()
            try await fixture.deploy("other")
            try await fixture.submit(1...1, api: "other")
            var expected: [RequestStatus: [Int]] = [:]
            for round in 0..<3 {
                for (index, status) in RequestStatus.allCases.reversed().enumerated() {
                    let number = round * 10 + index
                    try await fixture.bring(number, to: .inQueue)
                    if status != .inQueue { try await fixture.finishOldest(as: status, number) }
                    expected[status, default: []].insert(number, at: 0)
                }
                // A request that waits for its retry is in queue as well.
                let number = round * 10 + 9
                try await fixture.submit(number...number)
                let lease = try #require(
                    try await fixture.claim(100).first { $0.id == fixture.id(number) }
                ).lease
                _ = try await fixture.store.finish(
                    lease, outcome: .retry(StoreFixture.failure, notBefore: fixture.at(900)), now: fixture.at(0))
                expected[.inQueue, default: []].insert(number, at: 0)
                // The claim above took the others that were in queue too: back with them.
                try await fixture.giveBack(expected[.inQueue, default: []])
            }
            for status in RequestStatus.allCases {
                let listed = try await fixture.store.list(
                    api: "echo", filter: .init(status: status, limit: 5000), now: fixture.at(0))
                #expect(listed.map(\.id) == expected[status, default: []].map(fixture.id), "\(status)")
                #expect(listed.allSatisfy { $0.status == status })
                let two = try await fixture.store.list(
                    api: "echo", filter: .init(status: status, before: fixture.id(20), limit: 2), now: fixture.at(0))
                #expect(two.map(\.id) == expected[status, default: []].filter { $0 < 20 }.prefix(2).map(fixture.id))
            }
            #expect(try await fixture.store.list(api: "echo", filter: .init(limit: 0), now: fixture.at(0)).isEmpty)
            #expect(try await fixture.store.list(api: "echo", filter: .init(limit: -5), now: fixture.at(0)).isEmpty)
            #expect(try await fixture.store.list(api: "unknown", filter: .init(), now: fixture.at(0)).isEmpty)
        },
        StoreCheck("S1: counts follow every change and name every deployed API") { fixture in
            try await fixture.deploy()
            try await fixture.deploy("idle")
            #expect(try await fixture.store.counts() == ["echo": QueueCounts(), "idle": QueueCounts()])
            try await fixture.submit(1...6)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 6))
            let leases = try await fixture.claim(5).map(\.lease)
            #expect(try await fixture.counts() == QueueCounts(inQueue: 1, inProgress: 5))
            _ = try await fixture.store.finish(leases[0], outcome: .completed(.empty), now: fixture.at(1))
            _ = try await fixture.store.finish(leases[1], outcome: .failed(StoreFixture.failure), now: fixture.at(1))
            _ = try await fixture.store.finish(
                leases[2], outcome: .retry(StoreFixture.failure, notBefore: fixture.at(2)), now: fixture.at(1))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 2, inProgress: 2))
            try await fixture.store.release([leases[3]], now: fixture.at(1))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 3, inProgress: 1))
            _ = try await fixture.store.cancel(fixture.id(5), api: "echo", now: fixture.at(1))
            _ = try await fixture.store.cancel(fixture.id(6), api: "echo", now: fixture.at(1))
            #expect(try await fixture.counts() == QueueCounts(inQueue: 2))
            #expect(try await fixture.counts("idle") == QueueCounts())
        },
    ]
}

extension StoreFixture {
    /// Brings the n-th request from the queue to a status, giving back whatever else a claim brought.
    fileprivate func finishOldest(as status: RequestStatus, _ number: Int) async throws {
        if status == .cancelled {
            _ = try await store.cancel(id(number), api: "echo", now: Self.start)
            return
        }
        let claimed = try await claim(1000)
        let lease = try #require(claimed.first { $0.id == id(number) }).lease
        try await store.release(claimed.map(\.lease).filter { $0 != lease }, now: Self.start)
        switch status {
        case .completed: _ = try await store.finish(lease, outcome: .completed(Self.result), now: Self.start)
        case .failed: _ = try await store.finish(lease, outcome: .failed(Self.failure), now: Self.start)
        case .inQueue, .inProgress, .cancelled: break
        }
    }

    /// Releases those of these requests that are in progress. Their leases are not kept, so every token is tried.
    fileprivate func giveBack(_ numbers: [Int]) async throws {
        let leases = numbers.flatMap { number in
            (1...40).map { Lease(api: "echo", id: id(number), token: $0) }
        }
        try await store.release(leases, now: Self.start)
    }
}
