import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: space", .timeLimit(.minutes(30)))
struct SQLiteSpaceTests {
    /// The number of requests; `CORTEX_SPACE_REQUESTS=1000000` reproduces the measurement in docs/durability.md.
    static let requests = Int(ProcessInfo.processInfo.environment["CORTEX_SPACE_REQUESTS"] ?? "") ?? 20_000
    static let round = 1000

    @Test("C6: the file does not grow with the number of processed requests: their space is reused")
    func reuse() async throws {
        try await withTemporaryDirectory { directory in
            // Watched, so that nothing is really synced: this test is about space.
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            try await store.deploySample(policy: .init(retention: .seconds(60)))
            var sizes: [Int] = []
            for round in 0..<Self.requests / Self.round {
                sizes.append(try await pass(round, through: store, directory))
            }
            try await store.close()
            disk.heal()
            // The first rounds allocate space that is reused later.
            let settled = try #require(sizes.prefix(3).max())
            let largest = try #require(sizes.max())
            #expect(largest <= settled * 3 / 2, "\(sizes)")
        }
    }

    /// Lets a round of requests arrive, run, end and expire.
    ///
    /// - Returns: the size of all files of the store.
    private func pass(_ round: Int, through store: SQLiteStore, _ directory: URL) async throws -> Int {
        let now = sampleStart + .seconds(100 * round)
        let numbers = round * Self.round..<(round + 1) * Self.round
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in numbers {
                group.addTask {
                    let payload = Body.inline(Array(repeating: 1, count: 500))
                    let submission = Submission(
                        id: sampleID(number), api: "echo", payload: payload,
                        idempotency: .init(key: "\(number)", fingerprint: [1]))
                    _ = try await store.submit(submission, maxQueueLength: nil, now: now)
                }
            }
            try await group.waitForAll()
            let claimed = try await store.claim(
                api: "echo", limit: Self.round, visibility: .seconds(30), holder: "h", now: now)
            #expect(claimed.count == Self.round)
            for request in claimed {
                group.addTask {
                    let result = Body.inline(Array(repeating: 2, count: 500))
                    _ = try await store.finish(request.lease, outcome: .completed(result), now: now)
                }
            }
            try await group.waitForAll()
        }
        // Half of their retention later, like the upkeep of a running platform.
        _ = try await store.maintain(now: now + .seconds(30))
        _ = try await store.maintain(now: now + .seconds(90))
        return try FileManager.default.subpathsOfDirectory(atPath: directory.path).reduce(0) { sum, name in
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory.path)/\(name)")
            return sum + (attributes[.size] as? Int ?? 0)
        }
    }

    @Test(
        "C6, A12: after many bodies of 100 KB were processed, the folder of bodies is almost empty")
    func bodies() async throws {
        try await withTemporaryDirectory { directory in
            // Watched, so that nothing is really synced.
            let disk = try WatchedFolder(directory)
            let store = try await openSample(directory)
            try await store.deploySample(policy: .init(retention: .seconds(60)))
            var largest = 0
            for round in 0..<15 {
                let now = sampleStart + .seconds(100 * round)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in round * 100..<(round + 1) * 100 {
                        group.addTask { try await pass(number, through: store, now: now) }
                    }
                    try await group.waitForAll()
                }
                largest = max(largest, try space(store))
                _ = try await store.maintain(now: now + .seconds(30))
                // The results, and with them whole segments, are removed after their retention.
                _ = try await store.maintain(now: now + .seconds(90))
                #expect(try space(store) == 0, "round \(round)")
            }
            // Payloads end in the order of arrival: only a part of the 300 MB existed at any time.
            #expect(largest < 100 << 20)
            try await store.close()
            disk.heal()
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.files.path) == [])
        }
    }

    /// Lets one request with a payload and a result of 100 KB arrive, run and end.
    private func pass(_ number: Int, through store: SQLiteStore, now: Timestamp) async throws {
        func body() async throws -> Body {
            let writer = try await store.makeBodyWriter()
            try await writer.write([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 100_000))
            return try await writer.finish()
        }
        let submission = Submission(id: sampleID(number), api: "echo", payload: try await body())
        _ = try await store.submit(submission, maxQueueLength: nil, now: now)
        for request in try await store.claim(
            api: "echo", limit: 1, visibility: .seconds(30), holder: "h", now: now)
        {
            _ = try await store.finish(request.lease, outcome: .completed(try await body()), now: now)
        }
    }

    /// The disk space of the bodies outside the database.
    private func space(_ store: SQLiteStore) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: store.files.path).reduce(0) { sum, name in
            var status = stat()
            guard stat("\(store.files.path)/\(name)", &status) == 0 else { return sum }
            return sum + Int(status.st_blocks) * 512
        }
    }
}
